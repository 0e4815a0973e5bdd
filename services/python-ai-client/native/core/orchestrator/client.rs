//! What a worker calls: join, request work, submit gradients, leave.

use std::time::Duration;

use pangea_content_hash::Method;
use pangea_wire::schema::{gradient_update, message, MessageType, Verdict, MAX_CHUNK_BYTES};
use pangea_wire::{
    write_tensor_bytes, Attachments, FlatLayout, Piece, Pool, SchemaName, WireError,
};

use super::join::{read_join, Join};
use super::snapshot::send_snapshot;
use super::work_reply::WorkReply;
use crate::error::CoreError;
use crate::link::{Connection, Received, Stopper, Waiter};
use crate::options::Options;
use crate::values::{check_hash, text, JoinReply, ShardReport, Timings};

/// How long a leaving worker waits for the reply: closing frees its shards anyway.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

type Builder = capnp::message::Builder<capnp::message::HeapAllocator>;

/// One connection to an orchestrator.
pub struct OrchestratorClient {
    connection: Connection,
    pool: Pool,
    /// Of the gradients; known once joined.
    layout: Option<FlatLayout>,
    /// Of the run; that of its settings once joined.
    content_hash: Method,
}

impl OrchestratorClient {
    pub fn connect(
        address: &str,
        options: Options,
        pool: &Pool,
        waiter: &mut impl Waiter,
    ) -> Result<Self, CoreError> {
        Ok(Self {
            connection: Connection::open(address, options, pool, waiter)?,
            pool: pool.clone(),
            layout: None,
            content_hash: Method::default(),
        })
    }

    pub fn stopper(&self) -> Stopper {
        self.connection.stopper()
    }

    /// Introduces the worker. From then until the connection ends, heartbeats fill the silences.
    pub fn join(
        &mut self,
        join: &Join<'_>,
        waiter: &mut impl Waiter,
    ) -> Result<JoinReply, CoreError> {
        let layout = join.check()?;
        let reply = self.connection.exchange(|connection| {
            let mut builder = Builder::new_default();
            let (request, root) = start(connection, &mut builder, MessageType::JoinRequest);
            let written = join.write(root.init_join_request());
            written.map_err(|error| connection.wire_error(error))?;
            send_plain(connection, &builder, waiter)?;
            connection.start_heartbeats(join.heartbeat)?;
            let received = receive(connection, request, MessageType::JoinReply, waiter)?;
            read_join(&received).map_err(|error| connection.wire_error(error))
        })?;
        self.layout = Some(layout);
        self.content_hash = reply.content_hash;
        Ok(reply)
    }

    /// Requests work, holding parameters after `step` steps. Waits as long as the connection lives.
    /// `stop`, if not empty, is why the run is to end after the last committed step.
    pub fn request_work(
        &mut self,
        step: u64,
        parameters_hash: &[u8],
        timings: Timings,
        stop: &str,
        waiter: &mut impl Waiter,
    ) -> Result<WorkReply, CoreError> {
        check_hash(parameters_hash, "parameters_hash")?;
        let layout = joined(&self.layout)?;
        let (content_hash, pool) = (self.content_hash, &self.pool);
        self.connection.exchange(|connection| {
            let mut builder = Builder::new_default();
            let (request, root) = start(connection, &mut builder, MessageType::WorkRequest);
            let mut work = root.init_work_request();
            work.set_step(step);
            work.set_parameters_hash(parameters_hash);
            work.set_stop(stop);
            let mut builder_timings = work.init_timings();
            builder_timings.set_data(timings.data);
            builder_timings.set_compute(timings.compute);
            builder_timings.set_exchange(timings.exchange);
            send_plain(connection, &builder, waiter)?;
            WorkReply::receive(connection, request, layout, content_hash, pool, waiter)
        })
    }

    /// Sends the gradient sum of the shards [first_shard, first_shard + shard_count), straight from
    /// `gradients`: the flat little-endian float32 vector over all parameters. Returns the verdict
    /// and its detail.
    pub fn submit(
        &mut self,
        step: u64,
        first_shard: u32,
        shard_count: u32,
        gradients: &[u8],
        reports: &[ShardReport],
        waiter: &mut impl Waiter,
    ) -> Result<(Verdict, String), CoreError> {
        let layout = joined(&self.layout)?;
        if gradients.len() != layout.total_bytes() {
            return Err(CoreError::Argument(format!(
                "gradients has {} bytes, the parameters need {} (float32, in the order given to join)",
                gradients.len(),
                layout.total_bytes()
            )));
        }
        for report in reports {
            check_hash(&report.batch_hash, "the batch hash of a report")?;
        }
        self.connection.exchange(|connection| {
            let request = connection.next_request_id();
            let frames = layout.frames(MAX_CHUNK_BYTES as usize);
            let last = frames.len() - 1;
            for (index, pieces) in frames.iter().enumerate() {
                let mut builder = Builder::new_default();
                let root = envelope(&mut builder, request, MessageType::GradientUpdate);
                let mut update = root.init_gradient_update();
                update.set_step(step);
                update.set_first_shard(first_shard);
                update.set_shard_count(shard_count);
                if index == last {
                    update.set_final(true);
                    write_reports(update.reborrow(), reports);
                }
                let written = write_pieces(update, layout, pieces, gradients);
                let attachments = written.map_err(|error| connection.wire_error(error))?;
                connection.send(&builder, attachments, waiter)?;
            }
            let received = receive(connection, request, MessageType::GradientAck, waiter)?;
            read_verdict(&received).map_err(|error| connection.wire_error(error))
        })
    }

