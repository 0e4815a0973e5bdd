//! The lines above the samples of a CSV file: comments, and the names of the columns.

use pangea_wire::schema::MAX_COLUMN_NAME_BYTES;

use super::cells::{bare, cut, number};
use super::dialect::reads_as_sample;
use super::error::CsvError;
use super::layout::Layout;
use super::rows::Row;

/// What people write for a missing value; it does not count as the name of a column.
const MISSING: [&[u8]; 7] = [b"", b"?", b"-", b"NA", b"N/A", b"null", b"None"];
/// A first row 0,1,2,... with at least this many columns is more likely a header without names.
const SUSPICIOUS_COLUMNS: usize = 4;

#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Rows before the first sample.
    pub skip: usize,
    /// Of the feature columns; empty without a header.
    pub names: Vec<String>,
}

/// Examines the first rows of a file whose rows must have `columns` cells.
pub fn detect(rows: &[Row<'_>], layout: &Layout, columns: usize) -> Result<Header, CsvError> {
    let comments = rows
        .iter()
        .take_while(|row| is_comment(**row) && !reads_as_sample(**row, layout, columns))
        .count();
    let mut header = Header {
        skip: comments,
        names: Vec::new(),
    };
    let Some(first) = rows.get(comments) else {
        return Ok(header);
    };
    let present = match layout.header {
        Some(present) => present,
        None => holds_names(*first, rows.get(comments + 1), layout, columns)?,
    };
    if present {
        if first.len() != columns {
            return Err(CsvError::HeaderWidth {
                line: first.line,
                found: first.len(),
                wanted: columns,
            });
        }
        header.skip += 1;
        let label_at = layout.label_at(columns);
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
    cut(&text, MAX_COLUMN_NAME_BYTES as usize).to_owned()
}

/// Whether the first row holds names: it has no number, and the next row could be a sample. A row
/// with some numbers is a faulty sample, which must not be skipped silently.
fn holds_names(
    first: Row<'_>,
    second: Option<&Row<'_>>,
    layout: &Layout,
    columns: usize,
) -> Result<bool, CsvError> {
    let sample_follows = second.is_none_or(|row| reads_as_sample(*row, layout, columns));
    let named = first.cells().any(|cell| !MISSING.contains(&bare(cell)));
    if first.cells().all(|cell| number(cell).is_none()) {
        return Ok(named && sample_follows);
    }
    let Some(second) = second.filter(|_| first.len() == columns && sample_follows) else {
        return Ok(false);
    };
    let label_at = layout.label_at(columns);
    let label = |row: &Row<'_>| number(row.cell(label_at));
    if label(&first).is_none() && label(second).is_some() {
        // The columns are named by numbers, and the label by text.
        return Ok(reads_as_sample(first, layout, columns));
    }
    let counted = (0..columns).all(|index| number(first.cell(index)) == Some(index as f64));
    if counted && columns >= SUSPICIOUS_COLUMNS {
        return Err(CsvError::CountingHeader { line: first.line });
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::layout::{LabelColumn, Separator};
    use crate::csv::rows::{Block, Rows};
    use crate::csv::tests::DETECTED;

    fn header(text: &str, layout: &Layout) -> Result<(usize, String), CsvError> {
        let mut rows = Rows::new(text.as_bytes(), Separator::Comma, b'\n');
        let mut block = Block::default();
        while rows.read_row(&mut block)? {}
        let rows: Vec<Row<'_>> = (0..block.len()).map(|index| block.row(index)).collect();
        let found = detect(&rows, layout, 3)?;
        Ok((found.skip, found.names.join("|")))
    }

    #[test]
    fn names_above_numbers_are_detected() {
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
            // These are faulty samples.
            ("1,x,0\n1,2,0\n", 0, ""),
            ("x,y,0\n1,2,0\n", 0, ""),
            ("?,NA,\n1,2,0\n", 0, ""),
            ("a,b,kind\nx,y,z\n", 0, ""),
        ] {
            let found = header(text, &DETECTED).expect("valid");
            assert_eq!(found, (skip, names.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn an_explicit_header_is_not_guessed() {
        let explicit = |header| Layout {
            header: Some(header),
            label_column: LabelColumn::First,
            ..DETECTED
        };
        let yes = header("kind,1,2\n0,1,2\n", &explicit(true)).expect("valid");
        assert_eq!(yes, (1, "1|2".to_owned()));
        let no = header("kind,a,b\n0,1,2\n", &explicit(false)).expect("valid");
        assert_eq!(no, (0, String::new()));
        // A class may be called #1.
        let first = Layout {
            label_column: LabelColumn::First,
            ..DETECTED
        };
        assert_eq!(header("#1,1,2\n#2,3,4\n", &first).expect("valid").0, 0);
    }

    #[test]
    fn a_possible_header_must_be_declared() {
        let four = |text: &str| {
            let mut rows = Rows::new(text.as_bytes(), Separator::Comma, b'\n');
            let mut block = Block::default();
            while rows.read_row(&mut block).expect("valid") {}
            detect(&[block.row(0), block.row(1)], &DETECTED, 4)
        };
        let error = four("0,1,2,3\n5,6,7,0\n").expect_err("refused");
        assert!(error.to_string().contains("header=yes"), "{error}");
        assert_eq!(four("0,1,2,4\n5,6,7,0\n").expect("valid").skip, 0);
        let error = header("a,b,c,d\n1,2,0\n", &DETECTED).expect_err("refused");
        let wanted = "line 1: the header has 4 columns; shape and label make 3";
        assert_eq!(error.to_string(), wanted);
    }

    #[test]
    fn a_long_name_is_cut() {
        let text = format!("{},b,kind\n1,2,0\n", "ä".repeat(200));
        let (_, names) = header(&text, &DETECTED).expect("valid");
        assert_eq!(names, format!("{}|b", "ä".repeat(128)));
    }
}
