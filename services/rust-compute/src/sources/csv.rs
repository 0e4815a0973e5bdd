//! CSV files: numbers, one sample a row, with the label in the first or last column. Read as a
//! stream, in parallel.

mod cells;
mod dialect;
mod error;
mod header;
mod labels;
mod layout;
mod rows;

use std::io::{Cursor, Read};

use rayon::prelude::*;
use rust_compute_dataset::{
    row_elements, Column, Columns, Elements, Features, Names, Normalise, MAX_ROW_ELEMENTS,
};
use rust_compute_storage::DataFile;

use self::cells::{bare, columns, cut, finite, number, shown};
use self::dialect::{beginning, detect, Dialect};
use self::error::CsvError;
use self::header::is_comment;
use self::labels::{Label, Labels};
use self::layout::{LabelColumn, Layout};
use self::rows::{Block, Row, Rows};
use crate::format::{Format, FormatError, Reader};
use crate::options::{integer, Choice, OptionError, Options};

pub const FORMAT: Format = Format {
    kind: "csv",
    grammar: "csv:PATH,shape=1x8x8[,label=last][,normalise=columns][,header=yes][,separator=comma][,held_out=0.2]",
    held_out: 0.2,
    reader: Csv::from_options,
};

/// Longest part of a column's name that an error shows.
const SHOWN_NAME: usize = 60;

/// A table with one sample a row.
#[derive(Debug)]
struct Csv {
    /// Of one sample, without its label.
    shape: Vec<u64>,
    /// Feature columns: the elements of that shape.
    width: usize,
    normalise: Normalise,
    layout: Layout,
}

impl Choice for Normalise {
    const VALUES: &'static [(&'static str, Self)] = &[
        ("columns", Self::Columns),
        ("all", Self::All),
        ("none", Self::None),
    ];
}

impl Csv {
    fn from_options(options: &mut Options<'_>) -> Result<Box<dyn Reader>, OptionError> {
        let expected = format!(
            "that of one sample, such as 1x8x8 for 64 columns besides the label, \
            with 1 to {MAX_ROW_ELEMENTS} elements"
        );
        let Some((shape, width)) = options.take_with("shape", expected, read_shape)? else {
            return Err(OptionError::Missing {
                name: "shape",
                expected:
                    "that of one sample, such as shape=1x8x8 for 64 columns besides the label",
            });
        };
        let label_column = options.take_choice("label")?;
        let normalise = options.take_choice("normalise")?;
        Ok(Box::new(Self {
            shape,
            width,
            normalise: normalise.unwrap_or(Normalise::Columns),
            layout: Layout {
                label_column: label_column.unwrap_or(LabelColumn::Last),
                header: options.take_choice("header")?,
                separator: options.take_choice("separator")?,
            },
        }))
    }
}

/// Such as 1x8x8, with its number of elements.
fn read_shape(text: &str) -> Option<(Vec<u64>, usize)> {
    let shape: Vec<u64> = text.split('x').map(integer).collect::<Option<_>>()?;
    let width = row_elements(&shape).ok()?;
    Some((shape, width))
}

impl Reader for Csv {
    fn options(&self) -> Vec<(&'static str, String)> {
        let shape: Vec<String> = self.shape.iter().map(u64::to_string).collect();
        let mut options = vec![
            ("shape", shape.join("x")),
            ("label", self.layout.label_column.name().to_owned()),
            ("normalise", self.normalise.name().to_owned()),
        ];
        if let Some(header) = self.layout.header {
            options.push(("header", header.name().to_owned()));
        }
        if let Some(separator) = self.layout.separator {
            options.push(("separator", separator.name().to_owned()));
        }
        options
    }

