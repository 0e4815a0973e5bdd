//! Small datasets for the tests of every room.
#![expect(
    clippy::expect_used,
    reason = "a test fails where something unexpected happens"
)]

use rust_compute_dataset::{Column, Columns, Dataset, Elements, Features, Names, Normalise};

/// Columns of a table, from its features row by row and one label a row.
pub fn table(
    values: Vec<f64>,
    labels: Vec<i64>,
    hash: [u8; 32],
    shape: &[u64],
    normalise: Normalise,
) -> Columns {
    let classes = labels.iter().max().map_or(1, |largest| *largest as u32 + 1);
    let rows = labels.len();
    Columns {
        features: Features::Numbers {
            values,
            shape: shape.to_vec(),
            normalise,
        },
        labels: Column::new(Elements::Int64(labels.into()), 0, rows, &[]).expect("one a row"),
        classes,
        names: Names::default(),
        hash,
    }
}

/// The values of `raw`.
pub fn raw_values(rows: usize) -> Vec<f64> {
    (0..rows * 4).map(|i| ((i * 7919) % 101) as f64).collect()
}

/// Rows of 4 features and one of 3 labels.
pub fn raw(rows: usize, shape: &[u64], normalise: Normalise) -> Columns {
    let labels = (0..rows).map(|i| (i % 3) as i64).collect();
    table(raw_values(rows), labels, [rows as u8; 32], shape, normalise)
}

/// Rows so wide that their labels are negligible.
pub fn wide(rows: usize, features: usize) -> Dataset {
    let values = (0..rows * features).map(|i| (i % 5) as f64).collect();
    let shape = [features as u64];
    let columns = table(values, vec![0; rows], [1; 32], &shape, Normalise::All);
    Dataset::new("wide", columns, 0.0).expect("valid")
}

/// 16 training samples and 4 held out, of shape [2, 2].
pub fn small() -> Dataset {
    Dataset::new("small", raw(20, &[2, 2], Normalise::Columns), 0.2).expect("valid")
}
