//! The errors of a batch request, in the words that the worker gets.

use pangea_wire::schema::{MAX_BATCH_SIZE, MAX_SHARDS};
use thiserror::Error;

use crate::request::MAX_BATCH_BYTES;

/// Why a batch request cannot be answered: the field, its value, and what it may be.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    #[error("split has the unknown value {value}; it must be train or heldOut")]
    UnknownSplit { value: u16 },
    #[error("contentHash has the unknown value {value}; use the same release of worker and data service")]
    UnknownContentHash { value: u16 },
    #[error("batchSize is {batch_size}; it must be from 1 to {MAX_BATCH_SIZE}")]
    BatchSize { batch_size: u32 },
    #[error("shards is {shards}; it must be a power of two from 1 to {MAX_SHARDS}")]
    Shards { shards: u32 },
    #[error("shard is {shard}; it must be below shards, which is {shards}")]
    Shard { shard: u32, shards: u32 },
    #[error(
        "step is {step}; it must be below {steps}, the steps of an epoch of {samples} samples"
    )]
    Step { step: u32, steps: u64, samples: u64 },
    #[error("batchSize is {batch_size} over {shards} shards, minShardSamples is {min_shard_samples}: a \
        shard has {bytes} bytes, more than {MAX_BATCH_BYTES}; use more shards")]
    TooLarge {
        batch_size: u32,
        shards: u32,
        min_shard_samples: u32,
        bytes: u64,
    },
}
