//! Values of a file as PostgreSQL takes them in the binary form of COPY.

use super::reader::Value;
use crate::table::archived_columns::Kind;

/// Days from 1970 to 2000, when PostgreSQL's time begins.
pub(super) const DAYS: i32 = 10_957;

/// The same in microseconds.
pub(super) const MICROS: i64 = DAYS as i64 * 86_400_000_000;

/// A value; nothing for NULL.
pub(super) fn binary(value: &Value, kind: Kind) -> Option<Vec<u8>> {
    Some(match value {
        Value::Null => return None,
        Value::Boolean(value) => vec![u8::from(*value)],
        Value::Int32(number) if kind == Kind::Int16 => {
            i16::try_from(*number).unwrap_or(i16::MAX).to_be_bytes().to_vec()
        }
        Value::Int32(day) if kind == Kind::Date => day.saturating_sub(DAYS).to_be_bytes().to_vec(),
        Value::Int32(number) => number.to_be_bytes().to_vec(),
        Value::Int64(time) if matches!(kind, Kind::Timestamptz | Kind::Timestamp) => {
            time.saturating_sub(MICROS).to_be_bytes().to_vec()
        }
        Value::Int64(number) => number.to_be_bytes().to_vec(),
        Value::Bytes(bytes) => bytes.data().to_vec(),
    })
}
