//! Content hashes of whole tensors, by either method.

use sha2::{Digest, Sha256};

use crate::leaf::{leaf_of, leaves_of, LeafHasher, BLOCK_BYTES};
use crate::method::Method;
use crate::root::Root;
use crate::Hash;

/// Hashes tensors whose bytes are at hand.
pub fn content_hash<'a>(method: Method, tensors: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    match method {
        Method::Sha256 => {
            let mut state = Sha256::new();
            for tensor in tensors {
                state.update(tensor);
            }
            state.finalize().into()
        }
        Method::Xxh3Tree => {
            let mut root = Root::default();
            for tensor in tensors {
                root.tensor(tensor.len() as u64);
                leaves_of(tensor).for_each(|leaf| root.leaf(leaf));
            }
            root.finish()
        }
    }
}

/// Hashes one tensor that arrives in order, in parts of any size.
pub struct ContentHasher {
    state: State,
}

enum State {
    Flat(Sha256),
    Tree(Box<Tree>),
}

struct Tree {
    root: Root,
    /// The block that has begun to arrive, and its bytes so far.
    block: LeafHasher,
    filled: usize,
}

impl Tree {
    fn update(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            let (now, later) = part.split_at(part.len().min(BLOCK_BYTES - self.filled));
            part = later;
            if now.len() == BLOCK_BYTES {
                // A whole block needs no state of its own.
                self.root.leaf(leaf_of(now));
                continue;
            }
            self.block.write(now);
            self.filled += now.len();
            if self.filled == BLOCK_BYTES {
                self.root.leaf(std::mem::take(&mut self.block).leaf());
                self.filled = 0;
            }
        }
    }

    fn finish(mut self) -> Hash {
        if self.filled > 0 {
            self.root.leaf(self.block.leaf());
        }
        self.root.finish()
    }
}

impl ContentHasher {
    /// For a tensor of `bytes` bytes.
    pub fn new(method: Method, bytes: u64) -> Self {
        let state = match method {
            Method::Sha256 => State::Flat(Sha256::new()),
            Method::Xxh3Tree => {
                let mut root = Root::default();
                root.tensor(bytes);
                let block = LeafHasher::default();
                State::Tree(Box::new(Tree {
                    root,
                    block,
                    filled: 0,
                }))
            }
        };
        Self { state }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, part: &[u8]) {
        match &mut self.state {
            State::Flat(state) => state.update(part),
            State::Tree(tree) => tree.update(part),
        }
    }

    /// The content hash. It is not that of any tensor if fewer or more bytes came than announced.
    pub fn finish(self) -> Hash {
        match self.state {
            State::Flat(state) => state.finalize().into(),
            State::Tree(tree) => tree.finish(),
        }
    }
}
