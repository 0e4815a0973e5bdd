//! The errors of making a dataset from columns.

use pangea_wire::WireError;
use thiserror::Error;

use crate::column::MAX_ROW_ELEMENTS;

/// Why columns do not make a dataset.
#[derive(Debug, Error)]
pub enum DatasetError {
    #[error("it has more than 2^32 - 1 samples")]
    TooManySamples,
    #[error("it has features of {features} samples and labels of {labels}")]
    Rows { features: usize, labels: usize },
    #[error("none of {samples} samples is left to train on")]
    NothingToTrainOn { samples: u32 },
    #[error(
        "{column} cannot be standardised: its values are too far apart or too close together for \
        float64; scale them first, or say normalise=none"
    )]
    Unscalable { column: String },
    #[error("the training features cannot be normalised: their standard deviation is {deviation}")]
    NoCommonScale { deviation: f64 },
    /// `row` and `feature` count from 1.
    #[error(
        "row {row}: feature {feature}: {value} is too large to be served as float32; scale it \
        first, or say normalise=columns"
    )]
    TooLarge {
        row: usize,
        feature: usize,
        value: f64,
    },
    #[error("there is not enough memory for the features as float32; give the data service more")]
    OutOfMemory,
    #[error(transparent)]
    Column(#[from] ColumnError),
}

/// Why elements and a shape do not make a column.
#[derive(Debug, Error)]
pub enum ColumnError {
    #[error(
        "a sample of shape {shape:?} has {elements} elements; it must have 1 to {MAX_ROW_ELEMENTS}"
    )]
    RowSize { shape: Vec<u64>, elements: u64 },
    #[error("{rows} rows of shape {shape:?} end at byte {end} of {available}")]
    TooFewElements {
        rows: usize,
        shape: Vec<u64>,
        end: usize,
        available: usize,
    },
    #[error(transparent)]
    Shape(#[from] WireError),
}
