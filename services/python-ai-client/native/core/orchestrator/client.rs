//! What a worker calls: join, submit gradients, ask for work, leave.
//!
//! Asking and its answer are two calls, so that a worker can do something else in between.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use pangea_content_hash::Method;
use pangea_identity::Role;
use pangea_wire::schema::{message, MessageType, Verdict};
use pangea_wire::{AlignedBuffer, Attachments, FlatLayout, Pool, SchemaName, WireError};

use super::donation::{Donation, State};
use super::join::{read_join, Join};
use super::requests::{envelope, Builder, Update, Work};
use super::slots::{SlotMemory, Slots};
use super::work_reply::{ReplyMemory, WorkReply};
use crate::error::CoreError;
use crate::link::{Connection, Received, Stopper, Waiter};
use crate::options::Options;
use crate::values::{check_hash, detail, JoinReply};

/// How long a leaving worker waits for the reply: closing frees its shards anyway.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// One connection to an orchestrator.
pub struct OrchestratorClient {
    connection: Connection,
    pool: Pool,
    /// Of the gradients; known once joined.
    layout: Option<FlatLayout>,
    /// The request for work that has no answer yet.
    asked: Option<u64>,
    /// The gradient sums that were sent and have no verdict yet.
    submitted: VecDeque<u64>,
    /// Verdicts that have arrived.
    verdicts: Vec<(Verdict, String)>,
    /// Memory that gradients are submitted in.
    slots: Slots,
    /// Of the run; that of its settings once joined.
    content_hash: Method,
    /// Dropped after the connection, which ends it.
    donation: Donation,
}

