//! What the bytes of a file mean: one module a format, and what a CSV file consists of.
//! Not responsible for: where the bytes come from (storage), how samples are preprocessed (dataset).

mod csv;
mod text;

pub use csv::{read_csv, Format, LabelColumn, Separator, Table};
pub use text::{read_text, RawText};

#[cfg(test)]
pub use text::tokenise;
