//! The connection to one replica of a data service, made again whenever it is lost.
//!
//! One thread connects, receives and verifies the batches; while connected, a second one sends the requests. Both sleep in the
//! socket or on a condition. Nothing spins.

use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use pangea_wire::blocking::{poll_write, FrameReader, Polled};
use pangea_wire::schema::{message, ErrorAction, MessageType};
use pangea_wire::{
    message_type, Attachments, Frame, FrameDecoder, Limits, Pool, ReceivedFrame, WireError,
};

use super::dispatch::DATASET_REQUEST;
use super::shared::Replicas;
use super::Batch;
use crate::error::CoreError;
use crate::link::{attempt, sleep, Backoff, Progress, Received, Waiter};
use crate::values::{read_error, DatasetInfo};

type Builder = capnp::message::Builder<capnp::message::HeapAllocator>;

/// Why a connection ended.
enum End {
    /// The client was closed.
    Closed,
    /// Nobody there, or no longer: it may come back.
    Lost(String),
    /// It sent what cannot be right.
    Broken(WireError),
    /// It cannot be used as it is.
    Refused(String),
}

impl From<CoreError> for End {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::Interrupted => Self::Closed,
            other => Self::Lost(other.to_string()),
        }
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Io { .. } | WireError::Stalled { .. } | WireError::Truncated { .. } => {
                Self::Lost(error.to_string())
            }
            other => Self::Broken(other),
        }
    }
}

/// Ends a wait when the client is closed.
struct WhileOpen<'r>(&'r Replicas);

impl Waiter for WhileOpen<'_> {
    fn tick(&mut self) -> Result<(), CoreError> {
        if self.0.lock().has_ended() {
            return Err(CoreError::Interrupted);
        }
        Ok(())
    }
}

pub(crate) struct Replica {
    pub(crate) seat: usize,
    pub(crate) address: String,
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) limits: Limits,
    pub(crate) pool: Pool,
}

