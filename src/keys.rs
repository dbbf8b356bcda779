//! The keys of a keyring, and those with which the tables are written: two programs must not disagree in silence.
//!
//! `migrate` registers the first keys. From then on a program whose keyring differs from what is registered does not
//! write, and another key is registered by the owner of the tables.

use crate::database::{Database, DatabaseError, Transaction};
use crate::keyring::Keyring;
use crate::mask::MaskKind;
use crate::seal::{CheckValue, KeyId};
use crate::table::turnstile_keys::{self, Purpose, Registered};
use crate::table::{identities, processed_messages};

/// How a keyring, and how it is used, differ from what is registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyMismatch {
    /// No key is registered at all.
    #[error("no key is registered in turnstile_keys")]
    NoneRegistered,
    /// A registered key is not in the keyring.
    #[error("the keyring lacks the key {0}, with which rows or dead letters are written")]
    Lacking(KeyId),
    /// The registered hash key is not that of the keyring.
    #[error("the keyring's hash key is {has}, and the tables are written with {registered}")]
    OtherHashKey {
        /// The keyring's.
        has: KeyId,
        /// The tables'.
        registered: KeyId,
    },
    /// Two keys have the same id.
    #[error("the keyring has another key under the id {0} than the one that is registered")]
    OtherKey(KeyId),
    /// The active key is not registered.
    #[error("the keyring's active key {0} is not registered")]
    Unregistered(KeyId),
    /// The key masks in another way.
    #[error("--mask is {asked}, and the key {id} is registered to mask by {registered}")]
    OtherMask {
        /// The active key.
        id: KeyId,
        /// How this program would mask.
        asked: MaskKind,
        /// How the others do.
        registered: MaskKind,
    },
}

impl KeyMismatch {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoneRegistered | Self::Unregistered(_) => "run `turnstile keys register` as the owner of the tables",
            Self::Lacking(_) | Self::OtherHashKey { .. } | Self::OtherKey(_) => {
                "use the keyring of the other loaders, or a copy of it: the database does not hold it"
            }
            Self::OtherMask { .. } => {
                "start with that --mask, or run `turnstile keys register --mask …` as the owner of the tables"
            }
        }
    }
}

/// Compares a keyring with the registered keys. `mask` is how the program is about to mask; none: it only reads.
///
/// # Errors
///
/// [`KeyMismatch`]: the first that is found.
pub fn compare(registered: &[Registered], keyring: &Keyring, mask: Option<MaskKind>) -> Result<(), KeyMismatch> {
    if registered.is_empty() {
        return Err(KeyMismatch::NoneRegistered);
    }
    let hash_key = keyring.hash_key();
    for Registered { id, purpose, check_value, .. } in registered {
        let is_same = |has: CheckValue| has.as_bytes()[..] == check_value[..];
        match purpose {
            Purpose::Hash if hash_key.id() != id => {
                return Err(KeyMismatch::OtherHashKey { has: hash_key.id().clone(), registered: id.clone() });
            }
            Purpose::Hash if !is_same(hash_key.check_value()) => return Err(KeyMismatch::OtherKey(id.clone())),
            Purpose::Hash => {}
            Purpose::Mask(_) => match keyring.mask_keys().find(|key| key.id() == id) {
                None => return Err(KeyMismatch::Lacking(id.clone())),
                Some(key) if !is_same(key.check_value()) => return Err(KeyMismatch::OtherKey(id.clone())),
                Some(_) => {}
            },
        }
    }
    let Some(asked) = mask else { return Ok(()) };
    let active = keyring.active();
    let of_active = registered.iter().find(|one| one.id == *active).map(|one| one.purpose);
    match of_active {
        Some(Purpose::Mask(kind)) if kind == asked => Ok(()),
        Some(Purpose::Mask(registered)) => Err(KeyMismatch::OtherMask { id: active.clone(), asked, registered }),
        Some(Purpose::Hash) | None => Err(KeyMismatch::Unregistered(active.clone())),
    }
}

/// Every key that is registered.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn registered(database: &Database) -> Result<Vec<Registered>, DatabaseError> {
    database.snapshot(turnstile_keys::read).await
}

/// What a registration did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    /// The keys that are registered now and were not, or not like this.
    pub registered: Vec<KeyId>,
    /// Where the hash key was replaced: what can no longer be recognised.
    pub forgotten: Option<Forgotten>,
}

/// What hashes stand in the tables that a new hash key does not make again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Producers' keys: a login that was sent under one of them is loaded again when it is sent again.
    pub identities: u64,
    /// Messages whose bodies can no longer be told to be the same.
    pub messages: u64,
}

/// A registration was refused. Nothing is changed.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The database refuses, or cannot be reached.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Something else is registered, and it was not asked to be replaced.
    #[error(transparent)]
    Differs(KeyMismatch),
    /// Replacing the hash key makes the tables forget.
    #[error(
        "the tables are written with the hash key {registered}, and the keyring's is another one. To replace it makes the \
         tables forget {} keys of producers: a login that is sent again under one of them is loaded again",
        .forgotten.identities
    )]
    ForgetsIdentities {
        /// The key that is registered.
        registered: KeyId,
        /// What would be forgotten.
        forgotten: Forgotten,
    },
}

