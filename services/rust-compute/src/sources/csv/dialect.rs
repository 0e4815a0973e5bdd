//! Detects from its beginning how a CSV file is written: encoding, separator, line ends, header.

use std::io::{Read, Result as IoResult};

use super::cells::{bare, number};
use super::error::CsvError;
use super::header;
use super::layout::{Layout, Separator};
use super::rows::{Block, Row, Rows};
use crate::options::Choice;

/// Minimum length of the beginning that is examined, in bytes and in lines, unless the file is
/// shorter.
const SAMPLE_BYTES: usize = 1 << 16;
const SAMPLE_LINES: usize = 8;
/// Bytes after which the beginning is long enough, however few lines it has: a longer row could not
/// be read anyway.
const MAX_SAMPLE_BYTES: usize = 64 << 20;
/// Most rows of the beginning that are examined.
const SAMPLE_ROWS: usize = 32;

#[derive(Debug, PartialEq, Eq)]
pub struct Dialect {
    pub separator: Separator,
    /// The byte that ends a line, as lines are counted.
    pub newline: u8,
    /// Rows before the first sample: comments and the header.
    pub skip: usize,
    /// Of the feature columns; empty without a header.
    pub names: Vec<String>,
}

/// Reads enough of a stream for `detect`. The flag says whether that was all of it.
pub fn beginning(stream: &mut dyn Read) -> IoResult<(Vec<u8>, bool)> {
    let mut sample = Vec::new();
    loop {
        // Doubled each time, so that long rows are not examined repeatedly.
        let step = sample.len().max(SAMPLE_BYTES);
        let read = stream.take(step as u64).read_to_end(&mut sample)?;
        if read < step {
            return Ok((sample, true));
        }
        let newline = newline_of(&sample);
        let lines = sample
            .split(|byte| *byte == newline)
            .filter(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#"));
        // The last line may be incomplete.
        if lines.count() > SAMPLE_LINES || sample.len() > MAX_SAMPLE_BYTES {
            return Ok((sample, false));
        }
    }
}

/// Detects what the layout leaves open. `columns` is the number of cells that a row must have.
pub fn detect(
    (sample, whole): (&[u8], bool),
    layout: &Layout,
    columns: usize,
) -> Result<Dialect, CsvError> {
    check_encoding(sample)?;
    let newline = newline_of(sample);
    let sample = if whole {
        sample
    } else {
        let end = sample.iter().rposition(|byte| *byte == newline);
        &sample[..end.unwrap_or(sample.len())]
    };
    let separator = separator_of(sample, newline, layout, columns)?;
    let block = first_rows(sample, separator, newline)?;
    let rows: Vec<Row<'_>> = (0..block.len()).map(|index| block.row(index)).collect();
    let header = header::detect(&rows, layout, columns)?;
    Ok(Dialect {
        separator,
        newline,
        skip: header.skip,
        names: header.names,
    })
}

/// Whether a row could be a sample: numbers, and a label, which may be text.
pub fn reads_as_sample(row: Row<'_>, layout: &Layout, columns: usize) -> bool {
    if row.len() != columns {
        return false;
    }
    let label_at = layout.label_at(columns);
    let features_are_numbers = (0..columns)
        .filter(|index| *index != label_at)
        .all(|index| number(row.cell(index)).is_some());
    let label = bare(row.cell(label_at));
    // With the wrong separator, several cells look like one.
    let foreign = |byte: &u8| matches!(byte, b'\t' | b';' | b'|' | b',');
    features_are_numbers && (number(label).is_some() || !label.iter().any(foreign))
}

/// Old Macs ended lines with \r alone, which is the line end of a file without any \n.
fn newline_of(sample: &[u8]) -> u8 {
    if sample.contains(&b'\n') {
        b'\n'
    } else {
        b'\r'
    }
}

fn check_encoding(sample: &[u8]) -> Result<(), CsvError> {
    if sample.starts_with(b"\xff\xfe") || sample.starts_with(b"\xfe\xff") {
        return Err(CsvError::Utf16);
    }
    if let Some(place) = sample.iter().position(|byte| *byte == 0) {
        let newline = newline_of(&sample[..place]);
        let lines_before = sample[..place].iter().filter(|byte| **byte == newline);
        return Err(CsvError::ZeroByte {
            line: lines_before.count() + 1,
        });
    }
    Ok(())
}

fn first_rows(sample: &[u8], separator: Separator, newline: u8) -> Result<Block, CsvError> {
    let mut rows = Rows::new(sample, separator, newline);
    let mut block = Block::default();
    while block.len() < SAMPLE_ROWS && rows.read_row(&mut block)? {}
    Ok(block)
}

/// How well a separator fits. More is better; the fields are compared in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// Rows that could be samples.
    samples: usize,
    /// Rows with the right number of columns.
    right: usize,
    /// Whether the first row contains it.
    present: bool,
}

fn fit(sample: &[u8], separator: Separator, newline: u8, layout: &Layout, columns: usize) -> Fit {
    // A row that cannot be read does not fit the separator.
    let block = first_rows(sample, separator, newline).unwrap_or_default();
    let rows = || (0..block.len()).map(|index| block.row(index));
    Fit {
        samples: rows()
            .filter(|row| reads_as_sample(*row, layout, columns))
            .count(),
        right: rows().filter(|row| row.len() == columns).count(),
        present: rows().next().is_some_and(|row| row.len() > 1),
    }
}

fn separator_of(
    sample: &[u8],
    newline: u8,
    layout: &Layout,
    columns: usize,
) -> Result<Separator, CsvError> {
    let fit = |separator| fit(sample, separator, newline, layout, columns);
    let (mut best, mut best_fit) = (Separator::Comma, Fit::default());
    for (_, separator) in Separator::VALUES {
        let fit = fit(*separator);
        // The first of equally good ones wins.
        if fit > best_fit {
            (best, best_fit) = (*separator, fit);
        }
    }
    match layout.separator {
        None => Ok(best),
        Some(given) if fit(given).samples == 0 && best_fit.samples > 0 => {
            Err(CsvError::Separator { found: best, given })
        }
        Some(given) => Ok(given),
    }
}

#[cfg(test)]
#[path = "dialect_test.rs"]
mod tests;
