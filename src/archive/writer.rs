//! Rows into Parquet. The same rows in the same order are the same bytes, whenever and wherever they are written: nothing in a
//! file depends on a clock, on chance or on where its parts were cut off by a network.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::binary::{DAYS, MICROS};
use crate::table::archived_columns::{Column, Kind};

/// How many rows stand together in a file, at most: as many as DuckDB reads at once.
const ROWS_TOGETHER: usize = 122_880;

/// How many bytes of values stand together, at most: it bounds memory.
const BYTES_TOGETHER: usize = 64 << 20;

/// What wrote the files. It changes when their bytes do.
const CREATED_BY: &str = "turnstile archive version 1";

/// Why rows could not be written. Names columns, and no values.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system refuses.
    #[error("a file of the archive cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The library refuses.
    #[error("Parquet cannot be written: {0}")]
    Parquet(#[from] ParquetError),
    /// A value has no place in a file.
    #[error("the column {column} has a value that cannot be kept: it is infinite, or not of the column's type")]
    Value {
        /// The column.
        column: String,
    },
}

/// A file that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// How many rows it holds.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3.
    pub blake3: [u8; 32],
    /// Its SHA-256, which S3 asks for.
    pub sha256: [u8; 32],
}

/// A file that is being written.
pub struct Writer {
    file: SerializedFileWriter<Digested>,
    buffers: Vec<Buffer>,
    rows_together: usize,
    bytes_together: usize,
    rows: u64,
}

impl Writer {
    /// Begins a file of these columns.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn new(file: File, columns: &[Column]) -> Result<Self, WriteError> {
        let schema = schema_of(columns)?;
        let file = SerializedFileWriter::new(Digested::new(file), schema, properties_of(columns)?)?;
        let buffers = columns.iter().map(Buffer::of).collect();
        Ok(Self { file, buffers, rows_together: 0, bytes_together: 0, rows: 0 })
    }

    /// Adds a row, whose values are as PostgreSQL sends them in the binary form.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn add<'v>(&mut self, value: impl Fn(usize) -> Option<&'v [u8]>) -> Result<(), WriteError> {
        for (at, buffer) in self.buffers.iter_mut().enumerate() {
            self.bytes_together += buffer.add(value(at))?;
        }
        self.rows += 1;
        self.rows_together += 1;
        match self.rows_together >= ROWS_TOGETHER || self.bytes_together >= BYTES_TOGETHER {
            true => self.write_together(),
            false => Ok(()),
        }
    }

    /// How many bytes have left the memory.
    pub fn bytes(&self) -> u64 {
        self.file.bytes_written() as u64
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn end(mut self) -> Result<Whole, WriteError> {
        self.write_together()?;
        let rows = self.rows;
        self.file.into_inner()?.end(rows)
    }

    fn write_together(&mut self) -> Result<(), WriteError> {
        if self.rows_together == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for buffer in &mut self.buffers {
            let Some(mut column) = group.next_column()? else { break };
            buffer.write(&mut column)?;
            column.close()?;
        }
        group.close()?;
        (self.rows_together, self.bytes_together) = (0, 0);
        Ok(())
    }
}

/// The values of a column that are written together.
struct Buffer {
    column: String,
    kind: Kind,
    /// 1 for a value, 0 for NULL.
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Bools(Vec<bool>),
    Int32s(Vec<i32>),
    Int64s(Vec<i64>),
    /// One behind the other, and where each ends.
    Texts(Vec<u8>, Vec<usize>),
}

impl Buffer {
    fn of(column: &Column) -> Self {
        let values = match column.kept_as {
            Kind::Boolean => Values::Bools(Vec::new()),
            Kind::Int16 | Kind::Int32 | Kind::Date => Values::Int32s(Vec::new()),
            Kind::Int64 | Kind::Timestamptz | Kind::Timestamp => Values::Int64s(Vec::new()),
            Kind::Text | Kind::TextOfValue | Kind::Bytes => Values::Texts(Vec::new(), Vec::new()),
        };
        Self { column: column.name.clone(), kind: column.kept_as, levels: Vec::new(), values }
    }

    /// Adds a value; gives how many bytes of memory it takes.
    fn add(&mut self, value: Option<&[u8]>) -> Result<usize, WriteError> {
        self.levels.push(i16::from(value.is_some()));
        let Some(bytes) = value else { return Ok(2) };
        let fits = match &mut self.values {
            Values::Bools(bools) => bytes.first().map(|byte| bools.push(*byte != 0)),
            Values::Int32s(numbers) => int32(self.kind, bytes).map(|number| numbers.push(number)),
            Values::Int64s(numbers) => int64(self.kind, bytes).map(|number| numbers.push(number)),
            Values::Texts(all, ends) => {
                all.extend_from_slice(bytes);
                ends.push(all.len());
                Some(())
            }
        };
        fits.map(|()| 10 + bytes.len()).ok_or_else(|| WriteError::Value { column: self.column.clone() })
    }

    fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = std::mem::take(&mut self.levels);
        match &mut self.values {
            Values::Bools(values) => column.typed::<BoolType>().write_batch(values, Some(&levels), None)?,
            Values::Int32s(values) => column.typed::<Int32Type>().write_batch(values, Some(&levels), None)?,
            Values::Int64s(values) => column.typed::<Int64Type>().write_batch(values, Some(&levels), None)?,
            Values::Texts(all, ends) => {
                let all = Bytes::from(std::mem::take(all));
                let begins = std::iter::once(0).chain(ends.iter().copied());
                let values: Vec<ByteArray> =
                    begins.zip(ends.iter()).map(|(begin, end)| ByteArray::from(all.slice(begin..*end))).collect();
                column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?
            }
        };
        match &mut self.values {
            Values::Bools(values) => values.clear(),
            Values::Int32s(values) => values.clear(),
            Values::Int64s(values) => values.clear(),
            Values::Texts(_, ends) => ends.clear(),
        }
        Ok(())
    }
}

fn int32(kind: Kind, bytes: &[u8]) -> Option<i32> {
    match kind {
        Kind::Int16 => bytes.try_into().ok().map(|bytes| i32::from(i16::from_be_bytes(bytes))),
        // The two infinities are the two ends.
        Kind::Date => {
            i32::from_be_bytes(bytes.try_into().ok()?).checked_add(DAYS).filter(|day| *day != i32::MIN + DAYS)
        }
        _ => bytes.try_into().ok().map(i32::from_be_bytes),
    }
}

fn int64(kind: Kind, bytes: &[u8]) -> Option<i64> {
    let number = i64::from_be_bytes(bytes.try_into().ok()?);
    match kind {
        Kind::Timestamptz | Kind::Timestamp => number.checked_add(MICROS).filter(|time| *time != i64::MIN + MICROS),
        _ => Some(number),
    }
}

fn schema_of(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let fields = columns.iter().zip(1..).map(|(column, number)| {
        let (physical, logical) = type_of(column.kept_as);
        let field = Type::primitive_type_builder(&column.name, physical).with_repetition(Repetition::OPTIONAL);
        field.with_logical_type(logical).with_id(Some(number)).build().map(Arc::new)
    });
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder("turnstile").with_fields(fields).build().map(Arc::new)
}

fn type_of(kind: Kind) -> (Physical, Option<LogicalType>) {
    let time = |is_utc| LogicalType::timestamp(is_utc, TimeUnit::MICROS);
    match kind {
        Kind::Text | Kind::TextOfValue => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Bytes => (Physical::BYTE_ARRAY, None),
        Kind::Int16 => (Physical::INT32, Some(LogicalType::integer(16, true))),
        Kind::Int32 => (Physical::INT32, None),
        Kind::Int64 => (Physical::INT64, None),
        Kind::Boolean => (Physical::BOOLEAN, None),
        Kind::Date => (Physical::INT32, Some(LogicalType::Date)),
        Kind::Timestamptz => (Physical::INT64, Some(time(true))),
        Kind::Timestamp => (Physical::INT64, Some(time(false))),
    }
}

fn properties_of(columns: &[Column]) -> Result<WriterPropertiesPtr, ParquetError> {
    let compression = Compression::ZSTD(ZstdLevel::try_new(3)?);
    let mut properties = WriterProperties::builder().set_created_by(CREATED_BY.to_owned()).set_compression(compression);
    for column in columns {
        let path = ColumnPath::from(column.name.as_str());
        // Hashes are never equal, and times hardly ever: a dictionary of them would only be written besides.
        let encoding = match column.kept_as {
            Kind::Bytes => Encoding::DELTA_LENGTH_BYTE_ARRAY,
            Kind::Timestamptz | Kind::Timestamp => Encoding::DELTA_BINARY_PACKED,
            _ => continue,
        };
        properties = properties.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding);
    }
    Ok(Arc::new(properties.build()))
}

/// A file, with the digests of what was written into it.
struct Digested {
    file: BufWriter<File>,
    blake3: blake3::Hasher,
    sha256: Context,
    bytes: u64,
}

impl Digested {
    fn new(file: File) -> Self {
        let file = BufWriter::with_capacity(256 * 1024, file);
        Self { file, blake3: blake3::Hasher::new(), sha256: Context::new(&SHA256), bytes: 0 }
    }

    fn end(mut self, rows: u64) -> Result<Whole, WriteError> {
        self.file.flush()?;
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.sha256.finish().as_ref());
        Ok(Whole { rows, bytes: self.bytes, blake3: *self.blake3.finalize().as_bytes(), sha256 })
    }
}

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.blake3.update(bytes);
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A small object, as it is put.
///
/// # Errors
///
/// What the system says.
pub fn write_small(mut file: File, bytes: &[u8]) -> io::Result<[u8; 32]> {
    file.write_all(bytes)?;
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(aws_lc_rs::digest::digest(&SHA256, bytes).as_ref());
    Ok(sha256)
}