    fn read(&self, mut file: DataFile) -> Result<Columns, FormatError> {
        let table = read_table(&mut file, &self.layout, self.width)?;
        let rows = table.labels.len();
        let largest = table.labels.iter().copied().max().unwrap_or(0);
        let classes =
            u32::try_from(largest + 1).map_err(|_| CsvError::LargeLabel { label: largest })?;
        Ok(Columns {
            features: Features::Numbers {
                values: table.features,
                shape: self.shape.clone(),
                normalise: self.normalise,
            },
            labels: Column::new(Elements::Int64(table.labels.into()), 0, rows, &[])?,
            classes,
            names: Names {
                columns: table.column_names,
                classes: table.class_names,
                vocabulary: Vec::new(),
            },
            hash: file.hash(),
        })
    }
}

/// The numbers of a file, in the order of its rows.
#[derive(Debug)]
struct Table {
    /// Row by row, without the labels.
    features: Vec<f64>,
    labels: Vec<i64>,
    /// Of the feature columns; empty without a header.
    column_names: Vec<String>,
    /// What stands for class 0, 1, ... in the file; empty where labels are numbers.
    class_names: Vec<String>,
}

/// Reads all rows, which must have `features` columns besides the label.
fn read_table(stream: &mut dyn Read, layout: &Layout, features: usize) -> Result<Table, CsvError> {
    let (sample, whole) = beginning(stream)?;
    let dialect = detect((&sample, whole), layout, features + 1)?;
    let stream = Cursor::new(sample).chain(stream);
    let mut rows = Rows::new(stream, dialect.separator, dialect.newline);
    let mut block = Block::default();
    for _ in 0..dialect.skip {
        rows.read_row(&mut block)?;
    }
    let form = RowForm {
        layout,
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
            return Err(CsvError::TooManyRows);
        }
    }
    if count == 0 {
        return Err(CsvError::NoRows {
            header: !form.dialect.names.is_empty(),
        });
    }
    let (labels, class_names) = labels.into_classes();
    Ok(Table {
        features: values,
        labels,
        column_names: form.dialect.names,
        class_names,
    })
}

/// Adds the samples of a block to the `before` that are already there. Rows are read in parallel,
/// but of several faulty ones, the first is always the one that is reported.
fn append(
    form: &RowForm<'_>,
    block: &Block,
    before: usize,
    values: &mut Vec<f64>,
    labels: &mut Labels,
) -> Result<(), CsvError> {
    let (start, width) = (values.len(), form.columns - 1);
    let added = block.len() * width;
    if values.try_reserve(added).is_err() || !labels.reserve(block.len()) {
        return Err(CsvError::OutOfMemory { rows: before });
    }
    values.resize(start + added, 0.0);
    let read: Vec<Result<Label<'_>, String>> = values[start..]
        .par_chunks_mut(width)
        .enumerate()
        .map(|(index, features)| form.sample(block.row(index), features, before + index == 0))
        .collect();
    for (index, label) in read.into_iter().enumerate() {
        let added = label.and_then(|label| {
            let located = |reason: String| form.at(form.label_at(), &reason);
            labels.push(label).map_err(located)
        });
        added.map_err(|reason| CsvError::Row {
            line: block.row(index).line,
            row: before + index + 1,
            reason,
        })?;
    }
    Ok(())
}

/// What every row must look like.
struct RowForm<'f> {
    layout: &'f Layout,
    columns: usize,
    dialect: Dialect,
}

impl RowForm<'_> {
    fn label_at(&self) -> usize {
        self.layout.label_at(self.columns)
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
        let indices = (0..self.columns).filter(|index| *index != label_at);
        for (feature, index) in features.iter_mut().zip(indices) {
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

    /// Another likely cause when a cell is not a number.
    fn hint(&self, row: Row<'_>, cell: &[u8], first: bool) -> &'static str {
        let is_text = number(cell).is_none() && !bare(cell).is_empty();
        if is_text && is_comment(row) {
            "; comments are possible above the first row only"
        } else if is_text && first && self.layout.header.is_none() {
            "; if the row holds the names of the columns, say header=yes"
        } else if is_text {
            "; features must be numbers, so number the values of such a column first"
        } else {
            ""
        }
    }

    /// The reason, preceded by the column that it is about, with its name if there is one.
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
