//! How a CSV file is written, noticed from its beginning: encoding, separator, line ends, header.

use std::io::{Read, Result as IoResult};

use anyhow::{bail, Result};

use crate::sources::csv::cells::{bare, number};
use crate::sources::csv::layout::{Format, Separator};
use crate::sources::csv::header;
use crate::sources::csv::rows::{Block, Row, Rows};

/// The beginning has at least so many bytes and lines, unless the file has fewer.
const SAMPLE_BYTES: usize = 1 << 16;
const SAMPLE_LINES: usize = 8;
/// A longer beginning is not looked for: a row could not be read then.
const MAX_SAMPLE_BYTES: usize = 64 << 20;
/// Rows that are looked at.
const SAMPLE_ROWS: usize = 32;

#[derive(Debug, PartialEq, Eq)]
pub struct Dialect {
    pub separator: Separator,
    /// The byte that ends a line for those who count lines.
    pub newline: u8,
    /// Rows before the first sample: comments and the header.
    pub skip: usize,
    /// Of the feature columns; empty without a header.
    pub names: Vec<String>,
}

/// Reads enough of a stream for `recognise`. The flag tells whether that was all of it.
pub fn beginning(stream: &mut dyn Read) -> IoResult<(Vec<u8>, bool)> {
    let mut sample = Vec::new();
    loop {
        // Doubled, so that long rows are not looked at again and again.
        let step = sample.len().max(SAMPLE_BYTES);
        let read = stream.take(step as u64).read_to_end(&mut sample)?;
        if read < step {
            return Ok((sample, true));
        }
        let newline = newline_of(&sample);
        let lines = sample
            .split(|byte| *byte == newline)
            .filter(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#"));
        // The last line may be cut.
        if lines.count() > SAMPLE_LINES || sample.len() > MAX_SAMPLE_BYTES {
            return Ok((sample, false));
        }
    }
}

/// What the beginning of a file shows. `columns` is the number of cells that a row must have.
pub fn recognise(
    (sample, whole): (&[u8], bool),
    format: &Format,
    columns: usize,
) -> Result<Dialect> {
    check_encoding(sample)?;
    let newline = newline_of(sample);
    let sample = if whole {
        sample
    } else {
        let end = sample.iter().rposition(|byte| *byte == newline);
        &sample[..end.unwrap_or(sample.len())]
    };
    let separator = separator_of(sample, newline, format, columns)?;
    let block = first_rows(sample, separator, newline)?;
    let rows: Vec<Row<'_>> = (0..block.len()).map(|index| block.row(index)).collect();
    let header = header::recognise(&rows, format, columns)?;
    Ok(Dialect {
        separator,
        newline,
        skip: header.skip,
        names: header.names,
    })
}

/// Whether a row could be a sample: numbers beside its label, which may be a text.
pub fn reads_as_sample(row: Row<'_>, format: &Format, columns: usize) -> bool {
    if row.len() != columns {
        return false;
    }
    let label_at = format.label_at(columns);
    let features_are_numbers = (0..columns)
        .filter(|index| *index != label_at)
        .all(|index| number(row.cell(index)).is_some());
    let label = bare(row.cell(label_at));
    // With another separator, several cells look like one.
    let other = |byte: &u8| matches!(byte, b'\t' | b';' | b'|' | b',');
    features_are_numbers && (number(label).is_some() || !label.iter().any(other))
}

/// Old Macs ended lines with \r alone.
fn newline_of(sample: &[u8]) -> u8 {
    if sample.contains(&b'\n') {
        b'\n'
    } else {
        b'\r'
    }
}

fn check_encoding(sample: &[u8]) -> Result<()> {
    if sample.starts_with(b"\xff\xfe") || sample.starts_with(b"\xfe\xff") {
        bail!("it is encoded in UTF-16; save it as UTF-8, such as with `iconv -f UTF-16 -t UTF-8`");
    }
    if let Some(place) = sample.iter().position(|byte| *byte == 0) {
        let newline = newline_of(&sample[..place]);
        let line = sample[..place].iter().filter(|byte| **byte == newline);
        bail!("line {} has a zero byte: it is encoded in UTF-16 or is no text; save it as UTF-8, such as with `iconv -f UTF-16LE -t UTF-8`", line.count() + 1);
    }
    Ok(())
}

fn first_rows(sample: &[u8], separator: Separator, newline: u8) -> Result<Block> {
    let mut rows = Rows::new(sample, separator, newline);
    let mut block = Block::default();
    while block.len() < SAMPLE_ROWS && rows.read_row(&mut block)? {}
    Ok(block)
}

/// How well a separator fits; more is better, the first figure counts most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// Rows that could be samples.
    samples: usize,
    /// Rows with the right number of columns.
    right: usize,
    /// Whether it is in the first row at all.
    present: bool,
}

fn fit(sample: &[u8], separator: Separator, newline: u8, format: &Format, columns: usize) -> Fit {
    // A row that cannot be read is no row of this separator.
    let block = first_rows(sample, separator, newline).unwrap_or_default();
    let rows = || (0..block.len()).map(|index| block.row(index));
    Fit {
        samples: rows()
            .filter(|row| reads_as_sample(*row, format, columns))
            .count(),
        right: rows().filter(|row| row.len() == columns).count(),
        present: rows().next().is_some_and(|row| row.len() > 1),
    }
}

fn separator_of(sample: &[u8], newline: u8, format: &Format, columns: usize) -> Result<Separator> {
    let fits = Separator::ALL.map(|one| (one, fit(sample, one, newline, format, columns)));
    let mut best = fits[0];
    for other in fits {
        // The first of equally good ones.
        if other.1 > best.1 {
            best = other;
        }
    }
    let Some(given) = format.separator else {
        return Ok(if best.1 == Fit::default() {
            Separator::Comma
        } else {
            best.0
        });
    };
    let of_given = fits.iter().find(|(one, _)| *one == given);
    if of_given.is_some_and(|(_, fit)| fit.samples == 0) && best.1.samples > 0 {
        bail!("its rows are separated by {0}, not by {1}; leave out separator={1}, or say separator={0}", best.0.name(), given.name());
    }
    Ok(given)
}

#[cfg(test)]
#[path = "dialect_test.rs"]
mod tests;
