//! The errors of a CSV file.

use std::io;

use thiserror::Error;

use super::cells::columns;
use super::layout::Separator;
use super::rows::{MAX_CELLS, MAX_ROW_BYTES};
use crate::options::Choice;

/// Why a file is not a usable table. Lines are numbered from 1, as in an editor, and so are rows,
/// without comments and the header.
#[derive(Debug, Error)]
pub enum CsvError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("it is encoded in UTF-16; save it as UTF-8, such as with `iconv -f UTF-16 -t UTF-8`")]
    Utf16,
    #[error(
        "line {line} has a zero byte: it is encoded in UTF-16 or is not text; save it as UTF-8, \
        such as with `iconv -f UTF-16LE -t UTF-8`"
    )]
    ZeroByte { line: usize },
    #[error("its rows are separated by {0}, not by {1}; leave out separator={1}, or say separator={0}", found.name(), given.name())]
    Separator { found: Separator, given: Separator },
    #[error("line {line}: the header has {}; shape and label make {wanted}", columns(*found))]
    HeaderWidth {
        line: u64,
        found: usize,
        wanted: usize,
    },
    #[error(
        "line {line}: it counts the columns (0,1,2,...): is it a header that pandas wrote? Say \
        header=yes, or header=no if it is a sample"
    )]
    CountingHeader { line: u64 },
    #[error("line {line}: the row that begins there is longer than {MAX_ROW_BYTES} bytes or {MAX_CELLS} \
        columns; a quote that is never closed makes the rest of the file one row")]
    EndlessRow { line: u64 },
    #[error("line {line} (row {row}): {reason}")]
    Row {
        line: u64,
        row: usize,
        reason: String,
    },
    #[error("there is no row in it{}", if *header { " but a header" } else { "" })]
    NoRows { header: bool },
    #[error("it has more than 2^32 - 1 rows")]
    TooManyRows,
    #[error("there is not enough memory for more than {rows} rows; give the data service more, or make \
        the file smaller")]
    OutOfMemory { rows: usize },
    #[error("the label {label} is too large for a class")]
    LargeLabel { label: i64 },
}