impl OrchestratorClient {
    pub fn connect(
        address: &str,
        options: Options,
        pool: &Pool,
        waiter: &mut impl Waiter,
    ) -> Result<Self, CoreError> {
        Ok(Self {
            connection: Connection::open(address, Role::Orchestrator, options, pool, waiter)?,
            pool: pool.clone(),
            layout: None,
            asked: None,
            submitted: VecDeque::new(),
            verdicts: Vec::new(),
            slots: Slots::default(),
            content_hash: Method::default(),
            donation: Donation::default(),
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
        let slots = &mut self.slots;
        let reply = self.connection.exchange(|connection| {
            let mut builder = Builder::new_default();
            let (request, root) = start(connection, &mut builder, MessageType::JoinRequest);
            let written = join.write(root.init_join_request());
            written.map_err(|error| connection.wire_error(error))?;
            send_plain(connection, &builder, waiter)?;
            connection.start_heartbeats(join.heartbeat)?;
            let received = receive(connection, request, MessageType::JoinReply, waiter)?;
            let reply = read_join(&received).map_err(|error| connection.wire_error(error))?;
            if connection.shares_memory() {
                let announce = |id, region: &_| connection.send_region(id, region, waiter);
                slots.offer(1, layout.total_bytes(), announce)?;
            }
            Ok(reply)
        })?;
        self.layout = Some(layout);
        self.content_hash = reply.content_hash;
        Ok(reply)
    }

    /// Asks for work; [`answer`](Self::answer) waits for the reply.
    pub fn ask(&mut self, work: &Work<'_>, waiter: &mut impl Waiter) -> Result<(), CoreError> {
        self.send_and_ask(&[], Some(work), waiter)
    }

    /// Waits for the answer to the last request for work, as long as the connection lives. The
    /// verdicts on sums arrive before it; [`verdicts`](Self::verdicts) returns them.
    pub fn answer(&mut self, waiter: &mut impl Waiter) -> Result<WorkReply, CoreError> {
        self.receive_verdicts(waiter)?;
        let layout = joined(&self.layout)?;
        let asked = self.asked.take();
        let request = asked.ok_or_else(|| {
            CoreError::Argument("ask for work before waiting for the answer".to_owned())
        })?;
        let memory = ReplyMemory {
            layout,
            content_hash: self.content_hash,
            pool: &self.pool,
        };
        let slots = &mut self.slots;
        self.connection
            .exchange(|connection| WorkReply::receive(connection, request, memory, slots, waiter))
    }

    /// Memory to put gradients into that are then submitted from there, without a copy. None where
    /// none is free, or the orchestrator is reached over TCP.
    pub fn slot(&mut self) -> Option<SlotMemory> {
        self.slots.lend()
    }

    /// Whether memory can be shared with the orchestrator.
    pub fn shares_memory(&self) -> bool {
        self.connection.shares_memory()
    }

    /// Asks for work and waits for the answer.
    pub fn request_work(
        &mut self,
        work: &Work<'_>,
        waiter: &mut impl Waiter,
    ) -> Result<WorkReply, CoreError> {
        self.ask(work, waiter)?;
        self.answer(waiter)
    }

    /// Sends gradient sums as [`send_and_ask`](Self::send_and_ask) does, and waits for the verdict
    /// on each sum and its detail.
    pub fn submit_and_ask(
        &mut self,
        updates: &[Update<'_>],
        work: Option<&Work<'_>>,
        waiter: &mut impl Waiter,
    ) -> Result<Vec<(Verdict, String)>, CoreError> {
        self.send_and_ask(updates, work, waiter)?;
        self.verdicts(waiter)
    }

    /// The verdicts on the sums that were sent since the last call, in their order; those that have
    /// not arrived are waited for.
    pub fn verdicts(
        &mut self,
        waiter: &mut impl Waiter,
    ) -> Result<Vec<(Verdict, String)>, CoreError> {
        self.receive_verdicts(waiter)?;
        Ok(mem::take(&mut self.verdicts))
    }

    fn receive_verdicts(&mut self, waiter: &mut impl Waiter) -> Result<(), CoreError> {
        while let Some(request) = self.submitted.pop_front() {
            let (slots, verdicts) = (&mut self.slots, &mut self.verdicts);
            self.connection.exchange(|connection| {
                let received = receive(connection, request, MessageType::GradientAck, waiter)?;
                let released = slots.read_released(&received);
                released.map_err(|error| connection.wire_error(error))?;
                let verdict = read_verdict(&received);
                verdicts.push(verdict.map_err(|error| connection.wire_error(error))?);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Sends gradient sums, straight from their memory, and after them the request for `work`, if
    /// there is one: all in one write, so that a step needs one round trip.
    /// [`answer`](Self::answer) waits for the work.
    pub fn send_and_ask(
        &mut self,
        updates: &[Update<'_>],
        work: Option<&Work<'_>>,
        waiter: &mut impl Waiter,
    ) -> Result<(), CoreError> {
        self.verdicts.clear();
        let layout = joined(&self.layout)?;
        for update in updates {
            update.check(layout)?;
        }
        if let Some(work) = work {
            work.check()?;
        }
        let (asked, slots, submitted) = (&mut self.asked, &mut self.slots, &mut self.submitted);
        self.connection.exchange(|connection| {
            if connection.shares_memory() {
                let announce = |id, region: &_| connection.send_region(id, region, waiter);
                slots.offer(updates.len(), layout.total_bytes(), announce)?;
            }
            let mut frames = Vec::new();
            let mut requests = Vec::with_capacity(updates.len());
            for update in updates {
                let request = connection.next_request_id();
                match slots.place(update.gradients, update.digest) {
                    Some(placed) => frames.push(update.placed(request, &placed, connection)?),
                    None => update.push_frames(request, layout, connection, &mut frames)?,
                }
                requests.push(request);
            }
            let mut asking = None;
            if let Some(work) = work {
                let request = connection.next_request_id();
                frames.push(connection.frame(&work.message(request), Attachments::new())?);
                asking = Some(request);
            }
            let Some(first) = requests.first().copied().or(asking) else {
                return Ok(());
            };
            connection.send_all(&frames, first, None, waiter)?;
            *asked = asking.or(*asked);
            submitted.extend(requests);
            Ok(())
        })
    }

    /// Gives the whole state after `step` steps: the bytes of a safetensors file, in `parts`. They
    /// are copied before this returns. A thread sends the copy, between the frames of what is
    /// called next; it is not answered. There is one copy at a time: this waits for the one before.
    pub fn give_state(
        &mut self,
        step: u64,
        parameters_hash: &[u8],
        parts: &[&[u8]],
        waiter: &mut impl Waiter,
    ) -> Result<(), CoreError> {
        check_hash(parameters_hash, "parameters_hash")?;
        self.donation.wait(waiter)?;
        let (pool, donation) = (&self.pool, &mut self.donation);
        self.connection.exchange(|connection| {
            let copied = copied(parts, pool).map_err(|error| connection.wire_error(error))?;
            let state = State {
                request: connection.next_request_id(),
                step,
                parameters_hash: parameters_hash.to_vec(),
                file: copied,
            };
            let started = Donation::start(state, connection.beside());
            *donation = started.map_err(|source| {
                connection.wire_error(WireError::Io {
                    doing: "starting the thread that sends the state",
                    source,
                })
            })?;
            Ok(())
        })
    }

    /// Leaves the run and closes the connection: the shards of this worker go to others at once.
    /// `broken`, if not empty, is what this worker's script does that breaks the promise of the
    /// same bits.
    pub fn leave(
        &mut self,
        reason: &str,
        broken: &str,
        cannot_load: bool,
        waiter: &mut impl Waiter,
    ) -> Result<(), CoreError> {
        // It may be the last state of the run.
        self.donation.wait(waiter)?;
        let result = self.connection.exchange(|connection| {
            let mut builder = Builder::new_default();
            let (request, root) = start(connection, &mut builder, MessageType::Leave);
            let mut leave = root.init_leave();
            leave.set_reason(reason);
            leave.set_broken(broken);
            leave.set_cannot_load(cannot_load);
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

/// One piece of memory with copies of `parts`.
fn copied(parts: &[&[u8]], pool: &Pool) -> Result<AlignedBuffer, WireError> {
    let mut copy = pool.buffer(parts.iter().map(|part| part.len()).sum())?;
    for part in parts {
        copy.extend_from_slice(part)?;
    }
    Ok(copy)
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
    Ok((
        verdict,
        detail(ack.get_detail()?, "the detail of a verdict")?,
    ))
}
