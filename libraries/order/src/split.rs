//! The held-out split: samples that are never trained on.

use sha2::{Digest, Sha256};

use crate::shuffle::shuffled;

/// Sample ids (rows of the raw data), each list ascending; every id is in exactly one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    pub train: Vec<u32>,
    pub held_out: Vec<u32>,
}

/// Holds out floor(samples * fraction) samples. Which ones depends on the raw data alone, not on a
/// run's seed, so that no run trains on samples that another run is evaluated on.
///
/// The generator's seed is SHA-256("pangea/held-out/1" || raw hash).
pub fn split(raw_hash: &[u8; 32], samples: u32, fraction: f64) -> Split {
    let digest = Sha256::new()
        .chain_update(b"pangea/held-out/1")
        .chain_update(raw_hash)
        .finalize();
    let mut held_out = shuffled(digest.into(), samples);
    let count = (f64::from(samples) * fraction.clamp(0.0, 1.0)).floor() as usize;
    let mut train = held_out.split_off(count.min(held_out.len()));
    held_out.sort_unstable();
    train.sort_unstable();
    Split { train, held_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_in_one_part() {
        for (samples, fraction, expected) in
            [(1797, 0.2, 359), (10, 0.0, 0), (10, 1.0, 10), (0, 0.5, 0)]
        {
            let parts = split(&[7; 32], samples, fraction);
            assert_eq!(parts.held_out.len(), expected);
            assert!(parts.held_out.is_sorted() && parts.train.is_sorted());
            let mut all = [parts.train, parts.held_out].concat();
            all.sort_unstable();
            assert_eq!(all, (0..samples).collect::<Vec<_>>());
        }
    }

    /// Computed by an independent implementation in Python.
    #[test]
    fn the_split_of_this_version_never_changes() {
        assert_eq!(split(&[7; 32], 12, 0.25).held_out, [0, 4, 6]);
    }
}
