//! A small dataset for tests.

use crate::csv_file::RawSamples;
use crate::dataset::Dataset;
use crate::text_file::{tokenise, RawText};

/// Rows of 4 features and one of 3 labels.
pub fn raw(rows: usize) -> RawSamples {
    RawSamples {
        features: (0..rows * 4).map(|i| ((i * 7919) % 101) as f64).collect(),
        labels: (0..rows).map(|i| (i % 3) as i64).collect(),
        hash: [rows as u8; 32],
    }
}

/// 16 training samples and 4 held out, of shape [2, 2].
pub fn small() -> Dataset {
    Dataset::from_rows("small", raw(20), &[2, 2], 0.2).expect("valid")
}

/// A text in memory, as `read_text` gives it.
pub fn text(bytes: &[u8]) -> RawText {
    tokenise(bytes, 1).expect("two bytes or more")
}