impl RegisterError {
    /// What to do about it.
    pub fn remedy(&self) -> &str {
        match self {
            Self::Database(error) => error.remedy(),
            Self::Differs(mismatch) => mismatch.remedy(),
            Self::ForgetsIdentities { .. } => "if that is meant, stop every loader and add --replace-hash",
        }
    }
}

/// Registers the keyring's keys: all of them where none is registered, else the active one. A key that is registered under the
/// same id must be the same. The hash key is replaced only where `replace_hash` says so.
///
/// # Errors
///
/// [`RegisterError`]
pub async fn register(
    database: &Database,
    keyring: &Keyring,
    mask: MaskKind,
    replace_hash: bool,
) -> Result<Registration, RegisterError> {
    let transaction = database.begin().await?;
    // After a refusal it is dropped, and has no effect.
    let done = register_in(&transaction, keyring, mask, replace_hash).await?;
    transaction.commit().await?;
    Ok(done)
}

async fn register_in(
    transaction: &Transaction,
    keyring: &Keyring,
    mask: MaskKind,
    replace_hash: bool,
) -> Result<Registration, RegisterError> {
    let mut done = Registration::default();
    let before = turnstile_keys::read(transaction).await?;
    let hash_key = keyring.hash_key();
    match before.iter().find(|one| one.purpose == Purpose::Hash) {
        Some(one) if one.check_value == hash_key.check_value().as_bytes()[..] => {}
        Some(one) => {
            // Others that claim keys wait from here on, and find the new key registered.
            identities::lock(transaction).await?;
            let forgotten = Forgotten {
                identities: identities::count(transaction).await?,
                messages: processed_messages::count(transaction).await?,
            };
            if !replace_hash {
                return Err(RegisterError::ForgetsIdentities { registered: one.id.clone(), forgotten });
            }
            done.forgotten = Some(forgotten);
            done.registered.push(hash_key.id().clone());
            turnstile_keys::register(transaction, hash_key.id(), Purpose::Hash, hash_key.check_value()).await?;
        }
        None => {
            done.registered.push(hash_key.id().clone());
            turnstile_keys::register(transaction, hash_key.id(), Purpose::Hash, hash_key.check_value()).await?;
        }
    }
    for key in keyring.mask_keys().filter(|key| before.is_empty() || key.id() == keyring.active()) {
        let standing = before.iter().find(|one| one.id == *key.id());
        match standing {
            Some(one) if one.check_value != key.check_value().as_bytes()[..] => {
                return Err(RegisterError::Differs(KeyMismatch::OtherKey(key.id().clone())));
            }
            Some(one) if one.purpose == Purpose::Mask(mask) => {}
            Some(_) | None => {
                done.registered.push(key.id().clone());
                turnstile_keys::register(transaction, key.id(), Purpose::Mask(mask), key.check_value()).await?;
            }
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::keyring::Masters;

    fn all(keyring: &Keyring, kind: MaskKind) -> Vec<Registered> {
        let since = OffsetDateTime::UNIX_EPOCH;
        let one = |id: &KeyId, purpose, check_value: CheckValue| Registered {
            id: id.clone(),
            purpose,
            check_value: check_value.as_bytes().to_vec(),
            since,
        };
        let hash = one(keyring.hash_key().id(), Purpose::Hash, keyring.hash_key().check_value());
        let masks = keyring.mask_keys().map(|key| one(key.id(), Purpose::Mask(kind), key.check_value()));
        masks.chain([hash]).collect()
    }

    #[test]
    fn only_the_same_keys_used_alike_agree() {
        let text = "turnstile-keyring v1\n\
                    hash h1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\
                    key main AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\
                    active main\n";
        let ring = || Keyring::parse(text).unwrap();
        let registered = all(&ring(), MaskKind::Seal);
        assert_eq!(compare(&registered, &ring(), Some(MaskKind::Seal)), Ok(()));
        assert_eq!(compare(&registered, &ring(), None), Ok(()));
        assert_eq!(compare(&[], &ring(), None), Err(KeyMismatch::NoneRegistered));

        let id = |text: &str| text.parse::<KeyId>().unwrap();
        let more = Masters::parse(text).unwrap().with_new_key(Some(id("second"))).unwrap().derive().unwrap();
        assert_eq!(compare(&registered, &more, Some(MaskKind::Seal)), Err(KeyMismatch::Unregistered(id("second"))));
        assert_eq!(compare(&all(&more, MaskKind::Seal), &ring(), None), Err(KeyMismatch::Lacking(id("second"))));
        let other_mask = compare(&registered, &ring(), Some(MaskKind::Token));
        assert!(matches!(other_mask, Err(KeyMismatch::OtherMask { .. })), "{other_mask:?}");

        let changed = |from: &str, to: &str| Keyring::parse(&text.replace(from, to)).unwrap();
        let other_key = changed("main AQEB", "main AgEB");
        assert_eq!(compare(&registered, &other_key, None), Err(KeyMismatch::OtherKey(id("main"))));
        let other_hash = changed("h1 AAAA", "h1 BAAA");
        assert_eq!(compare(&registered, &other_hash, None), Err(KeyMismatch::OtherKey(id("h1"))));
        let hash_id = changed("hash h1", "hash h2");
        assert_eq!(
            compare(&registered, &hash_id, None),
            Err(KeyMismatch::OtherHashKey { has: id("h2"), registered: id("h1") })
        );
    }
}
