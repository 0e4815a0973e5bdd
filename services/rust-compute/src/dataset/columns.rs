//! Samples as a source reads them, before the split and the preprocessing.

use crate::column::Column;
use crate::standardise::Normalise;

/// What every format gives. All columns have one row a sample, in the order of the file.
#[derive(Debug)]
pub struct Columns {
    pub features: Features,
    pub labels: Column,
    /// Largest label + 1.
    pub classes: u32,
    pub names: Names,
    /// SHA-256 of the file's bytes, decompressed. The split is a function of it.
    pub hash: [u8; 32],
}

/// Features of all samples, either ready to be served or to be normalised first.
#[derive(Debug)]
pub enum Features {
    /// Served as they are.
    Final(Column),
    /// Numbers, row by row, which `normalise` turns into the float32 that is served.
    Numbers {
        values: Vec<f64>,
        /// Of one sample.
        shape: Vec<u64>,
        normalise: Normalise,
    },
}

/// Names that the file gives; empty where it gives none.
#[derive(Debug, Default)]
pub struct Names {
    /// Of a table: its feature columns.
    pub columns: Vec<String>,
    /// What stands for class 0, 1, ... in the file; empty where labels are numbers.
    pub classes: Vec<String>,
    /// Of a text: the byte that token 0, 1, ... stands for.
    pub vocabulary: Vec<u8>,
}
