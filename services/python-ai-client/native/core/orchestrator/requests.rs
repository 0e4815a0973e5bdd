//! What a worker sends in every step: gradient sums, and the request for work.

use pangea_wire::schema::{gradient_update, message, MessageType};
use pangea_wire::{
    write_tensor_bytes, Attachments, FlatLayout, Frame, Piece, WireError, FRAME_BYTES,
};

use super::slots::Placed;
use crate::error::CoreError;
use crate::link::Connection;
use crate::values::{check_hash, write_figures, Figure, ShardReport, Timings};

pub(super) type Builder = capnp::message::Builder<capnp::message::HeapAllocator>;

/// What a worker reports when it asks for work.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// Steps applied to its parameters.
    pub step: u64,
    pub parameters_hash: &'a [u8],
    pub timings: Timings,
    /// Why the run is to end after the last committed step; empty where it is not.
    pub stop: &'a str,
    /// What the script logged after the last of these steps.
    pub figures: &'a [Figure],
}

/// The gradient sum of the shards [first_shard, first_shard + shard_count).
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    pub step: u64,
    pub first_shard: u32,
    pub shard_count: u32,
    /// The flat little-endian float32 vector over all parameters. It is sent from here.
    pub gradients: &'a [u8],
    pub reports: &'a [ShardReport],
    /// The content hash (`xxh3Tree`) of gradients in a slot, where it is known.
    pub digest: Option<[u8; 32]>,
}

impl Work<'_> {
    pub(super) fn check(&self) -> Result<(), CoreError> {
        check_hash(self.parameters_hash, "parameters_hash")
    }

    pub(super) fn message(&self, request: u64) -> Builder {
        let mut builder = Builder::new_default();
        let root = envelope(&mut builder, request, MessageType::WorkRequest);
        let mut work = root.init_work_request();
        work.set_step(self.step);
        work.set_parameters_hash(self.parameters_hash);
        work.set_stop(self.stop);
        write_figures(
            work.reborrow().init_figures(self.figures.len() as u32),
            self.figures,
        );
        let mut timings = work.init_timings();
        timings.set_data(self.timings.data);
        timings.set_compute(self.timings.compute);
        timings.set_exchange(self.timings.exchange);
        builder
    }
}

impl<'a> Update<'a> {
    pub(super) fn check(&self, layout: &FlatLayout) -> Result<(), CoreError> {
        if self.gradients.len() != layout.total_bytes() {
            return Err(CoreError::Argument(format!(
                "gradients has {} bytes, the parameters need {} (float32, in the order given to join)",
                self.gradients.len(),
                layout.total_bytes()
            )));
        }
        for report in self.reports {
            check_hash(&report.batch_hash, "the batch hash of a report")?;
        }
        Ok(())
    }

    /// The one frame of an update whose gradients are in shared memory.
    pub(super) fn placed(
        &self,
        request: u64,
        placed: &Placed,
        connection: &Connection,
    ) -> Result<Frame<&'a [u8]>, CoreError> {
        let mut builder = Builder::new_default();
        let root = envelope(&mut builder, request, MessageType::GradientUpdate);
        let mut update = root.init_gradient_update();
        update.set_step(self.step);
        update.set_first_shard(self.first_shard);
        update.set_shard_count(self.shard_count);
        update.set_final(true);
        write_reports(update.reborrow(), self.reports);
        placed.write(update.init_place());
        connection.frame(&builder, Attachments::new())
    }

    pub(super) fn push_frames(
        &self,
        request: u64,
        layout: &FlatLayout,
        connection: &Connection,
        frames: &mut Vec<Frame<&'a [u8]>>,
    ) -> Result<(), CoreError> {
        let pieces = layout.frames(FRAME_BYTES);
        let last = pieces.len() - 1;
        for (index, pieces) in pieces.iter().enumerate() {
            let mut builder = Builder::new_default();
            let root = envelope(&mut builder, request, MessageType::GradientUpdate);
            let mut update = root.init_gradient_update();
            update.set_step(self.step);
            update.set_first_shard(self.first_shard);
            update.set_shard_count(self.shard_count);
            if index == last {
                update.set_final(true);
                write_reports(update.reborrow(), self.reports);
            }
            let written = write_pieces(update, layout, pieces, self.gradients);
            let attachments = written.map_err(|error| connection.wire_error(error))?;
            frames.push(connection.frame(&builder, attachments)?);
        }
        Ok(())
    }
}

fn write_reports(update: gradient_update::Builder<'_>, reports: &[ShardReport]) {
    let mut list = update.init_reports(reports.len() as u32);
    for (report, index) in reports.iter().zip(0..) {
        let mut builder = list.reborrow().get(index);
        builder.set_shard(report.shard);
        builder.set_samples(report.samples);
        builder.set_loss_sum(report.loss_sum);
        builder.set_batch_hash(&report.batch_hash);
        builder.set_weight(report.weight);
        builder.set_summed(report.summed);
        builder.set_stop(report.stop.as_str());
        write_figures(
            builder.init_figures(report.figures.len() as u32),
            &report.figures,
        );
    }
}

fn write_pieces<'g>(
    update: gradient_update::Builder<'_>,
    layout: &FlatLayout,
    pieces: &[Piece],
    gradients: &'g [u8],
) -> Result<Attachments<&'g [u8]>, WireError> {
    let mut attachments = Attachments::new();
    let mut list = update.init_gradients(pieces.len() as u32);
    for (piece, index) in pieces.iter().zip(0..) {
        let spec = &layout.specs()[piece.tensor];
        let bytes = &gradients[piece.flat.clone()];
        let builder = list.reborrow().get(index);
        write_tensor_bytes(builder, spec, piece.byte_offset, bytes, &mut attachments)?;
    }
    Ok(attachments)
}

pub(super) fn envelope(
    builder: &mut Builder,
    request: u64,
    kind: MessageType,
) -> message::Builder<'_> {
    let mut root = builder.init_root::<message::Builder<'_>>();
    root.set_type(kind);
    root.set_request_id(request);
    root
}
