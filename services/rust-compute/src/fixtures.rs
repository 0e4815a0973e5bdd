//! A small dataset for tests.

use sha2::{Digest, Sha256};

use crate::dataset::{Dataset, Normalise};
use crate::sources::{tokenise, Format, LabelColumn, RawText, Table};

/// A CSV file of which nothing is said.
pub const NOTICED: Format = Format {
    label_column: LabelColumn::Last,
    separator: None,
    header: None,
};

/// Rows of 4 features and one of 3 labels.
pub fn raw(rows: usize) -> Table {
    Table {
        features: (0..rows * 4).map(|i| ((i * 7919) % 101) as f64).collect(),
        labels: (0..rows).map(|i| (i % 3) as i64).collect(),
        hash: [rows as u8; 32],
        ..Table::default()
    }
}

/// Rows of so many features that one label each is nothing beside them.
pub fn wide(rows: usize, features: usize) -> Dataset {
    let table = Table {
        features: (0..rows * features).map(|i| (i % 5) as f64).collect(),
        labels: vec![0; rows],
        hash: [1; 32],
        ..Table::default()
    };
    Dataset::from_rows("wide", table, &[features as u64], Normalise::All, 0.0).expect("valid")
}

/// 16 training samples and 4 held out, of shape [2, 2].
pub fn small() -> Dataset {
    Dataset::from_rows("small", raw(20), &[2, 2], Normalise::Columns, 0.2).expect("valid")
}

/// A text in memory, as `read_text` gives it.
pub fn text(bytes: &[u8]) -> RawText {
    tokenise(bytes, Sha256::digest(bytes).into(), 1).expect("two bytes or more")
}
