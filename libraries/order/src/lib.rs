//! Which samples a shard of a step holds: a pure function of the dataset, the seed, the epoch, the
//! step and the shard.
//!
//! Responsible for: the order of an epoch, the held-out split, the cut of an epoch into steps and
//! of a step into shards. Not responsible for: what a sample is. Changing any result here changes
//! the bits of every run, so the golden tests must hold.

mod plan;
mod shuffle;
mod split;

pub use plan::StepPlan;
pub use shuffle::train_order;
pub use split::{split, Split};
