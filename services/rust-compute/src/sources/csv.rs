//! Reads a CSV file as a stream: numbers, one sample a row, the label in the first or last column.

mod cells;
mod dialect;
mod header;
mod labels;
mod layout;
mod rows;

pub use layout::{Format, LabelColumn, Separator};

use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{anyhow, bail, Context, Result};
use rayon::prelude::*;

use crate::sources::csv::cells::{bare, columns, cut, finite, number, shown};
use crate::sources::csv::dialect::{beginning, recognise, Dialect};
use crate::sources::csv::header::is_comment;
use crate::sources::csv::labels::{Label, Labels};
use crate::sources::csv::rows::{Block, Row, Rows};
use crate::storage::Source;

/// Longest part of a column's name that an error shows.
const SHOWN_NAME: usize = 60;

/// The numbers of a file, in the order of its rows.
#[derive(Debug, Default)]
pub struct Table {
    /// Row by row, without the labels.
    pub features: Vec<f64>,
    pub labels: Vec<i64>,
    /// Of the feature columns; empty without a header.
    pub column_names: Vec<String>,
    /// What stands for class 0, 1, ... in the file; empty where labels are numbers.
    pub class_names: Vec<String>,
    /// SHA-256 of the file's bytes, unpacked.
    pub hash: [u8; 32],
}

/// Reads all rows of a file, which must have `features` columns beside the label; `most` bounds
/// its unpacked bytes.
pub fn read_csv(file: &Path, format: &Format, features: usize, most: u64) -> Result<Table> {
    let mut source = Source::open(file, most)?;
    let table = read(&mut source, format, features)
        .with_context(|| format!("{} is not usable", file.display()))?;
    Ok(Table {
        hash: source.hash(),
        ..table
    })
}

fn read(stream: &mut dyn Read, format: &Format, features: usize) -> Result<Table> {
    let (sample, whole) = beginning(stream)?;
    let dialect = recognise((&sample, whole), format, features + 1)?;
    let stream = Cursor::new(sample).chain(stream);
    let mut rows = Rows::new(stream, dialect.separator, dialect.newline);
    let mut block = Block::default();
    for _ in 0..dialect.skip {
        rows.read_row(&mut block)?;
    }
    let form = Form {
        format,
        columns: features + 1,
        dialect,
    };
    let (mut values, mut labels, mut count) = (Vec::new(), Labels::default(), 0);
    loop {
        rows.read_block(&mut block)?;
        if block.is_empty() {
            break;
        }
        append(&form, &block, count, &mut values, &mut labels)?;
        count += block.len();
        if u32::try_from(count).is_err() {
            bail!("it has more than 2^32 - 1 rows");
        }
    }
    if count == 0 {
        let above = if form.dialect.names.is_empty() {
            ""
        } else {
            " but a header"
        };
        bail!("there is no row in it{above}");
    }
    let (labels, class_names) = labels.into_classes();
    Ok(Table {
        features: values,
        labels,
        column_names: form.dialect.names,
        class_names,
        hash: [0; 32],
    })
}

/// Adds the samples of a block; `before` are there already. Rows are read in parallel, but of
/// several wrong ones, it is always the first that is named.
fn append(
    form: &Form<'_>,
    block: &Block,
    before: usize,
    values: &mut Vec<f64>,
    labels: &mut Labels,
) -> Result<()> {
    let (start, width) = (values.len(), form.columns - 1);
    let added = block.len() * width;
    if values.try_reserve(added).is_err() || !labels.reserve(block.len()) {
        bail!("there is no memory for more than {before} rows; give the data service more, or make the file smaller");
    }
    values.resize(start + added, 0.0);
    let read: Vec<Result<Label<'_>, String>> = values[start..]
        .par_chunks_mut(width)
        .enumerate()
        .map(|(index, features)| form.sample(block.row(index), features, before + index == 0))
        .collect();
    for (index, label) in read.into_iter().enumerate() {
        let added = label.and_then(|label| {
            let wrong = |reason: String| form.at(form.label_at(), &reason);
            labels.push(label).map_err(wrong)
        });
        let (line, row) = (block.row(index).line, before + index + 1);
        added.map_err(|reason| anyhow!("line {line} (row {row}): {reason}"))?;
    }
    Ok(())
}

/// What every row must look like.
struct Form<'f> {
    format: &'f Format,
    columns: usize,
    dialect: Dialect,
}

impl Form<'_> {
    fn label_at(&self) -> usize {
        self.format.label_at(self.columns)
    }

    /// Reads one row: its features into `features`, its label as the result.
    fn sample<'b>(
        &self,
        row: Row<'b>,
        features: &mut [f64],
        first: bool,
    ) -> Result<Label<'b>, String> {
        if row.len() != self.columns {
            return Err(self.wrong_count(row));
        }
        let label_at = self.label_at();
        let places = (0..self.columns).filter(|index| *index != label_at);
        for (feature, index) in features.iter_mut().zip(places) {
            let cell = row.cell(index);
            *feature = finite(cell)
                .map_err(|reason| self.at(index, &reason) + self.hint(row, cell, first))?;
        }
        Label::read(row.cell(label_at)).map_err(|reason| self.at(label_at, &reason))
    }

    fn wrong_count(&self, row: Row<'_>) -> String {
        let hint = if is_comment(row) {
            "; comments are possible above the first row only"
        } else {
            ""
        };
        format!(
            "it has {}, separated by {}, the first of them {}; shape and label make {}{hint}",
            columns(row.len()),
            self.dialect.separator.name(),
            shown(row.cell(0)),
            self.columns
        )
    }

    /// What else may be the matter with a cell that should be a number.
    fn hint(&self, row: Row<'_>, cell: &[u8], first: bool) -> &'static str {
        let is_text = number(cell).is_none() && !bare(cell).is_empty();
        if is_text && is_comment(row) {
            "; comments are possible above the first row only"
        } else if is_text && first && self.format.header.is_none() {
            "; if the row holds the names of the columns, say header=yes"
        } else if is_text {
            "; features must be numbers, so number the values of such a column first"
        } else {
            ""
        }
    }

    /// A reason behind the column that it is about, with its name if there is one.
    fn at(&self, index: usize, reason: &str) -> String {
        let label_at = self.label_at();
        let feature = if index > label_at { index - 1 } else { index };
        let name = match self.dialect.names.get(feature) {
            Some(name) if index != label_at => format!(" ({})", cut(name, SHOWN_NAME)),
            _ => String::new(),
        };
        format!("column {}{name}: {reason}", index + 1)
    }
}

#[cfg(test)]
#[path = "csv_test.rs"]
mod tests;
