//! The content hash of tensors, as `schemas/tensor.capnp` defines it (`ContentHash`): it finds
//! faulty hardware, nondeterminism and bugs, and does not protect against people.
//!
//! Blocks are hashed independently of each other, so any thread may hash any block, in any order,
//! while the block is in its cache; `Root` combines them.

mod content;
mod leaf;
mod method;
mod root;

#[cfg(test)]
mod golden_test;

pub use content::{content_hash, ContentHasher};
pub use leaf::{leaf_of, leaves_of, Leaf, LeafHasher, BLOCK_BYTES};
pub use method::Method;
pub use root::Root;

/// A content hash.
pub type Hash = [u8; 32];
