//! Reading and writing the CSV tables of a run directory.
//!
//! A [`Writer`] flushes each row as it is written. [`read`] accepts appended columns, CRLF, quoted commas and a last line
//! cut short by a crash, refuses another major schema version by name, and says file, line and column of what it can't
//! read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use crate::rows::{BroadcastRow, CoreRow, ErrorRow, FloorRow, LatencyRow, PointRow, SampleRow};

/// A row type and the file its rows live in.
pub trait Row: Serialize + DeserializeOwned + Default {
    /// File name inside the run directory.
    const FILE: &'static str;
    /// Point and repetition that the row is about.
    fn of(&self) -> (u32, u32);
    /// Schema version the row says of itself, for the table that has such a column.
    fn schema(&self) -> Option<&str> {
        None
    }
}

impl Row for PointRow {
    const FILE: &'static str = "points.csv";
    fn of(&self) -> (u32, u32) {
        (self.point, self.repetition)
    }
    fn schema(&self) -> Option<&str> {
        Some(&self.schema)
    }
}
impl Row for SampleRow {
    const FILE: &'static str = "samples.csv";
    fn of(&self) -> (u32, u32) {
        (self.point, self.repetition)
    }
}
impl Row for CoreRow {
    const FILE: &'static str = "cores.csv";
    fn of(&self) -> (u32, u32) {
        (self.point, self.repetition)
    }
}
impl Row for BroadcastRow {
    const FILE: &'static str = "broadcasts.csv";
    fn of(&self) -> (u32, u32) {
        (self.point, self.repetition)
    }
}
impl Row for LatencyRow {
    const FILE: &'static str = "latency.csv";
    fn of(&self) -> (u32, u32) {
        (self.point, self.repetition)
    }
}
impl Row for FloorRow {
    const FILE: &'static str = "floor.csv";
    fn of(&self) -> (u32, u32) {
        (self.point, self.repetition)
    }
}
impl Row for ErrorRow {
    const FILE: &'static str = "errors.csv";
    fn of(&self) -> (u32, u32) {
        (self.point, self.repetition)
    }
}

/// Why a table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file can't be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A cell or line is malformed.
    #[error("{}, line {line}{}: {message}", path.display(), column.as_ref().map(|c| format!(", column {c}")).unwrap_or_default())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// Column name, where one cell is at fault.
        column: Option<String>,
        /// What is wrong.
        message: String,
    },
    /// The file is of another major schema version.
    #[error("{}: schema {found} can't be read by this build, which reads {}", path.display(), crate::SCHEMA_VERSION)]
    Schema {
        /// The file.
        path: PathBuf,
        /// The version it says.
        found: String,
    },
}

/// The column names of a row type, in file order.
///
/// # Panics
/// Never: rows are flat structs, which the CSV writer always accepts.
pub fn columns<R: Row>() -> Vec<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.serialize(R::default()).expect("rows are flat");
    let bytes = writer.into_inner().expect("writing to memory");
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    reader.headers().expect("just written").iter().map(str::to_owned).collect()
}

/// Appends rows to a new table, flushing each.
#[derive(Debug)]
pub struct Writer<R> {
    csv: csv::Writer<File>,
    row: std::marker::PhantomData<R>,
}

impl<R: Row> Writer<R> {
    /// Creates the table in `dir` with its header. Fails when the file exists: nothing is ever overwritten.
    pub fn create(dir: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(dir.join(R::FILE))?;
        let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        csv.write_record(columns::<R>())?;
        csv.flush()?;
        Ok(Self { csv, row: std::marker::PhantomData })
    }

    /// Continues the table in `dir`, or begins it where there is none. Rows of repetitions that `keeps` refuses are taken
    /// out first, and so is a last line cut short by a crash. Errors: the table can't be read or written.
    pub fn resume(dir: &Path, keeps: impl Fn((u32, u32)) -> bool) -> Result<Self, ReadError> {
        let path = dir.join(R::FILE);
        let at_path = |source| ReadError::Io { path: path.clone(), source };
        if !path.exists() {
            return Self::create(dir).map_err(at_path);
        }
        let mut rows = read::<R>(dir)?;
        rows.retain(|row| keeps(row.of()));
        replace(dir, &rows).map_err(at_path)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(at_path)?;
        let csv = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        Ok(Self { csv, row: std::marker::PhantomData })
    }

    /// Appends one row and flushes it.
    pub fn write(&mut self, row: &R) -> io::Result<()> {
        self.write_all(std::slice::from_ref(row))
    }

    /// Appends rows that belong to one moment and flushes once.
    pub fn write_all(&mut self, rows: &[R]) -> io::Result<()> {
        for row in rows {
            self.csv.serialize(row).map_err(io::Error::other)?;
        }
        self.csv.flush()
    }
}

/// Replaces the table in `dir` by `rows` in one step: a reader, or a crash, sees the old table or the new one.
pub fn replace<R: Row>(dir: &Path, rows: &[R]) -> io::Result<()> {
    let path = dir.join(R::FILE);
    let fresh = path.with_extension("csv.new");
    let file = File::create(&fresh)?;
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(file);
    csv.write_record(columns::<R>())?;
    for row in rows {
        csv.serialize(row).map_err(io::Error::other)?;
    }
    let mut file = csv.into_inner().map_err(|e| io::Error::other(e.to_string()))?;
    file.flush()?;
    file.sync_all()?;
    std::fs::rename(fresh, path)
}

