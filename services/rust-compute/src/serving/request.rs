//! Batch requests, checked against the dataset before anything is computed.

use pangea_content_hash::Method;
use pangea_order::StepPlan;
use pangea_wire::schema::{
    batch_request, Split as WireSplit, MAX_BATCH_SIZE, MAX_FRAME_BYTES, MAX_SHARDS,
};
use rust_compute_dataset::Dataset;

use crate::error::RequestError;

/// Largest data of a batch: a frame that every reader accepts, less 1 MiB for everything else in
/// it.
pub const MAX_BATCH_BYTES: u64 = MAX_FRAME_BYTES as u64 - (1 << 20);
const SAMPLE_ID_BYTES: u64 = 8;

/// The part of a dataset that a batch is taken from, and what fixes the order of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Train { seed: u64, epoch: u32 },
    HeldOut,
}

/// A request that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub part: Part,
    pub epoch: u32,
    /// Within the epoch, below `epoch_steps`.
    pub step: u32,
    pub shard: u32,
    pub epoch_steps: u32,
    pub content_hash: Method,
    /// Positions in the order of the part: the first one, and the one after the last. They lie
    /// within the part.
    pub start: usize,
    pub end: usize,
}

impl Request {
    /// Reads a request for a batch of this dataset.
    pub fn read(
        reader: batch_request::Reader<'_>,
        dataset: &Dataset,
    ) -> Result<Self, RequestError> {
        let (seed, epoch, step, shard) = (
            reader.get_seed(),
            reader.get_epoch(),
            reader.get_step(),
            reader.get_shard(),
        );
        let (batch_size, shards) = (reader.get_batch_size(), reader.get_shards());
        let (part, samples) = match reader.get_split() {
            Ok(WireSplit::Train) => (Part::Train { seed, epoch }, dataset.split.train.len()),
            Ok(WireSplit::HeldOut) => (Part::HeldOut, dataset.split.held_out.len()),
            Err(unknown) => return Err(RequestError::UnknownSplit { value: unknown.0 }),
        };
        let content_hash = reader
            .get_content_hash()
            .map_err(|unknown| RequestError::UnknownContentHash { value: unknown.0 })?
            .into();
        if !(1..=MAX_BATCH_SIZE).contains(&batch_size) {
            return Err(RequestError::BatchSize { batch_size });
        }
        if !(1..=MAX_SHARDS).contains(&shards) || !shards.is_power_of_two() {
            return Err(RequestError::Shards { shards });
        }
        if shard >= shards {
            return Err(RequestError::Shard { shard, shards });
        }
        let min_shard_samples = reader.get_min_shard_samples();
        let samples = samples as u64;
        // None only for shards that are not a power of two, or a batch size of 0.
        let plan = StepPlan::new(samples, batch_size, shards, min_shard_samples)
            .ok_or(RequestError::Shards { shards })?;
        let Some(range) = plan.shard(u64::from(step), u64::from(shard)) else {
            let steps = plan.steps();
            return Err(RequestError::Step {
                step,
                steps,
                samples,
            });
        };
        // A sample has at most 2^20 features and as many labels, a shard at most 2^20 samples, so
        // this does not overflow.
        let row_bytes = dataset.features.row_bytes() + dataset.labels.row_bytes();
        let bytes = (range.end - range.start) * (SAMPLE_ID_BYTES + row_bytes as u64);
        if bytes > MAX_BATCH_BYTES {
            return Err(RequestError::TooLarge {
                batch_size,
                shards,
                min_shard_samples,
                bytes,
            });
        }
        Ok(Self {
            part,
            epoch,
            step,
            shard,
            // There are at most as many steps as samples, which are fewer than 2^32.
            epoch_steps: plan.steps() as u32,
            content_hash,
            start: range.start as usize,
            end: range.end as usize,
        })
    }
}

#[cfg(test)]
mod tests {
    use rust_compute_fixtures::{small, wide};

    use super::*;

    fn read(change: impl Fn(batch_request::Builder<'_>)) -> Result<Request, RequestError> {
        let mut message = capnp::message::Builder::new_default();
        let mut builder = message.init_root::<batch_request::Builder<'_>>();
        builder.set_batch_size(8);
        builder.set_shards(4);
        change(builder.reborrow());
        Request::read(builder.into_reader(), &small())
    }

    #[test]
    fn a_request_becomes_positions() {
        let request = read(|mut b| {
            b.set_step(1);
            b.set_shard(3);
            b.set_seed(5);
            b.set_epoch(2);
        })
        .expect("valid");
        assert_eq!(
            (request.start, request.end, request.epoch_steps),
            (14, 16, 2)
        );
        assert_eq!(request.part, Part::Train { seed: 5, epoch: 2 });
        let held_out = read(|mut b| b.set_split(WireSplit::HeldOut)).expect("valid");
        assert_eq!(
            (held_out.part, held_out.start, held_out.end),
            (Part::HeldOut, 0, 1)
        );
    }

    #[test]
    fn shards_that_would_have_too_few_samples_are_merged() {
        for (shard, positions) in [(0, (8, 12)), (1, (12, 12)), (2, (12, 16)), (3, (16, 16))] {
            let request = read(|mut b| {
                b.set_step(1);
                b.set_shard(shard);
                b.set_min_shard_samples(3);
            })
            .expect("valid");
            assert_eq!((request.start, request.end), positions, "shard {shard}");
        }
        let held_out = read(|mut b| {
            b.set_split(WireSplit::HeldOut);
            b.set_min_shard_samples(u32::MAX);
        })
        .expect("valid");
        assert_eq!((held_out.start, held_out.end), (0, 4));
    }

    type Change = fn(batch_request::Builder<'_>);

    #[test]
    fn a_wrong_field_is_named() {
        let cases: [(&str, Change); 7] = [
            ("batchSize is 0", |mut b| b.set_batch_size(0)),
            ("batchSize is 1048577", |mut b| b.set_batch_size(1_048_577)),
            ("shards is 3", |mut b| b.set_shards(3)),
            ("shards is 0", |mut b| b.set_shards(0)),
            ("shards is 2048", |mut b| b.set_shards(2048)),
            ("shard is 4", |mut b| b.set_shard(4)),
            ("step is 2; it must be below 2", |mut b| b.set_step(2)),
        ];
        for (reason, change) in cases {
            let error = read(change).expect_err("refused").to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    /// A peer with a newer schema may know more splits than this program.
    #[test]
    fn an_unknown_split_is_named() {
        let mut message = capnp::message::Builder::new_default();
        message.init_root::<batch_request::Builder<'_>>();
        let mut bytes = capnp::serialize::write_message_to_words(&message);
        // One word of segment table, one of root pointer; `split` is the first field.
        bytes[16] = 7;
        let reader = capnp::serialize::read_message(bytes.as_slice(), Default::default());
        let reader = reader.expect("a frame");
        let error = Request::read(reader.get_root().expect("a request"), &small());
        let error = error.expect_err("refused").to_string();
        assert!(error.contains("split has the unknown value 7"), "{error}");
    }

    #[test]
    fn a_shard_too_large_for_a_frame_is_refused() {
        let width = 1 << 18;
        let wide = wide(20, width);
        let mut message = capnp::message::Builder::new_default();
        let mut builder = message.init_root::<batch_request::Builder<'_>>();
        builder.set_batch_size(20);
        builder.set_shards(1);
        let error = Request::read(builder.reborrow_as_reader(), &wide)
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains("batchSize is 20 over 1 shards, minShardSamples is 0"),
            "{error}"
        );
        builder.set_shards(2);
        assert!(Request::read(builder.into_reader(), &wide).is_ok());
    }
}
