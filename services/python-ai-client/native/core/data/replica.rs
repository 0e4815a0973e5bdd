//! The connection to one replica of a data service, which is re-established whenever it is lost.
//!
//! One thread connects, receives and verifies the batches; while connected, a second one sends the
//! requests. Both block on the socket or on a condition variable; neither polls.

use std::mem;
use std::sync::Arc;
use std::thread;

use pangea_wire::blocking::{poll_write, FrameReader, Polled};
use pangea_wire::schema::{message, ErrorAction, MessageType};
use pangea_wire::{
    message_type, Attachments, Frame, FrameCursor, FrameDecoder, Limits, Pool, ReceivedFrame,
    WireError,
};

use super::dispatch::DATASET_REQUEST;
use super::lent::{Borrower, Loans};
use super::shared::SharedDispatcher;
use super::{Batch, BatchKey};
use crate::error::CoreError;
use crate::link::{
    attempt, is_about_identity, sleep, Backoff, Endpoint, Peer, Progress, Received, Stream, Waiter,
};
use crate::values::{read_error, DatasetInfo};

type Builder = capnp::message::Builder<capnp::message::HeapAllocator>;

/// Why a connection ended.
enum ConnectionEnd {
    /// The client was closed.
    Closed,
    /// Nobody answers, or no longer: the replica may come back.
    Lost(String),
    /// It sent something that cannot be right.
    Corrupt(WireError),
    /// It answers, but it is not a replica of this data; reconnecting will not help.
    Refused(String),
}

impl From<CoreError> for ConnectionEnd {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::Interrupted => Self::Closed,
            other => Self::Lost(other.to_string()),
        }
    }
}

impl From<WireError> for ConnectionEnd {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Io { ref source, .. } if is_about_identity(source) => {
                Self::Refused(source.to_string())
            }
            WireError::Io { .. } | WireError::Stalled { .. } | WireError::Truncated { .. } => {
                Self::Lost(error.to_string())
            }
            other => Self::Corrupt(other),
        }
    }
}

/// Ends a wait when the client is closed.
struct UntilClosed<'r>(&'r SharedDispatcher);

impl Waiter for UntilClosed<'_> {
    fn tick(&mut self) -> Result<(), CoreError> {
        if self.0.lock().is_closed() {
            return Err(CoreError::Interrupted);
        }
        Ok(())
    }
}

pub(crate) struct Replica {
    pub(crate) slot: usize,
    pub(crate) address: String,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) peer: Peer,
    pub(crate) shared: Arc<SharedDispatcher>,
    pub(crate) limits: Limits,
    pub(crate) pool: Pool,
}

