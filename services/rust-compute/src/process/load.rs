//! From a dataset spec to the dataset in memory.

use anyhow::{Context, Result};
use rust_compute_dataset::Dataset;
use rust_compute_sources::{open, Spec};
use rust_compute_storage::Storage;

/// Reads and preprocesses what the spec names.
pub fn load(spec: &Spec, storage: &Storage) -> Result<Dataset> {
    let columns = open(spec, storage)?;
    Dataset::new(&spec.name(), columns, spec.held_out())
        .with_context(|| format!("{} is not usable", spec.file().display()))
}
