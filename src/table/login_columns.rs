//! The columns of a login, which `user_logins` and `outbox` have under the same names: one value of each for a COPY, or
//! an array of each for an INSERT.

use time::Date;
use tokio_postgres::types::{ToSql, Type};

use crate::batch::LoginRow;

/// `user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date`.
pub(super) const TYPES: [Type; 7] =
    [Type::VARCHAR, Type::VARCHAR, Type::VARCHAR, Type::VARCHAR, Type::VARCHAR, Type::INT4, Type::DATE];

/// A value of a statement.
pub(super) type Value<'v> = &'v (dyn ToSql + Sync);

/// The values of one login.
pub(super) struct LoginValues<'l> {
    row: &'l LoginRow<'l>,
    app_version: i32,
    create_date: Date,
    /// The message that brought it.
    pub(super) hash: &'l [u8],
}

impl<'l> LoginValues<'l> {
    pub(super) fn of_all(rows: &'l [LoginRow<'l>]) -> Vec<Self> {
        rows.iter().map(Self::of).collect()
    }

    fn of(row: &'l LoginRow<'l>) -> Self {
        let app_version = row.login.app_version.as_i32();
        Self { row, app_version, create_date: row.create_date(), hash: row.key.hash.as_bytes() }
    }

    pub(super) fn columns(&self) -> [Value<'_>; 7] {
        let login = self.row.login;
        [
            &login.user_id,
            &login.device_type,
            &login.masked_ip,
            &login.masked_device_id,
            &login.locale,
            &self.app_version,
            &self.create_date,
        ]
    }
}

/// The values of many logins, column by column.
pub(super) struct LoginArrays<'l> {
    user_ids: Vec<&'l str>,
    device_types: Vec<&'l str>,
    ips: Vec<&'l str>,
    device_ids: Vec<&'l str>,
    locales: Vec<Option<&'l str>>,
    versions: Vec<i32>,
    dates: Vec<Date>,
}

impl<'l> LoginArrays<'l> {
    pub(super) fn of(rows: &'l [LoginRow<'l>]) -> Self {
        Self {
            user_ids: rows.iter().map(|row| row.login.user_id.as_str()).collect(),
            device_types: rows.iter().map(|row| row.login.device_type.as_str()).collect(),
            ips: rows.iter().map(|row| row.login.masked_ip.as_str()).collect(),
            device_ids: rows.iter().map(|row| row.login.masked_device_id.as_str()).collect(),
            locales: rows.iter().map(|row| row.login.locale.as_deref()).collect(),
            versions: rows.iter().map(|row| row.login.app_version.as_i32()).collect(),
            dates: rows.iter().map(LoginRow::create_date).collect(),
        }
    }

    pub(super) fn columns(&self) -> [Value<'_>; 7] {
        [&self.user_ids, &self.device_types, &self.ips, &self.device_ids, &self.locales, &self.versions, &self.dates]
    }
}
