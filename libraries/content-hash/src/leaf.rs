//! Leaves: the hashes of blocks.

use pangea_wire::schema::CONTENT_HASH_BLOCK_BYTES;
use twox_hash::XxHash3_128;

/// Bytes of a tensor under one leaf; only its last block is shorter.
pub const BLOCK_BYTES: usize = CONTENT_HASH_BLOCK_BYTES as usize;

/// The hash of one block.
pub type Leaf = [u8; 16];

/// Hashes a block of at most `BLOCK_BYTES`.
pub fn leaf_of(block: &[u8]) -> Leaf {
    XxHash3_128::oneshot(block).to_be_bytes()
}

/// Hashes all blocks of a tensor.
pub fn leaves_of(tensor: &[u8]) -> impl Iterator<Item = Leaf> + '_ {
    tensor.chunks(BLOCK_BYTES).map(leaf_of)
}

/// Hashes one block that comes in parts, each while it is in the cache.
#[derive(Clone, Default)]
pub struct LeafHasher {
    state: XxHash3_128,
}

impl LeafHasher {
    /// Adds the next part of the block.
    pub fn write(&mut self, part: &[u8]) {
        self.state.write(part);
    }

    /// The leaf of what was written.
    pub fn leaf(&self) -> Leaf {
        self.state.finish_128().to_be_bytes()
    }
}
