//! The hash of parameters, over their memory.

use sha2::{Digest, Sha256};

/// The SHA-256 over the concatenated bytes of all tensors.
pub fn tensors_hash(tensors: &[&[u8]]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for tensor in tensors {
        digest.update(tensor);
    }
    digest.finalize().to_vec()
}
