//! How an epoch is cut into steps, and a step into shards.

use std::ops::Range;

/// The cut of one epoch. Positions are those of the epoch's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepPlan {
    samples: u64,
    batch_size: u64,
    shards: u64,
    min_shard_samples: u64,
}

impl StepPlan {
    /// `batch_size` counts the samples of a whole step; shards of a step are merged until each has
    /// at least `min_shard_samples`, where 0 and 1 merge none. None if `batch_size` is 0 or
    /// `shards` is not a power of two.
    pub fn new(samples: u64, batch_size: u32, shards: u32, min_shard_samples: u32) -> Option<Self> {
        (batch_size > 0 && shards.is_power_of_two()).then_some(Self {
            samples,
            batch_size: u64::from(batch_size),
            shards: u64::from(shards),
            // Empty shards alone do not require a merge: such small steps keep the cut that they
            // had before shards were merged.
            min_shard_samples: if min_shard_samples > 1 {
                u64::from(min_shard_samples)
            } else {
                0
            },
        })
    }

    /// Steps of an epoch: ceil(samples / batch size). A run that drops the last step uses one less.
    pub fn steps(&self) -> u64 {
        self.samples.div_ceil(self.batch_size)
    }

    /// The positions of a shard of a step; the range may be empty. `None` for a step or a shard
    /// that does not exist.
    ///
    /// With n samples in the step, shard s of S holds [n*s/S, n*(s+1)/S) of them. Where that gives
    /// a shard too few, S is halved until no shard has too few: the first shard of each merged
    /// group holds all samples of the group and the others are empty, so that the group is one node
    /// of the tree of sums.
    pub fn shard(&self, step: u64, shard: u64) -> Option<Range<u64>> {
        if step >= self.steps() || shard >= self.shards {
            return None;
        }
        let start = step * self.batch_size;
        let samples = self.batch_size.min(self.samples - start);
        let merged = self.merged(samples);
        let (group, place) = (
            shard / (self.shards / merged),
            shard % (self.shards / merged),
        );
        let (first, end) = (
            start + samples * group / merged,
            start + samples * (group + 1) / merged,
        );
        Some(if place == 0 { first..end } else { end..end })
    }

    /// The number of shards that a step of `samples` samples is cut into.
    fn merged(&self, samples: u64) -> u64 {
        let mut shards = self.shards;
        while shards > 1 && samples / shards < self.min_shard_samples {
            shards /= 2;
        }
        shards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_follow_each_other_without_a_gap() {
        for (samples, batch_size, shards, min_shard_samples) in [
            (1438, 64, 8, 0),
            (1438, 64, 8, 5),
            (7, 3, 4, 0),
            (7, 3, 4, 2),
            (1, 1, 1024, 2),
            (64, 64, 1, 65),
            (5, 1_048_576, 2, 2),
        ] {
            let plan =
                StepPlan::new(samples, batch_size, shards, min_shard_samples).expect("valid");
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
        let plan = StepPlan::new(10, 4, 2, 0).expect("valid");
        assert_eq!(plan.steps(), 3);
        assert_eq!(plan.shard(2, 1), Some(9..10));
        assert_eq!(plan.shard(3, 0), None);
        assert_eq!(plan.shard(0, 2), None);
        assert_eq!(StepPlan::new(0, 4, 2, 0).expect("valid").shard(0, 0), None);
        assert_eq!(StepPlan::new(10, 0, 2, 0), None);
        assert_eq!(StepPlan::new(10, 4, 0, 0), None);
        assert_eq!(StepPlan::new(10, 4, 3, 0), None);
    }

    /// Tests of each language that cuts steps read this file, which none of their code has made.
    #[test]
    fn the_cut_is_the_same_in_every_language() {
        let cuts: serde_json::Value =
            serde_json::from_str(include_str!("../testdata/cuts.json")).expect("JSON");
        let cuts = cuts.as_array().expect("a list");
        assert!(cuts.len() > 100);
        for cut in cuts {
            let number = |name: &str| cut[name].as_u64().expect("a number");
            let shards = number("shards");
            let small = |name: &str| number(name) as u32;
            let plan = StepPlan::new(
                number("samples"),
                small("batch_size"),
                small("shards"),
                small("min_shard_samples"),
            )
            .expect("valid");
            let left_out = u64::from(number("left_out") > 0);
            assert_eq!(plan.steps(), number("steps") + left_out, "{cut}");
            for (step, wanted) in cut["ranges"].as_object().expect("by step") {
                let step = step.parse().expect("a number");
                let ranges: Vec<_> = (0..shards)
                    .filter_map(|shard| plan.shard(step, shard).map(|range| (shard, range)))
                    .filter(|(_, range)| !range.is_empty())
                    .map(|(shard, range)| serde_json::json!([shard, range.start, range.end]))
                    .collect();
                assert_eq!(
                    &serde_json::Value::from(ranges),
                    wanted,
                    "step {step} of {cut}"
                );
            }
        }
    }
}
