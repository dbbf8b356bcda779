//! `turnstile_keys`: the keys with which the tables may be written.

use time::OffsetDateTime;
use tokio_postgres::Row;

use crate::database::{DatabaseError, Transaction};
use crate::mask::MaskKind;
use crate::seal::{CheckValue, KeyId};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It masks values in this way, and seals bodies.
    Mask(MaskKind),
    /// It hashes identities, logins and bodies.
    Hash,
}

/// A key that is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub id: KeyId,
    /// What it is for.
    pub purpose: Purpose,
    /// What it is recognised by.
    pub check_value: Vec<u8>,
    /// Since when it is registered.
    pub since: OffsetDateTime,
}

/// Every key that is registered, in the order of their registration.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read(transaction: &Transaction) -> Result<Vec<Registered>, DatabaseError> {
    let attempted = "read the registered keys";
    let sql = format!(
        "SELECT key_id, mask, check_value, registered_at FROM {}.turnstile_keys ORDER BY registered_at, key_id",
        transaction.schemas().own
    );
    let read = |row: &Row| {
        let unknown = |what: &str| transaction.broken(attempted, format!("{what} is unknown"));
        let id = row.get::<_, &str>(0).parse().map_err(|_| unknown("an id"))?;
        let purpose = match row.get::<_, Option<&str>>(1) {
            None => Purpose::Hash,
            Some(mask) => Purpose::Mask(mask.parse().map_err(|_| unknown("a mask"))?),
        };
        Ok(Registered { id, purpose, check_value: row.get(2), since: row.get(3) })
    };
    transaction.query(attempted, &sql, &[]).await?.iter().map(read).collect()
}

/// Registers a key, in place of one with the same id; a hash key in place of the one before it.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn register(
    transaction: &Transaction,
    id: &KeyId,
    purpose: Purpose,
    check_value: CheckValue,
) -> Result<(), DatabaseError> {
    let own = &transaction.schemas().own;
    let (word, mask) = match purpose {
        Purpose::Mask(kind) => ("mask", Some(kind.to_string())),
        Purpose::Hash => ("hash", None),
    };
    if purpose == Purpose::Hash {
        let sql = format!("DELETE FROM {own}.turnstile_keys WHERE purpose = 'hash'");
        transaction.execute("replace the hash key", &sql, &[]).await?;
    }
    let sql = format!(
        "INSERT INTO {own}.turnstile_keys (key_id, purpose, check_value, mask) VALUES ($1, $2, $3, $4)
         ON CONFLICT (key_id) DO UPDATE
         SET purpose = excluded.purpose, check_value = excluded.check_value, mask = excluded.mask,
             registered_at = now(), registered_by = current_user"
    );
    let check_value = &check_value.as_bytes()[..];
    transaction.execute("register a key", &sql, &[&id.as_str(), &word, &check_value, &mask]).await.map(drop)
}
