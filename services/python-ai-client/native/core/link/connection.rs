//! One connection: sends requests and receives the replies to them in order.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use capnp::message::Reader;
use pangea_identity::Role;
use pangea_shared_memory::{Announcement, OwnedRegion, ReadOnlyRegion};
use pangea_wire::blocking::{FrameReader, Polled};
use pangea_wire::schema::{message, MessageType};
use pangea_wire::{
    message_type, Attachments, Frame, FrameDecoder, Limits, Pool, ReceivedFrame, WireError,
};

use super::connect::connect;
use super::progress::Progress;
use super::regions::Regions;
use super::stream::Stream;
use super::writer::{Beside, Stopper, Writer};
use super::Waiter;
use crate::error::{CoreError, ErrorKind};
use crate::options::Options;
use crate::values::read_error;

/// How long to look for a refusal after the peer closed the connection while we were sending.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A checked reply: its type agrees with its union, and it answers the current request.
pub(crate) struct Received {
    pub(crate) kind: MessageType,
    pub(crate) reader: Reader<ReceivedFrame>,
}

enum Unusable {
    ClosedByProgram,
    /// The position in the stream is unknown.
    After(String),
}

pub(crate) struct Connection {
    address: String,
    writer: Writer,
    reader: FrameReader<Stream>,
    limits: Limits,
    last_request: u64,
    /// What the peer has announced.
    regions: Regions<ReadOnlyRegion>,
    /// Why it cannot be used any more.
    unusable: Option<Unusable>,
}

impl Connection {
    pub(crate) fn open(
        address: &str,
        role: Role,
        options: Options,
        pool: &Pool,
        waiter: &mut impl Waiter,
    ) -> Result<Self, CoreError> {
        let writing = connect(address, &options.peer(role), options.timeout, waiter)?;
        let stream = writing.try_clone().map_err(|source| CoreError::Wire {
            address: address.to_owned(),
            source: WireError::Io {
                doing: "sharing the socket",
                source,
            },
        })?;
        let limits = options.limits();
        Ok(Self {
            address: address.to_owned(),
            writer: Writer::new(writing),
            reader: FrameReader::new(stream, FrameDecoder::new(pool.clone(), limits)),
            limits,
            last_request: 0,
            regions: Regions::default(),
            unusable: None,
        })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether memory can be shared with the peer: it is reached through a Unix socket.
    pub(crate) fn shares_memory(&self) -> bool {
        self.reader.stream().shares_memory()
    }

    /// Memory of the peer, which it has announced before.
    pub(crate) fn find_region(&self, id: u32) -> Result<Arc<ReadOnlyRegion>, WireError> {
        self.regions.find(id)
    }

    /// Announces memory of this process, for the life of the connection. `id` is new on it.
    pub(crate) fn send_region(
        &mut self,
        id: u32,
        region: &OwnedRegion,
        waiter: &mut impl Waiter,
    ) -> Result<(), CoreError> {
        let bytes = region.len() as u64;
        let frame = Announcement { id, bytes }.to_frame();
        let frame = frame.map_err(|error| self.wire_error(error))?;
        self.send_all(
            &[frame],
            self.last_request,
            Some(region.descriptor()),
            waiter,
        )
    }

    /// A sender of frames between those of this connection, for another thread.
    pub(crate) fn beside(&self) -> Beside {
        self.writer.beside(&self.address, self.limits)
    }

    /// A handle that closes this connection from another thread.
    pub(crate) fn stopper(&self) -> Stopper {
        self.writer.stopper()
    }

    /// From now on, sends heartbeats so that this side is never silent for longer than `every`;
    /// zero stops them.
    pub(crate) fn start_heartbeats(&mut self, every: Duration) -> Result<(), CoreError> {
        let started = self.writer.start_heartbeats(every);
        started.map_err(|error| self.wire_error(error))
    }

    pub(crate) fn next_request_id(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }

    pub(crate) fn close(&mut self) {
        self.writer.close();
        self.unusable = Some(Unusable::ClosedByProgram);
    }

    pub(crate) fn protocol_error(&self, reason: impl Into<String>) -> CoreError {
        CoreError::Protocol {
            address: self.address.clone(),
            reason: reason.into(),
        }
    }

    pub(crate) fn wire_error(&self, source: WireError) -> CoreError {
        CoreError::Wire {
            address: self.address.clone(),
            source,
        }
    }

    /// Runs one exchange. An error inside it leaves the position in the stream unknown, so no
    /// exchange follows it.
    pub(crate) fn exchange<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, CoreError>,
    ) -> Result<T, CoreError> {
        let address = || self.address.clone();
        match &self.unusable {
            Some(Unusable::ClosedByProgram) => {
                return Err(CoreError::Closed {
                    address: address(),
                    reason: "closed by this program; open a new connection".to_owned(),
                })
            }
            Some(Unusable::After(reason)) => {
                return Err(CoreError::Lost {
                    address: address(),
                    reason: format!("{reason}; open a new connection"),
                })
            }
            None => {}
        }
        let result = work(self);
        if let Err(error) = &result {
            if !error.leaves_connection_usable() {
                self.writer.close();
                let reason = format!("unusable after an earlier error ({error})");
                self.unusable = Some(Unusable::After(reason));
            }
        }
        result
    }

