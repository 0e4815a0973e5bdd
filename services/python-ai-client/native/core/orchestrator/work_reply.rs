//! Replies to a work request: a lease, an aggregate or a snapshot in pieces, a request for a
//! snapshot, or the end of the run.

use std::sync::Arc;

use pangea_content_hash::{ContentHasher, Method};
use pangea_shared_memory::ReadOnlyRegion;
use pangea_wire::schema::{aggregate, message, shard_lease, MessageType, MAX_SHARDS};
use pangea_wire::{AlignedBuffer, FlatAssembler, FlatLayout, Pool, TensorData, WireError};

use super::shared_gradients::SharedGradients;
use super::slots::Slots;
use super::snapshot::{Snapshot, SnapshotAssembler};
use crate::error::CoreError;
use crate::link::{Connection, Received, Waiter};
use crate::values::{at_most, detail, hash};

/// The memory of an aggregate.
pub enum Gradients {
    /// It arrived here.
    Received(AlignedBuffer),
    /// It is the orchestrator's, to be read until the next request for work.
    Shared(SharedGradients),
}

/// What a reply is read into.
#[derive(Clone, Copy)]
pub(super) struct ReplyMemory<'l> {
    pub(super) layout: &'l FlatLayout,
    pub(super) content_hash: Method,
    pub(super) pool: &'l Pool,
}

/// What to do next.
pub enum WorkReply {
    /// Compute these shards of the open step.
    ShardLease {
        step: u64,
        epoch: u32,
        epoch_step: u32,
        shards: Vec<u32>,
        /// Those of `shards` that are to be submitted as updates of one shard each.
        separate: Vec<u32>,
    },
    /// Apply the gradient sum of a closed step: one flat float32 vector. The hash has been
    /// verified.
    Aggregate {
        step: u64,
        samples: u64,
        loss_sum: f64,
        /// What `gradients` is to be divided by; at least 0.
        divisor: f64,
        gradients: Gradients,
        hash: Vec<u8>,
    },
    /// Send the state after `step` steps.
    SnapshotRequest { step: u64 },
    /// Take over this state.
    Snapshot(Snapshot),
    /// All steps are committed.
    RunFinished {
        steps: u64,
        parameters_hash: Vec<u8>,
        /// Incidents in the run's ledger.
        incidents: u64,
        /// Why the run ended before its last step; empty where it did not.
        stopped: String,
    },
}

impl WorkReply {
    /// Receives the whole reply to `request`, however long the orchestrator holds it back.
    pub(super) fn receive(
        connection: &mut Connection,
        request: u64,
        memory: ReplyMemory<'_>,
        slots: &mut Slots,
        waiter: &mut impl Waiter,
    ) -> Result<Self, CoreError> {
        let mut received = connection.receive_reply(request, None, waiter)?;
        let (mut aggregate, mut snapshot) = (None, None);
        loop {
            let kind = received.kind;
            let released = slots.read_released(&received);
            released.map_err(|error| connection.wire_error(error))?;
            let whole = match kind {
                MessageType::Aggregate => {
                    let regions = |id| connection.find_region(id);
                    add_aggregate(&mut aggregate, received, memory, regions)
                }
                MessageType::Snapshot => {
                    let assembler = snapshot.get_or_insert_with(SnapshotAssembler::default);
                    let whole = assembler.add(received, memory.pool);
                    whole.map(|snapshot| snapshot.map(Self::Snapshot))
                }
                _ => read_single(received).map(Some),
            };
            if let Some(whole) = whole.map_err(|error| connection.wire_error(error))? {
                return Ok(whole);
            }
            if kind == MessageType::Aggregate && aggregate.is_none() {
                // It was abandoned before its commit: the request still has to be answered.
                received = connection.receive_reply(request, None, waiter)?;
                continue;
            }
            // The other frames of a reply follow the first one closely.
            let patience = Some(connection.limits().progress_timeout);
            received = connection.receive_reply(request, patience, waiter)?;
            if received.kind != kind {
                return Err(
                    connection.protocol_error("a reply in pieces is mixed with another one")
                );
            }
        }
    }
}

fn read_single(received: Received) -> Result<WorkReply, WireError> {
    let root = received.reader.get_root::<message::Reader<'_>>()?;
    match root.which() {
        Ok(message::ShardLease(lease)) => read_lease(lease?),
        Ok(message::SnapshotRequest(request)) => Ok(WorkReply::SnapshotRequest {
            step: request?.get_step(),
        }),
        Ok(message::RunFinished(finished)) => {
            let finished = finished?;
            Ok(WorkReply::RunFinished {
                steps: finished.get_steps(),
                parameters_hash: hash(
                    finished.get_parameters_hash()?,
                    "RunFinished.parametersHash",
                )?,
                incidents: finished.get_incidents(),
                stopped: detail(finished.get_stopped()?, "why the run was stopped")?,
            })
        }
        _ => Err(WireError::Field {
            field: "the reply to a work request",
            reason: "is of a type that does not answer one".to_owned(),
        }),
    }
}

fn read_lease(lease: shard_lease::Reader<'_>) -> Result<WorkReply, WireError> {
    let shards = read_shards("shardLease.shards", lease.get_shards()?)?;
    let ascending = shards.windows(2).all(|pair| pair[0] < pair[1]);
    let last = shards.last().copied().unwrap_or(MAX_SHARDS);
    if last >= MAX_SHARDS || !ascending {
        return Err(WireError::Field {
            field: "shardLease.shards",
            reason: format!("{shards:?} is not ascending with at least one shard"),
        });
    }
    let separate = read_shards("shardLease.separate", lease.get_separate()?)?;
    let leased = |shard: &u32| shards.binary_search(shard).is_ok();
    if let Some(other) = separate.iter().find(|shard| !leased(shard)) {
        return Err(WireError::Field {
            field: "shardLease.separate",
            reason: format!("has shard {other}, which is not among the leased {shards:?}"),
        });
    }
    Ok(WorkReply::ShardLease {
        step: lease.get_step(),
        epoch: lease.get_epoch(),
        epoch_step: lease.get_epoch_step(),
        shards,
        separate,
    })
}

