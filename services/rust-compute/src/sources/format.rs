//! What a format has to provide.

use std::error::Error;
use std::fmt::Debug;

use rust_compute_dataset::Columns;
use rust_compute_storage::DataFile;

use crate::options::{OptionError, Options};

/// A kind of data file, as `open::FORMATS` lists it.
pub struct Format {
    /// What a spec of this format starts with, before the colon.
    pub kind: &'static str,
    /// How a spec of this format is written, for people.
    pub grammar: &'static str,
    /// Share of the samples that is held out unless the spec says otherwise.
    pub held_out: f64,
    /// Takes the options of this format.
    pub reader: fn(&mut Options<'_>) -> Result<Box<dyn Reader>, OptionError>,
}

/// A format with its options.
pub trait Reader: Debug + Send + Sync {
    /// All options with their values, so that the same spec means the same after a default changes.
    /// An option that is left to be detected in the file is not among them.
    fn options(&self) -> Vec<(&'static str, String)>;

    /// Reads a whole file. The error completes the sentence "FILE is not usable: ...".
    fn read(&self, file: DataFile) -> Result<Columns, FormatError>;
}

/// Each format has an error type of its own; nobody treats their errors differently.
pub type FormatError = Box<dyn Error + Send + Sync>;
