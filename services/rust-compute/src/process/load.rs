//! From a dataset spec to the dataset in memory.

use anyhow::{Context, Result};
use rust_compute_dataset::Dataset;
use rust_compute_reading::{read, Task};
use rust_compute_sources::Spec;

/// Has a child process read and preprocess what the spec names.
pub fn load(spec: &Spec, task: &Task) -> Result<Dataset> {
    let (prepared, confined) = read(task)?;
    if !confined {
        tracing::warn!(
            "the data was read by a process that could open other files: this system has no Landlock; \
                take data from sources that you trust"
        );
    }
    Dataset::of(&spec.name(), prepared, spec.held_out())
        .with_context(|| format!("{} is not usable", spec.file().display()))
}
