//! A dataset in memory: its columns, its held-out split, and features with mean 0 and deviation 1.
//!
//! Not responsible for: where the columns come from (sources), which batches are made of them
//! (serving).

mod column;
mod columns;
mod dataset;
mod error;
mod standardise;

pub use column::{row_elements, Column, Elements, MAX_ROW_ELEMENTS};
pub use columns::{Columns, Features, Names};
pub use dataset::{Dataset, Meaning, Prepared, TableColumn};
pub use error::{ColumnError, DatasetError};
pub use standardise::{Normalise, Scale};
