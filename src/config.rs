//! Settings: what can be given as a flag, an environment variable or a line of a file, and what it means once it is read.
//!
//! [`rows`] has a row for each. Every value arrives as text and is read here, so that all mistakes are reported together.

mod file;
mod given;
mod kinds;
mod mistakes;
pub mod page;
pub mod rows;
mod run;
mod setting;
mod sink;
mod values;

use zeroize::Zeroizing;

pub use self::given::{Given, Origin};
pub use self::kinds::{Kind, Unfit};
pub use self::mistakes::{Mistake, Mistakes};
pub use self::run::RunSettings;
pub use self::setting::{Default, Row, Setting};
use crate::database::DatabaseSettings;
use crate::database::address::DatabaseAddress;
use crate::database::schemas::Schemas;
use crate::keyring::{Keyring, KeyringError, KeyringPlace};
use crate::queue::sqs::{QueueAddress, SqsSettings};

impl Given {
    /// Which queue; a mistake is noted.
    pub fn queue(&self, mistakes: &mut Mistakes) -> Option<SqsSettings> {
        let queue = self.optional(&rows::QUEUE, mistakes);
        let queue = queue.and_then(|queue| {
            queue.or_else(|| mistakes.note(self.name_of(&rows::QUEUE), "is not set", rows::QUEUE_REMEDY))
        });
        let wait = self.read(&rows::WAIT_FOR_QUEUE, mistakes);
        Some(SqsSettings { wait_for_queue: wait?, ..self.queue_at(queue?) })
    }

    /// A queue at this address, with the servers that are trusted.
    pub fn queue_at(&self, address: QueueAddress) -> SqsSettings {
        SqsSettings {
            allow_endpoint_override: self.is_on(&rows::ALLOW_ENDPOINT_OVERRIDE),
            allow_clear_queue: self.is_on(&rows::ALLOW_CLEAR_QUEUE),
            ..SqsSettings::new(address)
        }
    }

    /// Which database, for a pool of `connections`; a mistake is noted.
    pub fn database(&self, connections: usize, mistakes: &mut Mistakes) -> Option<DatabaseSettings> {
        let address = self.database_address(mistakes);
        let call_timeout = self.read(&rows::DATABASE_TIMEOUT, mistakes);
        let own = self.read(&rows::SCHEMA, mistakes);
        let logins = self.read(&rows::LOGINS_SCHEMA, mistakes);
        let schemas = Schemas { own: own?, logins: logins? };
        Some(DatabaseSettings { address: address?, connections, call_timeout: call_timeout?, schemas })
    }

    fn database_address(&self, mistakes: &mut Mistakes) -> Option<DatabaseAddress> {
        let url = &rows::DATABASE_URL;
        let Some(mut address) = self.optional(url, mistakes)? else {
            let remedy = "set DATABASE_URL=postgres://USER:PASSWORD@HOST:PORT/DATABASE";
            return mistakes.note(self.name_of(url), "is not set", remedy);
        };
        if address.has_password() && self.text(url).is_some_and(|(_, origin)| origin == Origin::Flag) {
            let problem = "holds a password, which every user of this machine can read in the list of processes";
            let remedy = "put the URL into the variable DATABASE_URL, or the password into PGPASSWORD";
            return mistakes.note(self.name_of(url), problem, remedy);
        }
        if address.has_password() {
            self.keep_secret(url, mistakes)?;
        }
        if let Some(password) = self.variable("PGPASSWORD").and_then(|password| password.to_str()) {
            address.set_password_if_none(password);
        }
        Some(address)
    }

    /// Where the keyring is: a file wins over a text. A mistake is noted.
    pub fn keyring_place(&self, mistakes: &mut Mistakes) -> Option<KeyringPlace> {
        if let Some(path) = self.optional(&rows::KEYRING, mistakes)? {
            return Some(KeyringPlace::File(path));
        }
        let Some(text) = self.optional(&rows::KEYS, mistakes)? else { return Some(KeyringPlace::Nowhere) };
        self.keep_secret(&rows::KEYS, mistakes)?;
        Some(KeyringPlace::Text { text: Zeroizing::new(text), given_as: self.name_of(&rows::KEYS) })
    }

    /// The keyring itself; a mistake is noted.
    pub fn keyring(&self, mistakes: &mut Mistakes) -> Option<Keyring> {
        let place = self.keyring_place(mistakes)?;
        let found = Keyring::find(&place);
        found.map_or_else(|error| self.no_keyring(&place, &error, mistakes), Some)
    }

    /// The keyring itself, or none where none is named; a mistake is noted.
    pub fn keyring_if_any(&self, mistakes: &mut Mistakes) -> Option<Option<Keyring>> {
        let place = self.keyring_place(mistakes)?;
        match Keyring::find(&place) {
            Err(KeyringError::Absent) => Some(None),
            Ok(keyring) => Some(Some(keyring)),
            Err(error) => self.no_keyring(&place, &error, mistakes),
        }
    }

    fn no_keyring<T>(&self, place: &KeyringPlace, error: &KeyringError, mistakes: &mut Mistakes) -> Option<T> {
        let name = match place {
            KeyringPlace::Text { .. } => self.name_of(&rows::KEYS),
            KeyringPlace::File(_) | KeyringPlace::Nowhere => self.name_of(&rows::KEYRING),
        };
        mistakes.note(name, place.blamed_for(error), place.remedy(error))
    }
}
