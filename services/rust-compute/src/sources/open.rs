//! The formats, and how a file is opened as one of them.

use std::path::PathBuf;

use rust_compute_dataset::Columns;
use rust_compute_storage::{DataFile, Storage, StorageError};
use thiserror::Error;

use crate::format::{Format, FormatError};
use crate::spec::Spec;
use crate::{csv, text};

/// Every format, one a line.
pub static FORMATS: [Format; 2] = [
    csv::FORMAT, //
    text::FORMAT,
];

/// Why a dataset cannot be read.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{} is missing: it comes with Pangea; say with --data-dir (PANGEA_DATA_DIR) which folder \
        holds it", file.display())]
    NotInstalled { file: PathBuf },
    #[error("{} is not usable", file.display())]
    Unusable { file: PathBuf, source: FormatError },
}

/// Reads the file that a spec names.
pub fn open(spec: &Spec, storage: &Storage) -> Result<Columns, SourceError> {
    read_file(spec, open_file(spec, storage)?)
}

/// Opens the file that a spec names, of which nothing is read yet but its signature.
pub fn open_file(spec: &Spec, storage: &Storage) -> Result<DataFile, SourceError> {
    if spec.is_shipped() && !spec.file().exists() {
        return Err(SourceError::NotInstalled {
            file: spec.file().to_owned(),
        });
    }
    Ok(storage.open(spec.file())?)
}

/// Reads what `open_file` has opened; opens nothing else.
pub fn read_file(spec: &Spec, file: DataFile) -> Result<Columns, SourceError> {
    spec.reader()
        .read(file)
        .map_err(|source| SourceError::Unusable {
            file: spec.file().to_owned(),
            source,
        })
}
