//! Scales features to mean 0 and deviation 1. Sums are taken in the order of the data, in float64,
//! so that every replica has the same bits.

use rayon::prelude::*;

use crate::error::DatasetError;

/// Over which values a mean and a deviation are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalise {
    /// Each column has its own mean and deviation.
    Columns,
    /// All columns share one mean and one deviation: for pixels, which have a common scale.
    All,
    /// Values are served as they are.
    None,
}

/// A served value is (raw value - mean) / deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    pub mean: f64,
    pub deviation: f64,
}

const IDENTITY: Scale = Scale {
    mean: 0.0,
    deviation: 1.0,
};

/// Features as the source has them, `width` consecutive values a row.
pub struct RawFeatures<'f> {
    pub values: &'f [f64],
    pub width: usize,
}

impl RawFeatures<'_> {
    /// The scale of each column, over the training rows. `name` is what an error calls a column.
    pub fn scales(
        &self,
        normalise: Normalise,
        train: &[u32],
        name: impl Fn(usize) -> String,
    ) -> Result<Vec<Scale>, DatasetError> {
        match normalise {
            Normalise::None => Ok(vec![IDENTITY; self.width]),
            Normalise::All => Ok(vec![self.common_scale(train)?; self.width]),
            Normalise::Columns => {
                let scales = self.column_scales(train);
                if let Some(column) = scales.iter().position(|scale| !is_usable(scale)) {
                    return Err(DatasetError::Unscalable {
                        column: name(column),
                    });
                }
                Ok(scales)
            }
        }
    }

    /// All values as they are served. The error names the first row that does not fit a float32.
    pub fn scaled(&self, scales: &[Scale]) -> Result<Vec<f32>, DatasetError> {
        let mut scaled = Vec::new();
        if scaled.try_reserve_exact(self.values.len()).is_err() {
            return Err(DatasetError::OutOfMemory);
        }
        scaled.resize(self.values.len(), 0.0);
        scaled
            .par_chunks_mut(self.width)
            .zip(self.values.par_chunks(self.width))
            .for_each(|(served, row)| scale_row(row, scales, served));
        if let Some(place) = scaled
            .par_iter()
            .position_first(|value: &f32| !value.is_finite())
        {
            return Err(DatasetError::TooLarge {
                row: place / self.width + 1,
                feature: place % self.width + 1,
                value: self.values[place],
            });
        }
        Ok(scaled)
    }

    fn rows<'t>(&'t self, train: &'t [u32]) -> impl Iterator<Item = &'t [f64]> {
        train
            .iter()
            .map(|id| &self.values[*id as usize * self.width..][..self.width])
    }

    fn common_scale(&self, train: &[u32]) -> Result<Scale, DatasetError> {
        let training = || self.rows(train).flatten();
        let count = (train.len() * self.width) as f64;
        let mean = training().sum::<f64>() / count;
        let deviation = (training().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt();
        let scale = Scale { mean, deviation };
        if !is_usable(&scale) {
            return Err(DatasetError::NoCommonScale { deviation });
        }
        Ok(scale)
    }

    /// The scale of each column. Differences are added rather than values: first from the column's
    /// first value, so that nanoseconds since 1970 keep their digits, then from the mean, divided
    /// by the largest one, so that no square leaves the range of float64.
    fn column_scales(&self, train: &[u32]) -> Vec<Scale> {
        let count = train.len() as f64;
        let start = train.first().map_or(0, |id| *id as usize * self.width);
        let first = &self.values[start..][..self.width];

        let mut means = vec![0.0; self.width];
        for row in self.rows(train) {
            for ((sum, value), first) in means.iter_mut().zip(row).zip(first) {
                *sum += value - first;
            }
        }
        for (mean, first) in means.iter_mut().zip(first) {
            *mean = first + *mean / count;
        }

        let mut largest = vec![0.0_f64; self.width];
        for row in self.rows(train) {
            for ((largest, value), mean) in largest.iter_mut().zip(row).zip(&means) {
                *largest = largest.max((value - mean).abs());
            }
        }
        let mut squares = vec![0.0; self.width];
        for row in self.rows(train) {
            for (((sum, value), mean), largest) in
                squares.iter_mut().zip(row).zip(&means).zip(&largest)
            {
                let difference = (value - mean) / largest;
                *sum += difference * difference;
            }
        }

        (0..self.width)
            .map(|column| Scale {
                mean: means[column],
                deviation: match largest[column] {
                    // A constant column becomes zeros.
                    0.0 => 1.0,
                    largest => largest * (squares[column] / count).sqrt(),
                },
            })
            .collect()
    }
}

fn scale_row(row: &[f64], scales: &[Scale], served: &mut [f32]) {
    for ((served, value), scale) in served.iter_mut().zip(row).zip(scales) {
        *served = ((value - scale.mean) / scale.deviation) as f32;
    }
}

fn is_usable(scale: &Scale) -> bool {
    scale.mean.is_finite() && scale.deviation.is_finite() && scale.deviation > 0.0
}

#[cfg(test)]
#[path = "standardise_test.rs"]
mod tests;
