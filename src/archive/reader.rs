//! Files of an archive, read back. Nothing of the writer is used: what a row is, is told from the file alone, and its text is made
//! here once more.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use md5::{Digest as _, Md5};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use crate::table::archived_columns::{Column, Kind, RowDigest};
use crate::table::time_partitions::Parent;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refuses.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is no Parquet, or damaged.
    #[error("is damaged: {0}")]
    Parquet(#[from] ParquetError),
    /// Its columns are others than those that were expected.
    #[error("does not have the columns that were archived")]
    OtherColumns,
}

/// The length and BLAKE3 of a file, which is read from its beginning.
///
/// # Errors
///
/// What the system says.
pub fn fingerprint(file: &mut File) -> io::Result<(u64, [u8; 32])> {
    file.rewind()?;
    let (mut hasher, mut bytes, mut buffer) = (blake3::Hasher::new(), 0, vec![0; 1 << 18]);
    loop {
        let read = file.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { break };
        hasher.update(chunk);
        bytes += chunk.len() as u64;
    }
    file.rewind()?;
    Ok((bytes, *hasher.finalize().as_bytes()))
}

/// The rows of a file, as they stand together in it.
///
/// # Errors
///
/// [`ReadError`]
pub fn groups(file: File, columns: &[Column]) -> Result<impl Iterator<Item = Result<Group<'_>, ReadError>>, ReadError> {
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let names = schema.columns().iter().map(|column| column.name());
    if !names.eq(columns.iter().map(|column| column.name.as_str())) {
        return Err(ReadError::OtherColumns);
    }
    Ok((0..reader.num_row_groups()).map(move |number| {
        let group = reader.get_row_group(number)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let mut values = Vec::with_capacity(columns.len());
        for (at, column) in columns.iter().enumerate() {
            let read = values_of(group.get_column_reader(at)?, column.kept_as, rows)?;
            values.push(read.filter(|read| read.len() == rows).ok_or(ReadError::OtherColumns)?);
        }
        Ok(Group { columns, values, rows })
    }))
}

/// The digest of every row of a file.
///
/// # Errors
///
/// [`ReadError`]
pub fn digest(file: File, parent: Parent, columns: &[Column]) -> Result<RowDigest, ReadError> {
    let mut digest = RowDigest::default();
    for group in groups(file, columns)? {
        let group = group?;
        (0..group.rows).for_each(|row| group.add_to(&mut digest, parent, row));
    }
    Ok(digest)
}

/// Rows that stand together in a file.
pub struct Group<'c> {
    columns: &'c [Column],
    values: Vec<Vec<Value>>,
    /// How many.
    pub rows: usize,
}

/// A value, as it stands in a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A whole number, or a day since 1970.
    Int32(i32),
    /// A whole number, or microseconds since 1970.
    Int64(i64),
    /// Bytes, or a text.
    Bytes(ByteArray),
}

impl Group<'_> {
    /// A value of a row.
    pub fn value(&self, row: usize, column: usize) -> &Value {
        self.values.get(column).and_then(|values| values.get(row)).unwrap_or(&Value::Null)
    }

    /// Where a column is, by its name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Adds a row to a digest.
    pub fn add_to(&self, digest: &mut RowDigest, parent: Parent, row: usize) {
        let [at, _] = parent.key();
        let at = self.column(at).and_then(|column| match self.value(row, column) {
            Value::Int64(micros) => Some(*micros),
            Value::Null | Value::Boolean(_) | Value::Int32(_) | Value::Bytes(_) => None,
        });
        let hash = Md5::digest(self.text(row).as_slice());
        let bits = hash.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte)) >> 4;
        digest.add(at, bits);
    }

    /// The text of a row, as src/table/archived_columns.rs says.
    fn text(&self, row: usize) -> Vec<u8> {
        let (mut text, mut number) = (Vec::with_capacity(256), String::with_capacity(24));
        for (at, column) in self.columns.iter().enumerate() {
            number.clear();
            let written = match self.value(row, at) {
                Value::Null => {
                    text.push(b'-');
                    continue;
                }
                Value::Boolean(value) => write!(number, "{}", u8::from(*value)),
                Value::Int32(value) => write!(number, "{value}"),
                Value::Int64(value) => write!(number, "{value}"),
                Value::Bytes(bytes) if column.kept_as == Kind::Bytes => {
                    bytes.data().iter().try_for_each(|byte| write!(number, "{byte:02x}"))
                }
                Value::Bytes(bytes) => {
                    frame(&mut text, bytes.data());
                    continue;
                }
            };
            // Writing into a text does not fail.
            written.unwrap_or_default();
            frame(&mut text, number.as_bytes());
        }
        text
    }
}

fn frame(text: &mut Vec<u8>, value: &[u8]) {
    text.extend_from_slice(value.len().to_string().as_bytes());
    text.push(b':');
    text.extend_from_slice(value);
}

/// The values of a column; nothing where its type is another.
fn values_of(reader: ColumnReader, kind: Kind, rows: usize) -> Result<Option<Vec<Value>>, ReadError> {
    let read = match (reader, kind) {
        (ColumnReader::BoolColumnReader(reader), Kind::Boolean) => all(reader, rows, Value::Boolean),
        (ColumnReader::Int32ColumnReader(reader), Kind::Int16 | Kind::Int32 | Kind::Date) => {
            all(reader, rows, Value::Int32)
        }
        (ColumnReader::Int64ColumnReader(reader), Kind::Int64 | Kind::Timestamptz | Kind::Timestamp) => {
            all(reader, rows, Value::Int64)
        }
        (ColumnReader::ByteArrayColumnReader(reader), Kind::Text | Kind::TextOfValue | Kind::Bytes) => {
            all(reader, rows, Value::Bytes)
        }
        _ => return Ok(None),
    };
    Ok(Some(read?))
}

fn all<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    value: impl Fn(T::T) -> Value,
) -> Result<Vec<Value>, ReadError> {
    let (mut levels, mut values) = (Vec::with_capacity(rows), Vec::new());
    loop {
        let (read, ..) = reader.read_records(rows, Some(&mut levels), None, &mut values)?;
        if read == 0 || levels.len() >= rows {
            break;
        }
    }
    let mut values = values.into_iter();
    Ok(levels.iter().map(|level| if *level == 0 { None } else { values.next() }.map_or(Value::Null, &value)).collect())
}
