//! What the bytes of a data file mean: the grammar of a dataset spec, and one module a format.
//!
//! Not responsible for: where the bytes come from (storage), the split and the preprocessing
//! (dataset), the command line (process).
//!
//! To add a format, write a module like `text.rs` and name its `FORMAT` in `open.rs`.

mod csv;
mod format;
mod open;
mod options;
mod spec;
mod text;

pub use open::{open, open_file, read_file, SourceError};
pub use spec::{Spec, SpecError};