impl Replica {
    /// The body of the receiving thread: connects, serves and reconnects until the client is
    /// closed.
    pub(crate) fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            let mut replies = 0;
            let end = self.connect_and_serve(&mut replies);
            self.shared.disconnect(self.slot);
            if replies > 0 {
                backoff = Backoff::default();
            }
            let (error, refused, corrupt) = match end {
                ConnectionEnd::Closed => return,
                ConnectionEnd::Lost(reason) => (reason, false, None),
                ConnectionEnd::Refused(reason) => (reason, true, None),
                ConnectionEnd::Corrupt(source) => {
                    let address = self.address.clone();
                    let error = source.to_string();
                    (error, false, Some(CoreError::Wire { address, source }))
                }
            };
            self.shared
                .update(|dispatcher, now| dispatcher.lost(self.slot, error, refused, corrupt, now));
            if sleep(backoff.next(), &mut UntilClosed(&self.shared)).is_err() {
                return;
            }
        }
    }

    fn connect_and_serve(&self, replies: &mut u64) -> ConnectionEnd {
        match self.connect() {
            Ok((stream, frames)) => self.serve(&stream, frames, replies),
            Err(end) => end,
        }
    }

    /// Connects and learns what is served. From then on the replica takes requests.
    fn connect(&self) -> Result<(Stream, FrameReader<Stream>), ConnectionEnd> {
        let lost = |error: std::io::Error| {
            if is_about_identity(&error) {
                ConnectionEnd::Refused(error.to_string())
            } else {
                ConnectionEnd::Lost(error.to_string())
            }
        };
        let waiter = &mut UntilClosed(&self.shared);
        let patience = self.limits.progress_timeout;
        let stream = attempt(&self.endpoints, &self.peer, patience, waiter)?.map_err(lost)?;
        let socket = stream.try_clone().map_err(lost)?;
        self.shared.register(self.slot, socket);
        self.report_way(&stream);
        let reading = stream.try_clone().map_err(lost)?;
        let decoder = FrameDecoder::new(self.pool.clone(), self.limits);
        let mut frames = FrameReader::new(reading, decoder);
        let info = self.request_dataset(&stream, &mut frames, waiter)?;
        let accepted = self
            .shared
            .update(|dispatcher, now| dispatcher.connected(self.slot, info, now));
        accepted.map_err(ConnectionEnd::Refused)?;
        Ok((stream, frames))
    }

    /// Says which of the replica's addresses answered.
    fn report_way(&self, stream: &Stream) {
        let mut endpoints = self.endpoints.iter();
        let used = endpoints.find(|endpoint| endpoint.is_local() == stream.shares_memory());
        if let Some(used) = used {
            let used = used.to_string();
            self.shared
                .update(|dispatcher, _| dispatcher.reached(self.slot, used));
        }
    }

    fn request_dataset(
        &self,
        stream: &Stream,
        frames: &mut FrameReader<Stream>,
        waiter: &mut UntilClosed<'_>,
    ) -> Result<DatasetInfo, ConnectionEnd> {
        let mut builder = Builder::new_default();
        let mut root = builder.init_root::<message::Builder<'_>>();
        root.set_type(MessageType::DatasetRequest);
        root.set_request_id(DATASET_REQUEST);
        root.init_dataset_request();
        let frame = Frame::new(&builder, Attachments::new(), &self.limits)?;
        self.send(stream, &[frame])?;
        let mut progress = Progress::new(self.limits.progress_timeout);
        let reader = loop {
            match frames.poll_frame()? {
                Polled::Frame(frame) => break frame.into_reader(&self.limits),
                Polled::Closed => return Err(closed()),
                Polled::Idle => waiter.tick()?,
            }
            if let Some(seconds) = progress.stalled(frames.decoder().received_bytes()) {
                let doing = "waiting for the description of the dataset";
                return Err(WireError::Stalled { doing, seconds }.into());
            }
        };
        let root = reader.get_root::<message::Reader<'_>>();
        let root = root.map_err(WireError::from)?;
        match root.which() {
            _ if message_type(root)? == MessageType::ErrorReply => Err(refusal(&read_error(root)?)),
            Ok(message::DatasetInfo(info)) if root.get_request_id() == DATASET_REQUEST => {
                Ok(DatasetInfo::read(info.map_err(WireError::from)?)?)
            }
            _ => Err(WireError::Field {
                field: "the reply to a dataset request",
                reason: "is not a dataset info, or has a different requestId".to_owned(),
            }
            .into()),
        }
    }

    /// Sends requests and receives replies until the connection ends.
    fn serve(
        &self,
        stream: &Stream,
        mut frames: FrameReader<Stream>,
        replies: &mut u64,
    ) -> ConnectionEnd {
        let mut ended = None;
        let mut borrower = Borrower::default();
        let loans = borrower.loans();
        thread::scope(|scope| {
            let sender = thread::Builder::new().name("pangea-send".to_owned());
            let started = sender.spawn_scoped(scope, || self.send_all(stream, &loans));
            let end = match started {
                Ok(_) => self.receive_all(&mut frames, &mut borrower, replies),
                Err(error) => ConnectionEnd::Lost(format!("starting the sending thread: {error}")),
            };
            self.shared.disconnect(self.slot);
            self.shared
                .update(|dispatcher, _| dispatcher.disconnected(self.slot));
            ended = Some(end);
        });
        ended.unwrap_or(ConnectionEnd::Closed)
    }

    /// The body of the sending thread. The receiving thread reports why the connection ended.
    fn send_all(&self, stream: &Stream, loans: &Loans) {
        while let Some(requests) = self.shared.next_to_send(self.slot) {
            // The first one releases what all of them need room for.
            let mut released = loans.take_released();
            let frames: Result<Vec<_>, WireError> = requests
                .into_iter()
                .map(|(id, key)| self.batch_request(id, &key, &mem::take(&mut released)))
                .collect();
            if frames.is_ok_and(|frames| self.send(stream, &frames).is_ok()) {
                continue;
            }
            self.shared.disconnect(self.slot);
            return;
        }
    }

    fn batch_request(
        &self,
        id: u64,
        key: &BatchKey,
        released: &[u32],
    ) -> Result<Frame<&'static [u8]>, WireError> {
        let mut builder = Builder::new_default();
        let mut root = builder.init_root::<message::Builder<'_>>();
        root.set_type(MessageType::BatchRequest);
        root.set_request_id(id);
        let mut request = root.init_batch_request();
        key.write(&mut request);
        if !released.is_empty() {
            request.set_released(released)?;
        }
        Frame::new(&builder, Attachments::new(), &self.limits)
    }

    /// Sends frames in one write, as far as the socket takes them.
    fn send(&self, mut stream: &Stream, frames: &[Frame<&[u8]>]) -> Result<(), WireError> {
        let mut cursor = FrameCursor::over(frames);
        let mut progress = Progress::new(self.limits.progress_timeout);
        while !poll_write(&mut stream, &mut cursor)? {
            let left = cursor.remaining().iter().map(|slice| slice.len() as u64);
            if let Some(seconds) = progress.stalled(left.sum()) {
                let doing = "sending a request";
                return Err(WireError::Stalled { doing, seconds });
            }
        }
        let io = |source| {
            let doing = "sending a request";
            WireError::Io { doing, source }
        };
        while !stream.poll_flush().map_err(io)? {
            if let Some(seconds) = progress.stalled(stream.unsent() as u64) {
                let doing = "sending a request";
                return Err(WireError::Stalled { doing, seconds });
            }
        }
        Ok(())
    }

    fn receive_all(
        &self,
        frames: &mut FrameReader<Stream>,
        borrower: &mut Borrower,
        replies: &mut u64,
    ) -> ConnectionEnd {
        // A reply is a pure function of the request, so the service has no reason to be silent for
        // long.
        let fresh = || Progress::new(self.limits.progress_timeout);
        let mut progress = fresh();
        loop {
            match frames.poll_frame() {
                Ok(Polled::Frame(frame)) => {
                    match self.deliver(frame, frames.stream(), borrower) {
                        Ok(answered) => *replies += u64::from(answered),
                        Err(end) => return end,
                    }
                    progress = fresh();
                }
                Ok(Polled::Closed) => return self.closed(),
                Ok(Polled::Idle) => {
                    let decoder = frames.decoder();
                    let owes_reply = self.shared.lock().oldest_sent(self.slot).is_some();
                    if !owes_reply && decoder.is_between_frames() {
                        progress = fresh();
                    } else if let Some(seconds) = progress.stalled(decoder.received_bytes()) {
                        let doing = "waiting for a reply of the data service";
                        return WireError::Stalled { doing, seconds }.into();
                    }
                }
                Err(error) => return self.unless_closed(error.into()),
            }
        }
    }

    fn closed(&self) -> ConnectionEnd {
        self.unless_closed(closed())
    }

    /// Closing the client also ends the stream; that is not the replica's doing.
    fn unless_closed(&self, end: ConnectionEnd) -> ConnectionEnd {
        if self.shared.lock().is_closed() {
            return ConnectionEnd::Closed;
        }
        end
    }

    /// Hands over the reply to the oldest request, or takes announced memory; says which. An error
    /// here ends the connection.
    fn deliver(
        &self,
        frame: ReceivedFrame,
        stream: &Stream,
        borrower: &mut Borrower,
    ) -> Result<bool, ConnectionEnd> {
        let reader = frame.into_reader(&self.limits);
        let (kind, id, error) = {
            let root = reader.get_root::<message::Reader<'_>>();
            let root = root.map_err(WireError::from)?;
            let kind = message_type(root)?;
            if kind == MessageType::SharedRegion {
                borrower.announced(root, stream)?;
                return Ok(false);
            }
            let error = (kind == MessageType::ErrorReply).then(|| read_error(root));
            (kind, root.get_request_id(), error.transpose()?)
        };
        let oldest = self.shared.lock().oldest_sent(self.slot);
        let key = match oldest {
            Some((sent, key)) if sent == id => key,
            _ => return Err(unexpected(id, error).into()),
        };
        // Verified here, in this thread, so that the trainer spends no time on it.
        let reply = match error {
            Some(error) => Err(error),
            None => Ok(Batch::read(Received { kind, reader }, &key, borrower)?),
        };
        self.shared.record_reply(self.slot, reply);
        Ok(true)
    }
}

fn closed() -> ConnectionEnd {
    ConnectionEnd::Lost("closed by the other side".to_owned())
}

fn unexpected(id: u64, error: Option<CoreError>) -> WireError {
    let reason = match error {
        Some(error) => format!("{id} was never used; its reply is an error ({error})"),
        None => format!("{id} is not that of the oldest open request"),
    };
    let field = "requestId";
    WireError::Field { field, reason }
}

/// A replica that refuses to describe its dataset: temporarily, or for good.
fn refusal(error: &CoreError) -> ConnectionEnd {
    let reason = error.to_string();
    match error {
        CoreError::Peer {
            action: ErrorAction::RetryLater | ErrorAction::Reconnect,
            ..
        } => ConnectionEnd::Lost(reason),
        _ => ConnectionEnd::Refused(reason),
    }
}
