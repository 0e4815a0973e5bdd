//! Reading a CSV file: numbers, one sample a row, the label in the first or the last column.

use std::path::Path;

use anyhow::{bail, Context, Result};
use csv::ByteRecord;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::settings::LabelColumn;
use crate::source_file::read_source;

/// A file's numbers, in the order of its rows.
#[derive(Debug)]
pub struct RawSamples {
    /// Row by row, without the labels.
    pub features: Vec<f64>,
    pub labels: Vec<i64>,
    /// SHA-256 of the file's bytes, decompressed.
    pub hash: [u8; 32],
}

/// Reads all rows, which must have `features` columns beside the label. The name decides about compression.
pub fn read_csv(file: &Path, label_column: LabelColumn, features: usize) -> Result<RawSamples> {
    let text = read_source(file)?;
    parse(&text, label_column, features)
        .with_context(|| format!("{} is not usable", file.display()))
}

fn parse(text: &[u8], label_column: LabelColumn, features: usize) -> Result<RawSamples> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text);
    let records: Vec<ByteRecord> = reader.byte_records().collect::<Result<_, _>>()?;
    if records.is_empty() {
        bail!("there is no row in it");
    }
    if u32::try_from(records.len()).is_err() {
        bail!("{} rows are more than 2^32 - 1", records.len());
    }
    // Joined in order afterwards: of several wrong rows, it is always the first that is told.
    let parsed: Vec<Result<(Vec<f64>, i64)>> = records
        .par_iter()
        .enumerate()
        .map(|(row, record)| {
            parse_row(record, label_column, features).with_context(|| format!("row {}", row + 1))
        })
        .collect();
    let rows: Vec<(Vec<f64>, i64)> = parsed.into_iter().collect::<Result<_>>()?;
    let labels = rows.iter().map(|(_, label)| *label).collect();
    let features = rows.into_iter().flat_map(|(values, _)| values).collect();
    Ok(RawSamples {
        features,
        labels,
        hash: Sha256::digest(text).into(),
    })
}

fn parse_row(
    record: &ByteRecord,
    label_column: LabelColumn,
    features: usize,
) -> Result<(Vec<f64>, i64)> {
    if record.len() != features + 1 {
        bail!(
            "it has {} columns; --feature-shape and the label make {}",
            record.len(),
            features + 1
        );
    }
    let (label_at, first) = match label_column {
        LabelColumn::First => (0, 1),
        LabelColumn::Last => (features, 0),
    };
    let number = |column: usize| -> Result<f64> {
        let text = String::from_utf8_lossy(&record[column]);
        match text.trim().parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => bail!("column {}: {:?} is not a finite number", column + 1, text),
        }
    };
    let label = number(label_at)?;
    // Beyond 2^53 a float64 does not hold every integer.
    if label.fract() != 0.0 || !(0.0..=9e15).contains(&label) {
        bail!(
            "column {}: the label {label} is not an integer of at least 0",
            label_at + 1
        );
    }
    let values = (first..first + features)
        .map(number)
        .collect::<Result<_>>()?;
    Ok((values, label as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_is_first_or_last() {
        let last = parse(b"1,2.5,7\n-3, 4e1 ,0\n", LabelColumn::Last, 2).expect("valid");
        assert_eq!(
            (last.features, last.labels),
            (vec![1.0, 2.5, -3.0, 40.0], vec![7, 0])
        );
        let first = parse(b"1,2.5,7\n", LabelColumn::First, 2).expect("valid");
        assert_eq!((first.features, first.labels), (vec![2.5, 7.0], vec![1]));
    }

    #[test]
    fn what_is_wrong_is_named_with_row_and_column() {
        for (text, reason) in [
            ("", "no row"),
            (
                "1,2,3\n1,2\n",
                "row 2: it has 2 columns; --feature-shape and the label make 3",
            ),
            ("1,x,3\n", "row 1: column 2: \"x\" is not a finite number"),
            ("1,2,0\n1,inf,0\n", "row 2: column 2: \"inf\""),
            ("1,2,0.5\n", "row 1: column 3: the label 0.5"),
            ("1,2,-1\n", "row 1: column 3: the label -1"),
        ] {
            let error = parse(text.as_bytes(), LabelColumn::Last, 2).expect_err("refused");
            assert!(format!("{error:#}").contains(reason), "{text:?}: {error:#}");
        }
    }

    /// Rows are parsed in parallel; which error is told must not depend on who is fastest.
    #[test]
    fn the_first_wrong_row_is_named() {
        let rows = (0..20_000).map(|row| {
            if row % 5000 == 4321 {
                "x,2,0\n"
            } else {
                "1,2,0\n"
            }
        });
        let text: String = rows.collect();
        for _ in 0..20 {
            let error = parse(text.as_bytes(), LabelColumn::Last, 2).expect_err("refused");
            assert!(format!("{error:#}").contains("row 4322"), "{error:#}");
        }
    }

    #[test]
    fn an_unusable_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("empty.csv");
        std::fs::write(&file, "").expect("written");
        let error = read_csv(&file, LabelColumn::Last, 2).expect_err("refused");
        assert!(format!("{error:#}").contains("empty.csv is not usable: there is no row in it"));
    }
}
