//! The dataset in memory: preprocessed once, then only read.

use anyhow::{bail, Context, Result};
use pangea_order::{split, Split};
use sha2::{Digest, Sha256};

use crate::dataset::column::{row_elements, Column, Elements};
use crate::dataset::standardise::{Features, Normalise, Scale};
use crate::process::settings::{Settings, Source};
use crate::sources::{read_csv, read_text, RawText, Table};

/// Most columns and classes that are described: as many as the schema allows.
const MAX_DESCRIBED: usize = 4096;

/// Preprocessed samples, by their place in the raw data.
#[derive(Debug)]
pub struct Dataset {
    pub name: String,
    pub features: Column,
    pub labels: Column,
    pub split: Split,
    /// Largest label + 1.
    pub classes: u32,
    pub hash: [u8; 32],
    pub meaning: Meaning,
}

/// What the numbers were in the raw data, as far as it says.
#[derive(Debug, Default)]
pub struct Meaning {
    /// Of a table: its feature columns.
    pub columns: Vec<TableColumn>,
    /// What stands for class 0, 1, ...; empty where labels are numbers.
    pub class_names: Vec<String>,
    /// Of a text: the byte that token 0, 1, ... stands for.
    pub vocabulary: Vec<u8>,
}

/// A feature column as it was before preprocessing.
#[derive(Debug, PartialEq)]
pub struct TableColumn {
    /// Empty where the table has no header.
    pub name: String,
    pub scale: Scale,
}

impl Dataset {
    /// Reads and preprocesses what the settings name.
    pub fn load(settings: &Settings) -> Result<Self> {
        let (name, held_out) = (&settings.dataset_name, settings.held_out);
        match settings.source()? {
            Source::Csv {
                file,
                format,
                feature_shape,
                normalise,
            } => {
                let width = row_elements(feature_shape).context("--feature-shape is not usable")?;
                let table = read_csv(file, &format, width, settings.max_data_bytes)?;
                Self::from_rows(name, table, feature_shape, normalise, held_out)
                    .with_context(|| format!("{} is not usable", file.display()))
            }
            Source::Text { file, context } => {
                let width = row_elements(&[context]).context("--context is not usable")?;
                let raw = read_text(file, width, settings.max_data_bytes)?;
                Self::from_text(name, raw, width, held_out)
            }
        }
    }

    /// Samples of float32 features, normalised, with one int64 label each.
    pub fn from_rows(
        name: &str,
        table: Table,
        feature_shape: &[u64],
        normalise: Normalise,
        held_out: f64,
    ) -> Result<Self> {
        let samples = table.labels.len();
        let largest = table.labels.iter().copied().max().unwrap_or(0);
        let classes = u32::try_from(largest + 1)
            .with_context(|| format!("the label {largest} is too large for a class"))?;
        let split = split_of(&table.hash, samples, held_out)?;
        let (scaled, columns) = preprocessed(&table, &split.train, feature_shape, normalise)?;
        // The raw features take twice the memory of those that are served.
        drop(table.features);
        let labels = Elements::Int64(table.labels.into());
        let meaning = Meaning {
            columns,
            class_names: table.class_names,
            vocabulary: Vec::new(),
        };
        Ok(Self::assembled(
            name,
            Column::new(Elements::Float32(scaled.into()), 0, samples, feature_shape)?,
            Column::new(labels, 0, samples, &[])?,
            split,
            classes,
            meaning,
        ))
    }

    /// Samples of `context` int64 tokens; each token's label is the token after it. What is left at the end of the text is not used.
    pub fn from_text(name: &str, raw: RawText, context: usize, held_out: f64) -> Result<Self> {
        let samples = raw.samples(context);
        let split = split_of(&raw.hash, samples, held_out)?;
        // At most 256 bytes are distinct.
        let classes = raw.vocabulary.len() as u32;
        let meaning = Meaning {
            vocabulary: raw.vocabulary,
            ..Meaning::default()
        };
        let (tokens, shape) = (Elements::Int64(raw.tokens.into()), [context as u64]);
        Ok(Self::assembled(
            name,
            Column::new(tokens.clone(), 0, samples, &shape)?,
            Column::new(tokens, 1, samples, &shape)?,
            split,
            classes,
            meaning,
        ))
    }

    fn assembled(
        name: &str,
        features: Column,
        labels: Column,
        split: Split,
        classes: u32,
        meaning: Meaning,
    ) -> Self {
        let mut dataset = Self {
            name: name.to_owned(),
            features,
            labels,
            split,
            classes,
            hash: [0; 32],
            meaning,
        };
        dataset.hash = dataset.compute_hash();
        dataset
    }

    /// SHA-256("pangea/dataset/1" || training ids || held-out ids || features || labels), each list after its length as u64, all numbers
    /// little-endian, ids as u32.
    fn compute_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(b"pangea/dataset/1");
        let parts: [(usize, &[u8]); 4] = [
            (
                self.split.train.len(),
                bytemuck::cast_slice(&self.split.train),
            ),
            (
                self.split.held_out.len(),
                bytemuck::cast_slice(&self.split.held_out),
            ),
            (self.features.elements(), self.features.bytes()),
            (self.labels.elements(), self.labels.bytes()),
        ];
        for (length, bytes) in parts {
            hash.update((length as u64).to_le_bytes());
            hash.update(bytes);
        }
        hash.finalize().into()
    }
}

/// Which samples are trained on and which are held out: a function of the raw data alone.
fn split_of(raw_hash: &[u8; 32], samples: usize, held_out: f64) -> Result<Split> {
    let samples = u32::try_from(samples).context("more than 2^32 - 1 samples")?;
    let split = split(raw_hash, samples, held_out);
    if split.train.is_empty() {
        bail!("none of {samples} samples is left to train on");
    }
    Ok(split)
}

/// The features as they are served, and what each column was.
fn preprocessed(
    table: &Table,
    train: &[u32],
    feature_shape: &[u64],
    normalise: Normalise,
) -> Result<(Vec<f32>, Vec<TableColumn>)> {
    let features = Features {
        values: &table.features,
        width: row_elements(feature_shape)?,
    };
    let name_of = |column: usize| table.column_names.get(column).cloned().unwrap_or_default();
    let scales = features.scales(normalise, train, |column| {
        format!("feature {} {}", column + 1, name_of(column))
    })?;
    let scaled = features.scaled(&scales)?;
    let described = |(column, scale): (usize, &Scale)| TableColumn {
        name: name_of(column),
        scale: *scale,
    };
    let columns = match scales.len() {
        0..=MAX_DESCRIBED => scales.iter().enumerate().map(described).collect(),
        _ => Vec::new(),
    };
    Ok((scaled, columns))
}

#[cfg(test)]
#[path = "dataset_test.rs"]
mod tests;