    pub(crate) fn send<P: AsRef<[u8]>>(
        &mut self,
        message: &capnp::message::Builder<capnp::message::HeapAllocator>,
        attachments: Attachments<P>,
        waiter: &mut impl Waiter,
    ) -> Result<(), CoreError> {
        let frame = self.frame(message, attachments)?;
        self.send_all(&[frame], self.last_request, None, waiter)
    }

    /// A message as a frame that may be sent over this connection.
    pub(crate) fn frame<P: AsRef<[u8]>>(
        &self,
        message: &capnp::message::Builder<capnp::message::HeapAllocator>,
        attachments: Attachments<P>,
    ) -> Result<Frame<P>, CoreError> {
        Frame::new(message, attachments, &self.limits).map_err(|error| self.wire_error(error))
    }

    /// Sends frames in one write; `descriptor` comes with the first byte. They belong to the
    /// requests from `first_request` to the last one.
    pub(crate) fn send_all<P: AsRef<[u8]>>(
        &mut self,
        frames: &[Frame<P>],
        first_request: u64,
        descriptor: Option<BorrowedFd<'_>>,
        waiter: &mut impl Waiter,
    ) -> Result<(), CoreError> {
        let patience = self.limits.progress_timeout;
        let fail = |source| self.wire_error(source);
        match self.writer.send(frames, descriptor, patience, waiter, fail) {
            Err(error @ CoreError::Wire { .. }) => {
                Err(self.pending_refusal(first_request, waiter).unwrap_or(error))
            }
            Err(error) => {
                if self.writer.is_torn() {
                    self.writer.close();
                    self.unusable = Some(Unusable::After("interrupted inside a frame".to_owned()));
                }
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// A peer that refuses a request while it is being sent says why before it closes: that error
    /// is more useful than ours. The requests before the refused one were answered.
    fn pending_refusal(&mut self, first: u64, waiter: &mut impl Waiter) -> Option<CoreError> {
        for request in first..=self.last_request {
            match self.receive_reply(request, Some(REFUSAL_TIMEOUT), waiter) {
                Ok(_) => {}
                Err(error @ CoreError::Peer { .. }) => return Some(error),
                Err(error) if error.kind() == Some(ErrorKind::Identity) => return Some(error),
                Err(_) => return None,
            }
        }
        None
    }

    /// The reply to `request`; an `ErrorReply` becomes an error. `patience` bounds the wait for its
    /// first byte; `None` waits as long as the connection lives.
    pub(crate) fn receive_reply(
        &mut self,
        request: u64,
        patience: Option<Duration>,
        waiter: &mut impl Waiter,
    ) -> Result<Received, CoreError> {
        loop {
            let reader = self.receive(patience, waiter)?.into_reader(&self.limits);
            let (kind, id) = {
                let root = reader.get_root::<message::Reader<'_>>();
                let root = root.map_err(|error| self.wire_error(error.into()))?;
                let kind = message_type(root).map_err(|error| self.wire_error(error))?;
                let id = root.get_request_id();
                // An error about an unreadable request has no id.
                if kind == MessageType::ErrorReply && (id == request || id == 0) {
                    return Err(read_error(root).map_err(|error| self.wire_error(error))?);
                }
                if kind == MessageType::SharedRegion {
                    let taken = self.regions.take(root, self.reader.stream());
                    taken.map_err(|error| self.wire_error(error))?;
                    continue;
                }
                (kind, id)
            };
            if id == request {
                return Ok(Received { kind, reader });
            }
            if id > request {
                return Err(
                    self.protocol_error(format!("reply to request {id}, which was not sent yet"))
                );
            }
            // The reply to an earlier request whose wait was interrupted: skipped.
        }
    }

    fn receive(
        &mut self,
        patience: Option<Duration>,
        waiter: &mut impl Waiter,
    ) -> Result<ReceivedFrame, CoreError> {
        let mut inside = Progress::new(self.limits.progress_timeout);
        let mut before = patience.map(Progress::new);
        loop {
            match self.reader.poll_frame() {
                Ok(Polled::Frame(frame)) => return Ok(frame),
                Ok(Polled::Idle) => waiter.tick()?,
                Ok(Polled::Closed) => {
                    return Err(CoreError::Lost {
                        address: self.address.clone(),
                        reason: "closed by the other side".to_owned(),
                    })
                }
                Err(error) => return Err(self.wire_error(error)),
            }
            let decoder = self.reader.decoder();
            let received = decoder.received_bytes();
            let (doing, stalled) = if decoder.is_between_frames() {
                let stalled = before
                    .as_mut()
                    .and_then(|progress| progress.stalled(received));
                ("waiting for a reply", stalled)
            } else {
                ("reading a frame", inside.stalled(received))
            };
            if let Some(seconds) = stalled {
                return Err(self.wire_error(WireError::Stalled { doing, seconds }));
            }
        }
    }
}
