//! The dataset in memory: preprocessed once, then only read.

use anyhow::{bail, Context, Result};
use pangea_order::{split, Split};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::column::{row_elements, Column, Elements};
use crate::csv_file::{read_csv, RawSamples};
use crate::settings::{Settings, Source};
use crate::text_file::{read_text, RawText};

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
}

impl Dataset {
    /// Reads and preprocesses what the settings name.
    pub fn load(settings: &Settings) -> Result<Self> {
        let (name, held_out) = (&settings.dataset_name, settings.held_out);
        match settings.source()? {
            Source::Csv {
                file,
                label_column,
                feature_shape,
            } => {
                let width = row_elements(feature_shape).context("--feature-shape is not usable")?;
                let raw = read_csv(file, label_column, width)?;
                Self::from_rows(name, raw, feature_shape, held_out)
            }
            Source::Text { file, context } => {
                let width = row_elements(&[context]).context("--context is not usable")?;
                Self::from_text(name, read_text(file, width)?, width, held_out)
            }
        }
    }

    /// Samples of float32 features, normalised, with one int64 label each.
    pub fn from_rows(
        name: &str,
        raw: RawSamples,
        feature_shape: &[u64],
        held_out: f64,
    ) -> Result<Self> {
        let samples = raw.labels.len();
        let largest = raw.labels.iter().copied().max().unwrap_or(0);
        let classes = u32::try_from(largest + 1)
            .with_context(|| format!("the label {largest} is too large for a class"))?;
        let split = split_of(&raw.hash, samples, held_out)?;
        let features = normalised(&raw.features, &split.train, row_elements(feature_shape)?)?;
        let features = Elements::Float32(features.into());
        let labels = Elements::Int64(raw.labels.into());
        Ok(Self::assembled(
            name,
            Column::new(features, 0, samples, feature_shape)?,
            Column::new(labels, 0, samples, &[])?,
            split,
            classes,
        ))
    }

    /// Samples of `context` int64 tokens; each token's label is the token after it. What is left at the end of the text is not used.
    pub fn from_text(name: &str, raw: RawText, context: usize, held_out: f64) -> Result<Self> {
        let samples = raw.samples(context);
        let split = split_of(&raw.hash, samples, held_out)?;
        // At most 256 bytes are distinct.
        let classes = raw.vocabulary.len() as u32;
        let (tokens, shape) = (Elements::Int64(raw.tokens.into()), [context as u64]);
        Ok(Self::assembled(
            name,
            Column::new(tokens.clone(), 0, samples, &shape)?,
            Column::new(tokens, 1, samples, &shape)?,
            split,
            classes,
        ))
    }

    fn assembled(name: &str, features: Column, labels: Column, split: Split, classes: u32) -> Self {
        let mut dataset = Self {
            name: name.to_owned(),
            features,
            labels,
            split,
            classes,
            hash: [0; 32],
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

/// (x - mean) / standard deviation, both over all training features together. Their sums are added in the order of the data, in float64, so that
/// every replica has the same bits.
fn normalised(features: &[f64], train: &[u32], width: usize) -> Result<Vec<f32>> {
    let training = || {
        train
            .iter()
            .flat_map(|id| &features[*id as usize * width..][..width])
    };
    let count = (train.len() * width) as f64;
    let mean = training().sum::<f64>() / count;
    let deviation = (training().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt();
    if deviation == 0.0 || !deviation.is_finite() {
        bail!(
            "the training features cannot be normalised: their standard deviation is {deviation}"
        );
    }
    Ok(features
        .par_iter()
        .map(|x| ((x - mean) / deviation) as f32)
        .collect())
}

#[cfg(test)]
mod tests {
    use bytemuck::cast_slice;

    use super::*;
    use crate::fixtures::{raw, small, text};

    #[test]
    fn training_features_have_mean_0_and_deviation_1() {
        let dataset = small();
        let values: Vec<f64> = dataset
            .split
            .train
            .iter()
            .flat_map(|id| cast_slice::<u8, f32>(dataset.features.row(*id)))
            .map(|x| f64::from(*x))
            .collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        assert!(
            mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5,
            "{mean} {variance}"
        );
        assert_eq!(
            (
                dataset.split.train.len(),
                dataset.split.held_out.len(),
                dataset.classes
            ),
            (16, 4, 3)
        );
    }

    #[test]
    fn the_hash_tells_data_and_split_apart() {
        let hash = |rows, fraction| {
            Dataset::from_rows("d", raw(rows), &[2, 2], fraction)
                .expect("valid")
                .hash
        };
        assert_eq!(hash(20, 0.2), hash(20, 0.2));
        assert_ne!(hash(20, 0.2), hash(20, 0.25));
        assert_ne!(hash(20, 0.2), hash(21, 0.2));
    }

    #[test]
    fn what_cannot_be_trained_on_is_refused() {
        let mut flat = raw(20);
        flat.features.fill(3.0);
        let error = Dataset::from_rows("d", flat, &[4], 0.0).expect_err("refused");
        assert!(error.to_string().contains("standard deviation is 0"));
        let mut many = raw(20);
        many.labels[3] = 1 << 40;
        assert!(Dataset::from_rows("d", many, &[4], 0.0).is_err());
        assert!(Dataset::from_text("d", text(b"abc"), 3, 0.0).is_err());
    }

    #[test]
    fn the_labels_of_a_text_are_its_next_tokens() {
        let dataset = Dataset::from_text("d", text(b"hello world"), 3, 0.4).expect("valid");
        let tokens = |column: &Column, id| cast_slice::<u8, i64>(column.row(id)).to_vec();
        let features = [0, 1, 2].map(|id| tokens(&dataset.features, id));
        let labels = [0, 1, 2].map(|id| tokens(&dataset.labels, id));
        // " dehlorw"
        assert_eq!(features, [[3, 2, 4], [4, 5, 0], [7, 5, 6]]);
        assert_eq!(labels, [[2, 4, 4], [5, 0, 7], [5, 6, 4]]);
        assert_eq!((dataset.classes, dataset.split.held_out.len()), (8, 1));
        assert_eq!(dataset.features.spec, dataset.labels.spec);
        assert_eq!(dataset.features.spec.shape, [3]);
    }

    #[test]
    fn the_hash_of_a_text_covers_tokens_context_and_split() {
        let hash = |bytes, context, fraction| {
            Dataset::from_text("d", text(bytes), context, fraction)
                .expect("valid")
                .hash
        };
        let base = hash(b"hello world", 2, 0.2);
        assert_eq!(base, hash(b"hello world", 2, 0.2));
        for other in [
            hash(b"hello wordl", 2, 0.2),
            hash(b"hello world", 5, 0.2),
            hash(b"hello world", 2, 0.4),
        ] {
            assert_ne!(base, other);
        }
    }
}
