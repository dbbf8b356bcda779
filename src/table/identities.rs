//! `identities`: which key of a producer brought which login, so that a login that is sent twice is loaded once.

use std::collections::HashMap;

use time::OffsetDateTime;
use tokio_postgres::Row;

use crate::database::{DatabaseError, Transaction};
use crate::message::{IdentityHash, IdentityKey, LoginHash, MessageKey};
use crate::seal::CheckValue;
use crate::verdict::LoginIdentity;

/// The name of the table.
pub const TABLE: &str = "identities";

/// Whose a key is.
#[derive(Clone, Copy)]
pub struct Owner {
    /// The message that owns it.
    pub message: MessageKey,
    /// The login that it brought.
    pub login: LoginHash,
}

/// Claims keys for messages, where the hash key with this check value is the one that these tables were written with, and
/// says who owns each of them then.
///
/// Where another transaction is claiming the same key, this waits until it ends: then the key is either taken or free.
/// The claims are made in the order of the keys, by time and hash, whatever the order of `wanted`. A message that finds its key owned
/// by itself is its owner; of two in one call the first is.
///
/// # Errors
///
/// [`DatabaseError`], also when a key has no owner afterwards: it was removed meanwhile, so that the transaction must run
/// again ([`DatabaseError::is_unsettled`]), or the hash key is not the registered one.
pub async fn claim(
    transaction: &Transaction,
    check_value: CheckValue,
    wanted: &[(MessageKey, LoginIdentity)],
) -> Result<HashMap<IdentityKey, Owner>, DatabaseError> {
    let mut in_order: Vec<&(MessageKey, LoginIdentity)> = wanted.iter().collect();
    in_order.sort_by_key(|(message, identity)| (identity.key, *message));
    let (times, hashes) = columns(in_order.iter().map(|(_, identity)| &identity.key));
    let sent: Vec<OffsetDateTime> = in_order.iter().map(|(message, _)| message.sent_at).collect();
    let owners: Vec<&[u8]> = in_order.iter().map(|(message, _)| &message.hash.as_bytes()[..]).collect();
    let logins: Vec<&[u8]> = in_order.iter().map(|(_, identity)| &identity.login.as_bytes()[..]).collect();
    let own = &transaction.schemas().own;
    let sql = format!(
        "INSERT INTO {own}.identities (key_time, hash, owner_sent_at, owner, login_hash)
         SELECT pg_catalog.unnest($1::timestamptz[]), pg_catalog.unnest($2::bytea[]), pg_catalog.unnest($3::timestamptz[]), pg_catalog.unnest($4::bytea[]),
                pg_catalog.unnest($5::bytea[])
         WHERE EXISTS (SELECT FROM {own}.turnstile_keys WHERE purpose = 'hash' AND check_value = $6)
         ON CONFLICT (key_time, hash) DO NOTHING RETURNING hash"
    );
    let check_value = &check_value.as_bytes()[..];
    // Of the rows that came back, and not of those that the server counts: for a distributed table Citus counts those that
    // it was given.
    let claimed =
        transaction.query("claim identities", &sql, &[&times, &hashes, &sent, &owners, &logins, &check_value]).await?;
    if claimed.len() == wanted.len() {
        let owned = |(message, identity): &(MessageKey, LoginIdentity)| {
            (identity.key, Owner { message: *message, login: identity.login })
        };
        return Ok(wanted.iter().map(owned).collect());
    }
    // A later statement: it sees what others committed while the first one waited.
    let owners = owners_of(transaction, &times, &hashes).await?;
    match wanted.iter().filter(|(_, identity)| !owners.contains_key(&identity.key)).count() {
        0 => Ok(owners),
        _ => Err(unowned(transaction, check_value).await?),
    }
}

/// The columns of keys, as parameters of a statement.
fn columns<'k>(keys: impl IntoIterator<Item = &'k IdentityKey>) -> (Vec<OffsetDateTime>, Vec<&'k [u8]>) {
    keys.into_iter().map(|key| (key.at, &key.hash.as_bytes()[..])).unzip()
}

async fn owners_of(
    transaction: &Transaction,
    times: &[OffsetDateTime],
    hashes: &[&[u8]],
) -> Result<HashMap<IdentityKey, Owner>, DatabaseError> {
    // One look at the primary key for each pair; a LATERAL would say so more plainly, and Citus does not take one.
    let sql = format!(
        "SELECT i.owner_sent_at, i.owner, i.key_time, i.hash, i.login_hash
         FROM unnest($1::timestamptz[], $2::bytea[]) AS wanted (key_time, hash)
         JOIN {}.identities i ON i.key_time = wanted.key_time AND i.hash = wanted.hash",
        transaction.schemas().own
    );
    let rows = transaction.query("read owners", &sql, &[&times, &hashes]).await?;
    let owner = |row: &Row| {
        let (hash, login) = (super::bytes_from(transaction, row.get(3))?, super::bytes_from(transaction, row.get(4))?);
        let owner = Owner { message: super::key_from(transaction, row)?, login: LoginHash::from_bytes(login) };
        Ok((IdentityKey { at: row.get(2), hash: IdentityHash::from_bytes(hash) }, owner))
    };
    rows.iter().map(owner).collect()
}

/// Who owns these keys, as far as somebody does.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn owners(
    transaction: &Transaction,
    keys: &[IdentityKey],
) -> Result<HashMap<IdentityKey, Owner>, DatabaseError> {
    let (times, hashes) = columns(keys);
    owners_of(transaction, &times, &hashes).await
}

/// Why a key could not be claimed and has no owner.
async fn unowned(transaction: &Transaction, check_value: &[u8]) -> Result<DatabaseError, DatabaseError> {
    let attempted = "claim identities";
    let sql = format!(
        "SELECT count(*) FROM {}.turnstile_keys WHERE purpose = 'hash' AND check_value = $1",
        transaction.schemas().own
    );
    let registered: i64 = transaction.query_one(attempted, &sql, &[&check_value]).await?.get(0);
    Ok(match registered {
        0 => transaction.broken_with_remedy(
            attempted,
            "the keyring's hash key is not the one that these tables are written with now".to_owned(),
            "give this loader the new keyring, and start it again",
        ),
        _ => {
            transaction.unsettled(attempted, "a key could not be claimed in identities, and nobody owns it".to_owned())
        }
    })
}

/// How many keys are remembered.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count(transaction: &Transaction) -> Result<u64, DatabaseError> {
    let sql = format!("SELECT count(*) FROM {}.identities", transaction.schemas().own);
    let row = transaction.query_one("count identities", &sql, &[]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// Keeps others from claiming keys until this transaction ends; waits for those who are claiming some.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn lock(transaction: &Transaction) -> Result<(), DatabaseError> {
    let sql = format!("LOCK TABLE {}.identities IN SHARE ROW EXCLUSIVE MODE", transaction.schemas().own);
    transaction.execute("lock identities", &sql, &[]).await.map(drop)
}
