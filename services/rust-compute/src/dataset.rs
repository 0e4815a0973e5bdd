//! The dataset in memory: preprocessed once, then only read.

use anyhow::{bail, Context, Result};
use pangea_order::{split, Split};
use pangea_wire::{DType, TensorSpec};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::csv_file::{read_csv, RawSamples};
use crate::settings::Settings;

/// Preprocessed samples, by their row in the raw data.
#[derive(Debug)]
pub struct Dataset {
    pub name: String,
    /// What one sample looks like, without the batch dimension.
    pub features_spec: TensorSpec,
    pub labels_spec: TensorSpec,
    /// Normalised, row by row.
    features: Vec<f32>,
    labels: Vec<i64>,
    pub split: Split,
    /// Largest label + 1.
    pub classes: u32,
    pub hash: [u8; 32],
}

impl Dataset {
    /// Reads and preprocesses what the settings name.
    pub fn load(settings: &Settings) -> Result<Self> {
        let width = width(&settings.feature_shape)?;
        let raw = read_csv(&settings.csv, settings.label_column, width)?;
        Self::prepare(
            &settings.dataset_name,
            raw,
            &settings.feature_shape,
            settings.held_out,
        )
    }

    /// Splits, normalises and hashes.
    pub fn prepare(
        name: &str,
        raw: RawSamples,
        feature_shape: &[u64],
        held_out: f64,
    ) -> Result<Self> {
        let features_spec = TensorSpec::new("", DType::Float32, feature_shape.to_vec())?;
        let labels_spec = TensorSpec::new("", DType::Int64, Vec::new())?;
        let samples = u32::try_from(raw.labels.len()).context("more than 2^32 - 1 samples")?;
        let largest = raw.labels.iter().copied().max().unwrap_or(0);
        let classes = u32::try_from(largest + 1)
            .with_context(|| format!("the label {largest} is too large for a class"))?;
        let split = split(&raw.hash, samples, held_out);
        if split.train.is_empty() {
            bail!("none of {samples} samples is left to train on");
        }
        let features = normalised(&raw.features, &split.train, width(feature_shape)?)?;
        let mut dataset = Self {
            name: name.to_owned(),
            features_spec,
            labels_spec,
            features,
            labels: raw.labels,
            split,
            classes,
            hash: [0; 32],
        };
        dataset.hash = dataset.compute_hash();
        Ok(dataset)
    }

    /// The features of a sample.
    pub fn features_of(&self, id: u32) -> &[f32] {
        let width = self.features.len() / self.labels.len();
        &self.features[id as usize * width..][..width]
    }

    pub fn label_of(&self, id: u32) -> i64 {
        self.labels[id as usize]
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
            (self.features.len(), bytemuck::cast_slice(&self.features)),
            (self.labels.len(), bytemuck::cast_slice(&self.labels)),
        ];
        for (length, bytes) in parts {
            hash.update((length as u64).to_le_bytes());
            hash.update(bytes);
        }
        hash.finalize().into()
    }
}

/// Elements of one sample.
fn width(shape: &[u64]) -> Result<usize> {
    let elements = TensorSpec::new("features", DType::Float32, shape.to_vec())?.elements()?;
    match usize::try_from(elements) {
        Ok(width) if (1..=1 << 20).contains(&width) => Ok(width),
        _ => bail!(
            "--feature-shape {shape:?} has {elements} elements; it must have 1 to {}",
            1 << 20
        ),
    }
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
    use super::*;
    use crate::fixtures::{raw, small};

    #[test]
    fn training_features_have_mean_0_and_deviation_1() {
        let dataset = small();
        let values: Vec<f64> = dataset
            .split
            .train
            .iter()
            .flat_map(|id| dataset.features_of(*id))
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
            Dataset::prepare("d", raw(rows), &[2, 2], fraction)
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
        let error = Dataset::prepare("d", flat, &[4], 0.0).expect_err("refused");
        assert!(error.to_string().contains("standard deviation is 0"));
        let mut many = raw(20);
        many.labels[3] = 1 << 40;
        assert!(Dataset::prepare("d", many, &[4], 0.0).is_err());
        assert!(width(&[0, 3]).is_err());
        assert!(width(&[1; 9]).is_err());
    }
}