impl Replica {
    /// The thread: connects again and again until the client is closed.
    pub(crate) fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            let mut answers = 0;
            let end = self.connect_and_serve(&mut answers);
            self.replicas.leave(self.seat);
            if answers > 0 {
                backoff = Backoff::default();
            }
            let (trouble, refused, broken) = match end {
                End::Closed => return,
                End::Lost(reason) => (reason, false, None),
                End::Refused(reason) => (reason, true, None),
                End::Broken(source) => {
                    let address = self.address.clone();
                    let trouble = source.to_string();
                    (trouble, false, Some(CoreError::Wire { address, source }))
                }
            };
            self.replicas
                .change(|book, now| book.lost(self.seat, trouble, refused, broken, now));
            if sleep(backoff.next(), &mut WhileOpen(&self.replicas)).is_err() {
                return;
            }
        }
    }

    fn connect_and_serve(&self, answers: &mut u64) -> End {
        match self.connect() {
            Ok((stream, frames)) => self.serve(&stream, frames, answers),
            Err(end) => end,
        }
    }

    /// Connects, and learns what is served. The replica can be asked from then on.
    fn connect(&self) -> Result<(TcpStream, FrameReader<TcpStream>), End> {
        let lost = |error: std::io::Error| End::Lost(error.to_string());
        let waiter = &mut WhileOpen(&self.replicas);
        let patience = self.limits.progress_timeout;
        let stream = attempt(&self.address, patience, waiter)?.map_err(lost)?;
        let socket = stream.try_clone().map_err(lost)?;
        self.replicas.enter(self.seat, socket);
        let reading = stream.try_clone().map_err(lost)?;
        let decoder = FrameDecoder::new(self.pool.clone(), self.limits);
        let mut frames = FrameReader::new(reading, decoder);
        let info = self.ask_dataset(&stream, &mut frames, waiter)?;
        let accepted = self
            .replicas
            .change(|book, now| book.connected(self.seat, info, now));
        accepted.map_err(End::Refused)?;
        Ok((stream, frames))
    }

    fn ask_dataset(
        &self,
        stream: &TcpStream,
        frames: &mut FrameReader<TcpStream>,
        waiter: &mut WhileOpen<'_>,
    ) -> Result<DatasetInfo, End> {
        let mut builder = Builder::new_default();
        let mut root = builder.init_root::<message::Builder<'_>>();
        root.set_type(MessageType::DatasetRequest);
        root.set_request_id(DATASET_REQUEST);
        root.init_dataset_request();
        self.send(stream, &builder)?;
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
                reason: "is no dataset info, or has another requestId".to_owned(),
            }
            .into()),
        }
    }

    /// Asks and receives until the connection ends.
    fn serve(
        &self,
        stream: &TcpStream,
        mut frames: FrameReader<TcpStream>,
        answers: &mut u64,
    ) -> End {
        let mut ended = None;
        thread::scope(|scope| {
            let sender = thread::Builder::new().name("pangea-ask".to_owned());
            let started = sender.spawn_scoped(scope, || self.send_all(stream));
            let end = match started {
                Ok(_) => self.receive_all(&mut frames, answers),
                Err(error) => End::Lost(format!("starting the sending thread: {error}")),
            };
            self.replicas.leave(self.seat);
            self.replicas.change(|book, _| book.disconnected(self.seat));
            ended = Some(end);
        });
        ended.unwrap_or(End::Closed)
    }

    /// The sending thread. What broke is told by the one that receives.
    fn send_all(&self, stream: &TcpStream) {
        while let Some((id, key)) = self.replicas.next(self.seat) {
            let mut builder = Builder::new_default();
            let mut root = builder.init_root::<message::Builder<'_>>();
            root.set_type(MessageType::BatchRequest);
            root.set_request_id(id);
            key.write(root.init_batch_request());
            if self.send(stream, &builder).is_err() {
                self.replicas.leave(self.seat);
                return;
            }
        }
    }

    fn send(&self, mut stream: &TcpStream, message: &Builder) -> Result<(), WireError> {
        let frame = Frame::new(message, Attachments::<&[u8]>::new(), &self.limits)?;
        let mut cursor = frame.cursor();
        let mut progress = Progress::new(self.limits.progress_timeout);
        while !poll_write(&mut stream, &mut cursor)? {
            let left = cursor.remaining().iter().map(|slice| slice.len() as u64);
            if let Some(seconds) = progress.stalled(left.sum()) {
                let doing = "sending a request";
                return Err(WireError::Stalled { doing, seconds });
            }
        }
        Ok(())
    }

    fn receive_all(&self, frames: &mut FrameReader<TcpStream>, answers: &mut u64) -> End {
        // An answer is a pure function of the request, so the service has no reason to be silent for long.
        let fresh = || Progress::new(self.limits.progress_timeout);
        let mut progress = fresh();
        loop {
            match frames.poll_frame() {
                Ok(Polled::Frame(frame)) => {
                    if let Err(end) = self.deliver(frame) {
                        return end;
                    }
                    *answers += 1;
                    progress = fresh();
                }
                Ok(Polled::Closed) => return self.closed(),
                Ok(Polled::Idle) => {
                    let decoder = frames.decoder();
                    let asked = self.replicas.lock().oldest(self.seat).is_some();
                    if !asked && decoder.is_between_frames() {
                        progress = fresh();
                    } else if let Some(seconds) = progress.stalled(decoder.received_bytes()) {
                        let doing = "waiting for an answer of the data service";
                        return WireError::Stalled { doing, seconds }.into();
                    }
                }
                Err(error) => return self.unless_closed(error.into()),
            }
        }
    }

    fn closed(&self) -> End {
        self.unless_closed(closed())
    }

    /// Our own closing is seen as an end of the stream as well.
    fn unless_closed(&self, end: End) -> End {
        if self.replicas.lock().has_ended() {
            return End::Closed;
        }
        end
    }

    /// Files the answer to the oldest request. An error here ends the connection.
    fn deliver(&self, frame: ReceivedFrame) -> Result<(), End> {
        let reader = frame.into_reader(&self.limits);
        let (kind, id, error) = {
            let root = reader.get_root::<message::Reader<'_>>();
            let root = root.map_err(WireError::from)?;
            let kind = message_type(root)?;
            let error = (kind == MessageType::ErrorReply).then(|| read_error(root));
            (kind, root.get_request_id(), error.transpose()?)
        };
        let oldest = self.replicas.lock().oldest(self.seat);
        let key = match oldest {
            Some((asked, key)) if asked == id => key,
            _ => return Err(unexpected(id, error).into()),
        };
        // Verified here, in the thread, so that it costs the trainer nothing.
        let answer = match error {
            Some(error) => Err(error),
            None => Ok(Batch::read(Received { kind, reader }, &key)?),
        };
        self.replicas
            .change(|book, now| book.settle(self.seat, answer, now));
        Ok(())
    }
}

fn closed() -> End {
    End::Lost("closed by the other side".to_owned())
}

fn unexpected(id: u64, error: Option<CoreError>) -> WireError {
    let reason = match error {
        Some(error) => format!("{id} was never used; it comes with an error ({error})"),
        None => format!("{id} is not that of the oldest open request"),
    };
    let field = "requestId";
    WireError::Field { field, reason }
}

/// Refusing to say what it serves: for now, or for good.
fn refusal(error: &CoreError) -> End {
    let reason = error.to_string();
    match error {
        CoreError::Peer {
            action: ErrorAction::RetryLater | ErrorAction::Reconnect,
            ..
        } => End::Lost(reason),
        _ => End::Refused(reason),
    }
}