/// Reads a whole table from `dir`. A last line without a line end is a row cut short by a crash and is left out.
pub fn read<R: Row>(dir: &Path) -> Result<Vec<R>, ReadError> {
    read_where(dir, |_| true)
}

/// As [`read`], the rows that `keeps` takes alone: of a large table, memory holds no more than those.
pub fn read_where<R: Row>(dir: &Path, keeps: impl Fn(&R) -> bool) -> Result<Vec<R>, ReadError> {
    let path = dir.join(R::FILE);
    let text = std::fs::read(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
    let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
    let mut reader = csv::ReaderBuilder::new().from_reader(&text[..whole]);
    let headers = reader.headers().map_err(|e| malformed(&path, &e, None))?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| malformed(&path, &e, None))?;
        let row: R = record.deserialize(Some(&headers)).map_err(|e| malformed(&path, &e, Some(&headers)))?;
        if let Some(found) = row.schema().filter(|v| !crate::is_readable(v)) {
            return Err(ReadError::Schema { path, found: found.to_owned() });
        }
        if keeps(&row) {
            rows.push(row);
        }
    }
    Ok(rows)
}

fn malformed(path: &Path, error: &csv::Error, headers: Option<&csv::StringRecord>) -> ReadError {
    let line = error.position().map_or(1, csv::Position::line);
    let (column, message) = match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => {
            let field = err.field().and_then(|i| headers?.get(i as usize)).map(str::to_owned);
            (field, err.kind().to_string())
        }
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            (None, format!("{len} cells where the header has {expected_len}"))
        }
        _ => (None, error.to_string()),
    };
    ReadError::Malformed { path: path.to_owned(), line, column, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Status;

    fn row() -> ErrorRow {
        ErrorRow {
            side: "agent-0".into(),
            kind: "with, comma \"quoted\"".into(),
            code: 99,
            count: 36,
            ..Default::default()
        }
    }

    #[test]
    fn rows_read_back_as_written_and_a_table_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let mut w = Writer::create(dir.path()).unwrap();
        w.write(&row()).unwrap();
        assert_eq!(read::<ErrorRow>(dir.path()).unwrap(), [row()]);
        assert!(Writer::<ErrorRow>::create(dir.path()).is_err());
    }

    #[test]
    fn absent_is_empty_and_zero_is_zero() {
        let dir = tempfile::tempdir().unwrap();
        let point = PointRow {
            schema: crate::SCHEMA_VERSION.into(),
            status: Status::Ok,
            dropped: Some(0),
            ..Default::default()
        };
        replace(dir.path(), std::slice::from_ref(&point)).unwrap();
        assert_eq!(read::<PointRow>(dir.path()).unwrap(), [point]);
    }

    #[test]
    fn crlf_appended_columns_and_a_cut_last_line_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let text = "point,repetition,side,kind,code,count,new\r\n1,0,server,a,0,2,x\r\n1,0,server,b,0";
        std::fs::write(dir.path().join("errors.csv"), text).unwrap();
        let rows = read::<ErrorRow>(dir.path()).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].point, rows[0].count), (1, 2));
    }

    #[test]
    fn a_table_goes_on_where_it_was_cut_without_the_rows_of_what_is_done_again() {
        let dir = tempfile::tempdir().unwrap();
        let of = |point, kind: &str| ErrorRow { point, kind: kind.to_owned(), ..row() };
        let mut table = Writer::create(dir.path()).unwrap();
        table.write_all(&[of(0, "kept"), of(1, "cut, and done again")]).unwrap();
        let path = dir.path().join(ErrorRow::FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}1,0,agent")).unwrap();
        let mut table = Writer::resume(dir.path(), |repetition| repetition == (0, 0)).unwrap();
        table.write(&of(1, "new")).unwrap();
        assert_eq!(read::<ErrorRow>(dir.path()).unwrap(), [of(0, "kept"), of(1, "new")]);

        let empty = tempfile::tempdir().unwrap();
        Writer::resume(empty.path(), |_| true).unwrap().write(&row()).unwrap();
        assert_eq!(read::<ErrorRow>(empty.path()).unwrap(), [row()]);
    }

    #[test]
    fn an_error_names_file_line_and_column() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("errors.csv"),
            "point,repetition,side,kind,code,count\n1,0,s,k,0,1\n1,0,s,k,0,many\n",
        )
        .unwrap();
        let message = read::<ErrorRow>(dir.path()).unwrap_err().to_string();
        assert!(message.contains("errors.csv, line 3, column count"), "{message}");
    }

    #[test]
    fn another_major_schema_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        replace(dir.path(), &[PointRow { schema: "2.0".into(), ..Default::default() }]).unwrap();
        let message = read::<PointRow>(dir.path()).unwrap_err().to_string();
        assert!(message.contains("schema 2.0"), "{message}");
        assert!(crate::is_readable("1.7"));
    }
}