    /// Sends the whole state, the bytes of a safetensors file, straight from `data`. It is not
    /// answered.
    pub fn send_snapshot(
        &mut self,
        step: u64,
        parameters_hash: &[u8],
        data: &[u8],
        waiter: &mut impl Waiter,
    ) -> Result<(), CoreError> {
        check_hash(parameters_hash, "parameters_hash")?;
        self.connection
            .exchange(|connection| send_snapshot(connection, step, parameters_hash, data, waiter))
    }

    /// Leaves the run and closes the connection: the shards of this worker go to others at once.
    /// `broken`, if not empty, is what this worker's script does that breaks the promise of the
    /// same bits.
    pub fn leave(
        &mut self,
        reason: &str,
        broken: &str,
        waiter: &mut impl Waiter,
    ) -> Result<(), CoreError> {
        let result = self.connection.exchange(|connection| {
            let mut builder = Builder::new_default();
            let (request, root) = start(connection, &mut builder, MessageType::Leave);
            let mut leave = root.init_leave();
            leave.set_reason(reason);
            leave.set_broken(broken);
            send_plain(connection, &builder, waiter)?;
            connection
                .receive_reply(request, Some(LEAVE_TIMEOUT), waiter)
                .map(drop)
        });
        self.connection.close();
        match result {
            // Closing frees the shards as well, so nothing is lost without the reply.
            Err(CoreError::Closed { .. } | CoreError::Lost { .. } | CoreError::Wire { .. }) => {
                Ok(())
            }
            result => result,
        }
    }

    pub fn close(&mut self) {
        self.connection.close();
    }

    pub fn address(&self) -> &str {
        self.connection.address()
    }
}

fn joined(layout: &Option<FlatLayout>) -> Result<&FlatLayout, CoreError> {
    layout
        .as_ref()
        .ok_or_else(|| CoreError::Argument("join the run before anything else".to_owned()))
}

fn start<'b>(
    connection: &mut Connection,
    builder: &'b mut Builder,
    kind: MessageType,
) -> (u64, message::Builder<'b>) {
    let request = connection.next_request_id();
    (request, envelope(builder, request, kind))
}

fn envelope(builder: &mut Builder, request: u64, kind: MessageType) -> message::Builder<'_> {
    let mut root = builder.init_root::<message::Builder<'_>>();
    root.set_type(kind);
    root.set_request_id(request);
    root
}

fn send_plain(
    connection: &mut Connection,
    builder: &Builder,
    waiter: &mut impl Waiter,
) -> Result<(), CoreError> {
    connection.send(builder, Attachments::<&[u8]>::new(), waiter)
}

/// The reply to a request that is answered at once; it must be of the type `kind`.
fn receive(
    connection: &mut Connection,
    request: u64,
    kind: MessageType,
    waiter: &mut impl Waiter,
) -> Result<Received, CoreError> {
    let patience = Some(connection.limits().progress_timeout);
    let received = connection.receive_reply(request, patience, waiter)?;
    if received.kind != kind {
        let reason = format!(
            "a reply of type {} where {} is due",
            received.kind.schema_name(),
            kind.schema_name()
        );
        return Err(connection.protocol_error(reason));
    }
    Ok(received)
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

fn read_verdict(received: &Received) -> Result<(Verdict, String), WireError> {
    let root = received.reader.get_root::<message::Reader<'_>>()?;
    let Ok(message::GradientAck(ack)) = root.which() else {
        return Err(WireError::MalformedHeader(
            "a gradient ack without a verdict",
        ));
    };
    let ack = ack?;
    let unsupported = |value| WireError::Unsupported {
        what: "verdict",
        value,
    };
    let verdict = match ack.get_verdict() {
        Ok(Verdict::Unspecified) => return Err(unsupported(Verdict::Unspecified as u16)),
        Ok(verdict) => verdict,
        Err(capnp::NotInSchema(value)) => return Err(unsupported(value)),
    };
    Ok((verdict, text(ack.get_detail()?, "the detail of a verdict")?))
}
