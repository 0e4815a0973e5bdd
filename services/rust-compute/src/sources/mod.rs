//! What the bytes of a file mean: one module a format, and what a CSV file consists of.
//! Not responsible for: where the bytes come from (storage), how samples are preprocessed (dataset).

mod cells;
mod csv;
mod dialect;
mod format;
mod header;
mod labels;
mod rows;
mod text;

pub use csv::{read_csv, Table};
pub use format::{Format, LabelColumn, Separator};
pub use text::{read_text, RawText};

#[cfg(test)]
pub use text::tokenise;
