//! How an epoch is cut into steps, and a step into shards.

use std::ops::Range;

/// The cut of one epoch. Positions are those of the epoch's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepPlan {
    samples: u64,
    batch_size: u64,
    shards: u64,
}

impl StepPlan {
    /// `batch_size` counts the samples of a whole step. None if it or `shards` is 0.
    pub fn new(samples: u64, batch_size: u32, shards: u32) -> Option<Self> {
        (batch_size > 0 && shards > 0).then_some(Self {
            samples,
            batch_size: u64::from(batch_size),
            shards: u64::from(shards),
        })
    }

    /// Steps of an epoch: ceil(samples / batch size).
    pub fn steps(&self) -> u64 {
        self.samples.div_ceil(self.batch_size)
    }

    /// Positions of a shard of a step. None for a step or a shard that does not exist. With n samples in the step, shard s of S holds
    /// [n*s/S, n*(s+1)/S) of them, which may be none.
    pub fn shard(&self, step: u64, shard: u64) -> Option<Range<u64>> {
        if step >= self.steps() || shard >= self.shards {
            return None;
        }
        let start = step * self.batch_size;
        let samples = self.batch_size.min(self.samples - start);
        Some(start + samples * shard / self.shards..start + samples * (shard + 1) / self.shards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_follow_each_other_without_gap() {
        for (samples, batch_size, shards) in [
            (1438, 64, 8),
            (7, 3, 4),
            (1, 1, 1024),
            (64, 64, 1),
            (5, 1_048_576, 2),
        ] {
            let plan = StepPlan::new(samples, batch_size, shards).expect("valid");
            let mut next = 0;
            for step in 0..plan.steps() {
                for shard in 0..u64::from(shards) {
                    let range = plan.shard(step, shard).expect("exists");
                    assert_eq!(range.start, next);
                    next = range.end;
                }
            }
            assert_eq!(next, samples);
        }
    }

    #[test]
    fn what_does_not_exist_has_no_range() {
        let plan = StepPlan::new(10, 4, 2).expect("valid");
        assert_eq!(plan.steps(), 3);
        assert_eq!(plan.shard(2, 1), Some(9..10));
        assert_eq!(plan.shard(3, 0), None);
        assert_eq!(plan.shard(0, 2), None);
        assert_eq!(StepPlan::new(0, 4, 2).expect("valid").shard(0, 0), None);
        assert_eq!(StepPlan::new(10, 0, 2), None);
        assert_eq!(StepPlan::new(10, 4, 0), None);
    }
}
