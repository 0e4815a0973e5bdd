//! The order of an epoch: Fisher-Yates (Durstenfeld's form) driven by ChaCha20, with unbiased
//! bounded draws.

use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};

/// The positions 0..samples of the training split in the order of an epoch.
///
/// The generator's seed is SHA-256("pangea/order/1" || dataset hash || seed || epoch), the numbers
/// little-endian.
pub fn train_order(dataset_hash: &[u8; 32], seed: u64, epoch: u32, samples: u32) -> Vec<u32> {
    let digest = Sha256::new()
        .chain_update(b"pangea/order/1")
        .chain_update(dataset_hash)
        .chain_update(seed.to_le_bytes())
        .chain_update(epoch.to_le_bytes())
        .finalize();
    shuffled(digest.into(), samples)
}

/// The numbers 0..count in the order that the seed gives.
pub(crate) fn shuffled(seed: [u8; 32], count: u32) -> Vec<u32> {
    let mut random = ChaCha20Rng::from_seed(seed);
    let mut order: Vec<u32> = (0..count).collect();
    for last in (1..order.len()).rev() {
        // `last` is below 2^32, so neither conversion loses anything.
        let other = bounded(&mut random, last as u64 + 1) as usize;
        order.swap(last, other);
    }
    order
}

/// A number below `bound`, each with the same probability: draws beyond the largest multiple of
/// `bound` are discarded.
fn bounded(random: &mut impl RngCore, bound: u64) -> u64 {
    const DRAWS: u128 = 1 << 64;
    let bound = u128::from(bound);
    let usable = DRAWS / bound * bound;
    loop {
        let draw = u128::from(random.next_u64());
        if draw < usable {
            // Below `bound`, which is a u64.
            return (draw % bound) as u64;
        }
    }
}

#[cfg(test)]
#[path = "shuffle_test.rs"]
mod tests;
