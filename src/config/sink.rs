//! How a sink is reached.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use super::kinds::FilePath;
use super::{Given, Mistakes, Setting, rows};
use crate::keyring::is_private;
use crate::sink::http::{Bearer, HttpSettings, Secrets};
use crate::sink::{SinkSettings, Target};

/// The most that is read of a file of secrets.
const MAX_FILE_BYTES: u64 = 64 * 1024;

impl Given {
    /// A sink at this place, with what it is reached by; a mistake is noted.
    pub fn sink_at(&self, target: Target, mistakes: &mut Mistakes) -> Option<SinkSettings> {
        let http = match target {
            Target::Http(_) => self.http(mistakes)?,
            Target::Stdout | Target::Sqs(_) | Target::Sns(_) => HttpSettings::default(),
        };
        Some(SinkSettings {
            target,
            allow_endpoint_override: self.is_on(&rows::ALLOW_ENDPOINT_OVERRIDE),
            allow_clear_queue: self.is_on(&rows::ALLOW_CLEAR_QUEUE),
            http,
        })
    }

    fn http(&self, mistakes: &mut Mistakes) -> Option<HttpSettings> {
        let batch = self.optional(&rows::HTTP_BATCH, mistakes);
        let deadline = self.http_deadline(mistakes);
        let secrets = self.secrets(mistakes);
        let bearer = self.private(&rows::HTTP_BEARER_FILE, mistakes, |text| {
            Bearer::parse(text).ok_or("holds no token, or more than one")
        });
        Some(HttpSettings {
            batch: batch?,
            deadline: deadline?,
            secrets: secrets?,
            bearer: bearer?,
            allow_clear: self.is_on(&rows::ALLOW_CLEAR_HTTP),
        })
    }

    /// A call that outlasts the lease would be made by another relay again, and so on without end.
    fn http_deadline(&self, mistakes: &mut Mistakes) -> Option<Duration> {
        let (deadline, lease) = (self.read(&rows::HTTP_TIMEOUT, mistakes), self.read(&rows::LEASE, mistakes));
        match (deadline?, lease?) {
            (deadline, lease) if deadline * 2 <= lease => Some(deadline),
            _ => mistakes.note(
                self.name_of(&rows::HTTP_TIMEOUT),
                "is more than half of --lease: another relay would send the events meanwhile",
                "lower it, or give a longer --lease (TURNSTILE_LEASE)",
            ),
        }
    }

    fn secrets(&self, mistakes: &mut Mistakes) -> Option<Option<Secrets>> {
        if self.has(&rows::HTTP_SECRETS_FILE) {
            return self.private(&rows::HTTP_SECRETS_FILE, mistakes, Secrets::parse);
        }
        let secrets = self.optional(&rows::HTTP_SECRETS, mistakes)?;
        if secrets.is_some() {
            self.keep_secret(&rows::HTTP_SECRETS, mistakes)?;
        }
        Some(secrets)
    }

    /// What a file holds that only its owner may read.
    fn private<T, E: std::fmt::Display>(
        &self,
        row: &'static Setting<FilePath>,
        mistakes: &mut Mistakes,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        let Some(path) = self.optional(row, mistakes)? else { return Some(None) };
        let text = match text_of(&path) {
            Ok(text) => text,
            Err(Unusable::Unreadable(error)) => {
                let problem = format!("{} cannot be read: {error}", path.display());
                return mistakes.note(self.name_of(row), problem, "name a file that can be read");
            }
            Err(Unusable::Exposed) => {
                let problem = format!("{} holds a secret, and others may read it", path.display());
                return mistakes.note(self.name_of(row), problem, format!("chmod 600 {}", path.display()));
            }
        };
        let problem = |problem: E| format!("{}: {problem}", path.display());
        mistakes.take(self.name_of(row), read(&text).map_err(problem), "correct the file, or name another").map(Some)
    }
}

enum Unusable {
    Unreadable(std::io::Error),
    Exposed,
}

fn text_of(path: &Path) -> Result<Zeroizing<String>, Unusable> {
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(Unusable::Unreadable)?;
    let mode = file.metadata().map_err(Unusable::Unreadable)?.permissions().mode();
    if !is_private(path, mode) {
        return Err(Unusable::Exposed);
    }
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(Unusable::Unreadable)?;
    Ok(text)
}