fn read_shards(
    field: &'static str,
    shards: capnp::primitive_list::Reader<'_, u32>,
) -> Result<Vec<u32>, WireError> {
    at_most(field, shards.len() as usize, MAX_SHARDS)?;
    Ok(shards.iter().collect())
}

/// An aggregate of which some frames have arrived. Most of them may come before its step is
/// committed; nothing is applied before the final one, which comes after that.
pub(crate) struct PartialAggregate<'l> {
    gradients: FlatAssembler<'l>,
    digest: ContentHasher,
    /// `step`, `samples` and the bits of `lossSum` and `divisor`, which are the same in each frame.
    counts: (u64, u64, u64, u64),
}

fn counts(frame: aggregate::Reader<'_>) -> (u64, u64, u64, u64) {
    (
        frame.get_step(),
        frame.get_samples(),
        frame.get_loss_sum().to_bits(),
        frame.get_divisor().to_bits(),
    )
}

fn add_aggregate<'l>(
    partial: &mut Option<PartialAggregate<'l>>,
    received: Received,
    memory: ReplyMemory<'l>,
    regions: impl Fn(u32) -> Result<Arc<ReadOnlyRegion>, WireError>,
) -> Result<Option<WorkReply>, WireError> {
    let malformed = |reason: &str| WireError::Field {
        field: "aggregate",
        reason: reason.to_owned(),
    };
    let root = received.reader.get_root::<message::Reader<'_>>()?;
    let Ok(message::Aggregate(frame)) = root.which() else {
        return Err(malformed("is not what the union holds"));
    };
    let frame = frame?;
    if frame.get_abandoned() {
        *partial = None;
        return Ok(None);
    }
    if frame.has_place() {
        let place = frame.get_place()?;
        let shared = SharedGradients::at(
            regions(place.get_region())?,
            place,
            memory.layout.total_bytes(),
        )?;
        let sum = hash(frame.get_hash()?, "Aggregate.hash")?;
        return whole(frame, Gradients::Shared(shared), sum).map(Some);
    }
    let mut current = match partial.take() {
        Some(partial) => partial,
        None => PartialAggregate {
            gradients: memory.layout.assembler(memory.pool)?,
            digest: ContentHasher::new(memory.content_hash, memory.layout.total_bytes() as u64),
            counts: counts(frame),
        },
    };
    if current.counts != counts(frame) {
        return Err(malformed(
            "has frames that differ in step, samples, lossSum or divisor",
        ));
    }
    for piece in frame.get_gradients()? {
        let piece = TensorData::read(piece)?;
        current.digest.update(piece.data);
        current.gradients.push(&piece)?;
    }
    if !frame.get_final() {
        *partial = Some(current);
        return Ok(None);
    }
    let expected = hash(frame.get_hash()?, "Aggregate.hash")?;
    let gradients = current.gradients.finish()?;
    if current.digest.finish()[..] != expected {
        return Err(malformed("has bytes that do not match its hash"));
    }
    whole(frame, Gradients::Received(gradients), expected).map(Some)
}

/// The aggregate that the last frame completes.
fn whole(
    frame: aggregate::Reader<'_>,
    gradients: Gradients,
    hash: Vec<u8>,
) -> Result<WorkReply, WireError> {
    let malformed = |reason: &str| WireError::Field {
        field: "aggregate",
        reason: reason.to_owned(),
    };
    if frame.get_samples() == 0 {
        return Err(malformed("has no samples"));
    }
    let divisor = frame.get_divisor();
    if !divisor.is_finite() || divisor < 0.0 {
        return Err(malformed(&format!("has the divisor {divisor}")));
    }
    Ok(WorkReply::Aggregate {
        step: frame.get_step(),
        samples: frame.get_samples(),
        loss_sum: frame.get_loss_sum(),
        divisor,
        gradients,
        hash,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(shards: &[u32], separate: &[u32]) -> Result<usize, String> {
        let mut message = capnp::message::Builder::new_default();
        let mut lease = message.init_root::<shard_lease::Builder<'_>>();
        lease.set_shards(shards).expect("room");
        lease.set_separate(separate).expect("room");
        match read_lease(lease.into_reader()) {
            Ok(WorkReply::ShardLease { shards, .. }) => Ok(shards.len()),
            Ok(_) => Err("another reply".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_lease_has_at_most_the_shards_of_a_step() {
        let all: Vec<u32> = (0..MAX_SHARDS).collect();
        assert_eq!(lease(&all, &all), Ok(1024));
        let many: Vec<u32> = (0..200_000).collect();
        for (shards, separate, reason) in [
            (&many[..], &many[..], "shards has the length 200000"),
            (&all, &many, "separate has the length 200000"),
            (&[MAX_SHARDS], &[], "not ascending"),
            (&[], &[], "not ascending"),
            (&[2, 1], &[], "not ascending"),
            (&[1, 3], &[2], "has shard 2"),
        ] {
            let error = lease(shards, separate).expect_err("refused");
            assert!(error.contains(reason), "{error}");
            assert!(error.len() < 10_000);
        }
    }
}
