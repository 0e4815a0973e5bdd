//! The dataset in memory: preprocessed once, then only read.

use pangea_order::{split, Split};
use pangea_wire::schema::MAX_COLUMNS;
use sha2::{Digest, Sha256};

use crate::column::{row_elements, Column, Elements};
use crate::columns::{Columns, Features};
use crate::error::DatasetError;
use crate::standardise::{Normalise, RawFeatures, Scale};

/// Preprocessed samples. A sample's id is its row in the raw data.
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
    /// Of a table: its feature columns; empty if there are more than a message can describe.
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

/// Columns as they are served, before it is known which samples are held out.
#[derive(Debug)]
pub struct Prepared {
    pub features: Column,
    pub labels: Column,
    /// Largest label + 1.
    pub classes: u32,
    pub meaning: Meaning,
    /// SHA-256 of the file's bytes, decompressed. The split is a function of it.
    pub raw_hash: [u8; 32],
}

impl Prepared {
    /// Preprocesses columns. `held_out` is the share of samples that are kept for evaluation.
    pub fn new(raw: Columns, held_out: f64) -> Result<Self, DatasetError> {
        let split = split_of(&raw.hash, raw.labels.rows(), held_out)?;
        Self::with(raw, &split)
    }

    fn with(raw: Columns, split: &Split) -> Result<Self, DatasetError> {
        let samples = raw.labels.rows();
        let (features, columns) = match raw.features {
            Features::Final(column) => (column, Vec::new()),
            Features::Numbers {
                values,
                shape,
                normalise,
            } => {
                let (scaled, columns) =
                    standardised(&values, &shape, normalise, &split.train, &raw.names.columns)?;
                // The raw features take twice the memory of those that are served.
                drop(values);
                let elements = Elements::Float32(scaled.into());
                (Column::new(elements, 0, samples, &shape)?, columns)
            }
        };
        Ok(Self {
            features,
            labels: raw.labels,
            classes: raw.classes,
            meaning: Meaning {
                columns,
                class_names: raw.names.classes,
                vocabulary: raw.names.vocabulary,
            },
            raw_hash: raw.hash,
        })
    }
}

impl Dataset {
    /// Splits and preprocesses columns. `held_out` is the share of samples that are kept for
    /// evaluation.
    pub fn new(name: &str, raw: Columns, held_out: f64) -> Result<Self, DatasetError> {
        let split = split_of(&raw.hash, raw.labels.rows(), held_out)?;
        let prepared = Prepared::with(raw, &split)?;
        Ok(Self::with(name, prepared, split))
    }

    /// A dataset of columns that were preprocessed for the same `held_out`.
    pub fn of(name: &str, prepared: Prepared, held_out: f64) -> Result<Self, DatasetError> {
        let samples = prepared.labels.rows();
        if prepared.features.rows() != samples {
            return Err(DatasetError::Rows {
                features: prepared.features.rows(),
                labels: samples,
            });
        }
        let split = split_of(&prepared.raw_hash, samples, held_out)?;
        Ok(Self::with(name, prepared, split))
    }

    fn with(name: &str, prepared: Prepared, split: Split) -> Self {
        let mut dataset = Self {
            name: name.to_owned(),
            features: prepared.features,
            labels: prepared.labels,
            split,
            classes: prepared.classes,
            hash: [0; 32],
            meaning: prepared.meaning,
        };
        dataset.hash = dataset.compute_hash();
        dataset
    }

    /// SHA-256("pangea/dataset/1" || training ids || held-out ids || features || labels), each list
    /// preceded by its length as u64, all numbers little-endian, ids as u32.
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

/// Which samples are trained on and which are held out: a function of the raw data alone, so that
/// it is the same in every run and replica.
fn split_of(raw_hash: &[u8; 32], samples: usize, held_out: f64) -> Result<Split, DatasetError> {
    let samples = u32::try_from(samples).map_err(|_| DatasetError::TooManySamples)?;
    let split = split(raw_hash, samples, held_out);
    if split.train.is_empty() {
        return Err(DatasetError::NothingToTrainOn { samples });
    }
    Ok(split)
}

/// The features as they are served, and what each column was.
fn standardised(
    values: &[f64],
    shape: &[u64],
    normalise: Normalise,
    train: &[u32],
    names: &[String],
) -> Result<(Vec<f32>, Vec<TableColumn>), DatasetError> {
    let features = RawFeatures {
        values,
        width: row_elements(shape)?,
    };
    let name_of = |column: usize| names.get(column).cloned().unwrap_or_default();
    let scales = features.scales(normalise, train, |column| {
        format!("feature {} {}", column + 1, name_of(column))
    })?;
    let scaled = features.scaled(&scales)?;
    let describe = |(column, scale): (usize, &Scale)| TableColumn {
        name: name_of(column),
        scale: *scale,
    };
    let columns = if scales.len() <= MAX_COLUMNS as usize {
        scales.iter().enumerate().map(describe).collect()
    } else {
        Vec::new()
    };
    Ok((scaled, columns))
}
