//! What stands above the samples of a CSV file: comments, and the names of the columns.

use anyhow::{bail, Result};

use crate::sources::csv::cells::{self, bare, cut, number};
use crate::sources::csv::dialect::reads_as_sample;
use crate::sources::csv::layout::Format;
use crate::sources::csv::rows::Row;

/// Longest name that the schema can describe.
const MAX_NAME_BYTES: usize = 256;
/// What people write where a value is missing: no name of a column.
const MISSING: [&[u8]; 7] = [b"", b"?", b"-", b"NA", b"N/A", b"null", b"None"];
/// From so many columns on, a first row 0,1,2,... is more likely a header without names.
const SUSPICIOUS_COLUMNS: usize = 4;

#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Rows before the first sample.
    pub skip: usize,
    /// Of the feature columns; empty without a header.
    pub names: Vec<String>,
}

/// Looks at the first rows of a file whose rows must have `columns` cells.
pub fn recognise(rows: &[Row<'_>], format: &Format, columns: usize) -> Result<Header> {
    let comments = rows
        .iter()
        .take_while(|row| is_comment(**row) && !reads_as_sample(**row, format, columns))
        .count();
    let mut header = Header {
        skip: comments,
        names: Vec::new(),
    };
    let Some(first) = rows.get(comments) else {
        return Ok(header);
    };
    let present = match format.header {
        Some(present) => present,
        None => holds_names(*first, rows.get(comments + 1), format, columns)?,
    };
    if present {
        if first.len() != columns {
            bail!(
                "line {}: the header has {}; shape and label make {columns}",
                first.line,
                cells::columns(first.len())
            );
        }
        header.skip += 1;
        let label_at = format.label_at(columns);
        header.names = (0..columns)
            .filter(|index| *index != label_at)
            .map(|index| name(first.cell(index)))
            .collect();
    }
    Ok(header)
}

pub fn is_comment(row: Row<'_>) -> bool {
    row.cells()
        .next()
        .is_some_and(|cell| cell.starts_with(b"#"))
}

fn name(cell: &[u8]) -> String {
    let text = String::from_utf8_lossy(bare(cell));
    cut(&text, MAX_NAME_BYTES).to_owned()
}

/// Whether the first row holds names: it has no number, but the next one could be a sample. A row
/// with some numbers is a sample with a fault, which must not be skipped in silence.
fn holds_names(
    first: Row<'_>,
    second: Option<&Row<'_>>,
    format: &Format,
    columns: usize,
) -> Result<bool> {
    let sample_follows = second.is_none_or(|row| reads_as_sample(*row, format, columns));
    let named = first.cells().any(|cell| !MISSING.contains(&bare(cell)));
    if first.cells().all(|cell| number(cell).is_none()) {
        return Ok(named && sample_follows);
    }
    let Some(second) = second.filter(|_| first.len() == columns && sample_follows) else {
        return Ok(false);
    };
    let label_at = format.label_at(columns);
    let label = |row: &Row<'_>| number(row.cell(label_at));
    if label(&first).is_none() && label(second).is_some() {
        // Numbers as names, and a name for the label.
        return Ok(reads_as_sample(first, format, columns));
    }
    let counted = (0..columns).all(|index| number(first.cell(index)) == Some(index as f64));
    if counted && columns >= SUSPICIOUS_COLUMNS {
        bail!("line {}: it counts the columns (0,1,2,...): is it a header that pandas wrote? Say header=yes, or header=no if it is a sample", first.line);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::NOTICED;
    use crate::sources::csv::layout::{LabelColumn, Separator};
    use crate::sources::csv::rows::{Block, Rows};

    fn header(text: &str, format: &Format) -> Result<(usize, String)> {
        let mut rows = Rows::new(text.as_bytes(), Separator::Comma, b'\n');
        let mut block = Block::default();
        while rows.read_row(&mut block)? {}
        let rows: Vec<Row<'_>> = (0..block.len()).map(|index| block.row(index)).collect();
        let found = recognise(&rows, format, 3)?;
        Ok((found.skip, found.names.join("|")))
    }

    #[test]
    fn names_are_noticed_above_numbers() {
        for (text, skip, names) in [
            ("a,b,kind\n1,2,0\n", 1, "a|b"),
            ("\"a\nb\", c ,kind\n1,2,cat\n", 1, "a\nb|c"),
            (",b,kind\n1,2,0\n", 1, "|b"),
            ("a,b,kind\n", 1, "a|b"),
            ("# by hand\n#\na,b,kind\n1,2,0\n", 3, "a|b"),
            ("# by hand\n1,2,0\n", 1, ""),
            ("0,1,kind\n1,2,0\n", 1, "0|1"),
            ("1,2,0\n", 0, ""),
            ("1,2,cat\n3,4,dog\n", 0, ""),
            // These are samples with a fault.
            ("1,x,0\n1,2,0\n", 0, ""),
            ("x,y,0\n1,2,0\n", 0, ""),
            ("?,NA,\n1,2,0\n", 0, ""),
            ("a,b,kind\nx,y,z\n", 0, ""),
        ] {
            let found = header(text, &NOTICED).expect("valid");
            assert_eq!(found, (skip, names.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn what_is_said_counts() {
        let said = |header| Format {
            header: Some(header),
            label_column: LabelColumn::First,
            ..NOTICED
        };
        let yes = header("kind,1,2\n0,1,2\n", &said(true)).expect("valid");
        assert_eq!(yes, (1, "1|2".to_owned()));
        let no = header("kind,a,b\n0,1,2\n", &said(false)).expect("valid");
        assert_eq!(no, (0, String::new()));
        // A class may be called #1.
        let first = Format {
            label_column: LabelColumn::First,
            ..NOTICED
        };
        assert_eq!(header("#1,1,2\n#2,3,4\n", &first).expect("valid").0, 0);
    }

    #[test]
    fn what_may_be_a_header_is_asked_for() {
        let four = |text: &str| {
            let mut rows = Rows::new(text.as_bytes(), Separator::Comma, b'\n');
            let mut block = Block::default();
            while rows.read_row(&mut block).expect("valid") {}
            recognise(&[block.row(0), block.row(1)], &NOTICED, 4)
        };
        let error = four("0,1,2,3\n5,6,7,0\n").expect_err("refused");
        assert!(error.to_string().contains("header=yes"), "{error}");
        assert_eq!(four("0,1,2,4\n5,6,7,0\n").expect("valid").skip, 0);
        let error = header("a,b,c,d\n1,2,0\n", &NOTICED).expect_err("refused");
        let wanted = "line 1: the header has 4 columns; shape and label make 3";
        assert_eq!(error.to_string(), wanted);
    }

    #[test]
    fn a_long_name_is_cut() {
        let text = format!("{},b,kind\n1,2,0\n", "ä".repeat(200));
        let (_, names) = header(&text, &NOTICED).expect("valid");
        assert_eq!(names, format!("{}|b", "ä".repeat(128)));
    }
}
