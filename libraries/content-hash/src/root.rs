//! The root: what combines the leaves of all tensors.

use sha2::{Digest, Sha256};

use crate::{Hash, Leaf};

/// Combines leaves. Each tensor is announced by its size, its leaves follow in the order of its
/// blocks.
#[derive(Clone)]
pub struct Root {
    state: Sha256,
}

impl Default for Root {
    fn default() -> Self {
        let state = Sha256::new_with_prefix(b"pangea/content/1\0");
        Self { state }
    }
}

impl Root {
    /// Begins a tensor of this many bytes.
    pub fn tensor(&mut self, bytes: u64) {
        self.state.update(bytes.to_le_bytes());
    }

    /// Adds the leaf of the tensor's next block.
    pub fn leaf(&mut self, leaf: Leaf) {
        self.state.update(leaf);
    }

    /// The content hash.
    pub fn finish(self) -> Hash {
        self.state.finalize().into()
    }
}
