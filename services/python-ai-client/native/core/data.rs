//! The client of a data service: requests are sent ahead, a thread receives and verifies the batches.
//!
//! The thread sleeps in the socket; callers sleep on a condition. Nothing spins.

use std::collections::{HashMap, VecDeque};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use pangea_wire::blocking::{poll_write, FrameReader, Polled};
use pangea_wire::schema::{message, MessageType};
use pangea_wire::{
    message_type, Attachments, Frame, FrameDecoder, Limits, Pool, ReceivedFrame, WireError,
};

use crate::connect::connect;
use crate::connection::{Progress, Received};
use crate::values::read_error;
use crate::{Batch, BatchKey, CoreError, DatasetInfo, Options, Waiter, TICK};

/// Most requests without a collected answer: bounds the memory of batches that wait.
const MAX_AHEAD: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Request {
    Dataset,
    Batch(BatchKey),
}

enum Answer {
    Dataset(DatasetInfo),
    Batch(Box<Batch>),
}

#[derive(Default)]
struct State {
    /// Sent, in order, not answered yet.
    asked: VecDeque<(u64, Request)>,
    /// Answered, not collected yet. Only refusals and broken batches are errors here.
    answers: HashMap<Request, Result<Answer, CoreError>>,
    /// Why no more answers will come, once that is so.
    ended: Option<String>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one statement, so it is whole even after a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, reason: String) {
        self.lock().ended.get_or_insert(reason);
        self.changed.notify_all();
    }
}

/// Ends a client from another thread: its waiting calls return with an error.
pub struct DataStopper {
    socket: TcpStream,
    shared: Arc<Shared>,
}

impl DataStopper {
    pub fn stop(&self) {
        self.shared.end("closed by this program".to_owned());
        // It may be closed already; nothing else can go wrong.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// One connection to a data service.
pub struct DataClient {
    address: String,
    writer: TcpStream,
    limits: Limits,
    last_request: u64,
    shared: Arc<Shared>,
    receiver: Option<JoinHandle<()>>,
}

impl DataClient {
    pub fn connect(
        address: &str,
        options: Options,
        pool: &Pool,
        waiter: &mut impl Waiter,
    ) -> Result<Self, CoreError> {
        let writer = connect(address, options.timeout, waiter)?;
        let limits = options.limits();
        let shared = Arc::new(Shared::default());
        let start = || {
            let stream = writer.try_clone()?;
            let receiver = Receiver {
                frames: FrameReader::new(stream, FrameDecoder::new(pool.clone(), limits)),
                shared: Arc::clone(&shared),
                limits,
            };
            thread::Builder::new()
                .name("pangea-data".to_owned())
                .spawn(move || receiver.run())
        };
        let receiver = start().map_err(|source| CoreError::Wire {
            address: address.to_owned(),
            source: WireError::Io {
                doing: "starting the receiving thread",
                source,
            },
        })?;
        Ok(Self {
            address: address.to_owned(),
            writer,
            limits,
            last_request: 0,
            shared,
            receiver: Some(receiver),
        })
    }

    pub fn stopper(&self) -> std::io::Result<DataStopper> {
        Ok(DataStopper {
            socket: self.writer.try_clone()?,
            shared: Arc::clone(&self.shared),
        })
    }

    /// What the service serves.
    pub fn dataset(&mut self, waiter: &mut impl Waiter) -> Result<DatasetInfo, CoreError> {
        match self.answer(Request::Dataset, waiter)? {
            Answer::Dataset(info) => Ok(info),
            Answer::Batch(_) => Err(self.wrong_answer()),
        }
    }

    /// Asks for a batch that [`batch`](Self::batch) will collect. Asking twice for the same one is one request.
    pub fn prefetch(&mut self, key: BatchKey, waiter: &mut impl Waiter) -> Result<(), CoreError> {
        self.ask(Request::Batch(key), waiter)
    }

    /// The batch, asked for now if it was not before.
    pub fn batch(&mut self, key: BatchKey, waiter: &mut impl Waiter) -> Result<Batch, CoreError> {
        match self.answer(Request::Batch(key), waiter)? {
            Answer::Batch(batch) => Ok(*batch),
            Answer::Dataset(_) => Err(self.wrong_answer()),
        }
    }

    fn wrong_answer(&self) -> CoreError {
        CoreError::Protocol {
            address: self.address.clone(),
            reason: "the answer is of another kind than the request".to_owned(),
        }
    }

    fn lost(&self, reason: &str) -> CoreError {
        CoreError::Lost {
            address: self.address.clone(),
            reason: format!("{reason}; open a new connection"),
        }
    }

    fn ask(&mut self, request: Request, waiter: &mut impl Waiter) -> Result<(), CoreError> {
        let id = self.last_request + 1;
        {
            let mut state = self.shared.lock();
            let known = state.asked.iter().any(|(_, asked)| *asked == request);
            if known || state.answers.contains_key(&request) {
                return Ok(());
            }
            if let Some(reason) = &state.ended {
                return Err(self.lost(reason));
            }
            if state.asked.len() + state.answers.len() >= MAX_AHEAD {
                return Err(CoreError::Argument(format!(
                    "{MAX_AHEAD} batches were asked for and not collected: collect some before asking for more"
                )));
            }
            state.asked.push_back((id, request));
        }
        self.last_request = id;
        let sent = self.send(id, request, waiter);
        if let Err(error) = &sent {
            // Part of the request may have gone out: nothing that follows could be understood.
            self.shared
                .end(format!("unusable after an earlier error ({error})"));
            let _ = self.writer.shutdown(Shutdown::Both);
        }
        sent
    }

    fn send(
        &mut self,
        id: u64,
        request: Request,
        waiter: &mut impl Waiter,
    ) -> Result<(), CoreError> {
        let mut builder = capnp::message::Builder::new_default();
        let mut root = builder.init_root::<message::Builder<'_>>();
        root.set_request_id(id);
        match request {
            Request::Dataset => {
                root.set_type(MessageType::DatasetRequest);
                root.init_dataset_request();
            }
            Request::Batch(key) => {
                root.set_type(MessageType::BatchRequest);
                key.write(root.init_batch_request());
            }
        }
        let wire_error = |source| CoreError::Wire {
            address: self.address.clone(),
            source,
        };
        let attachments = Attachments::<&[u8]>::new();
        let frame = Frame::new(&builder, attachments, &self.limits).map_err(wire_error)?;
        let mut cursor = frame.cursor();
        let mut progress = Progress::new(self.limits.progress_timeout);
        while !poll_write(&mut self.writer, &mut cursor).map_err(wire_error)? {
            waiter.tick()?;
            if let Some(seconds) = progress.stalled(0) {
                let doing = "sending a request";
                return Err(wire_error(WireError::Stalled { doing, seconds }));
            }
        }
        Ok(())
    }

    fn answer(&mut self, request: Request, waiter: &mut impl Waiter) -> Result<Answer, CoreError> {
        self.ask(request, waiter)?;
        let mut state = self.shared.lock();
        loop {
            if let Some(answer) = state.answers.remove(&request) {
                return answer;
            }
            if let Some(reason) = &state.ended {
                return Err(self.lost(reason));
            }
            let waited = self.shared.changed.wait_timeout(state, TICK);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if timeout.timed_out() {
                // The waiter may run foreign code: not while holding the lock.
                drop(state);
                waiter.tick()?;
                state = self.shared.lock();
            }
        }
    }
}

impl Drop for DataClient {
    fn drop(&mut self) {
        self.shared.end("closed by this program".to_owned());
        let _ = self.writer.shutdown(Shutdown::Both);
        if let Some(receiver) = self.receiver.take() {
            // A panic of the thread has been printed by then; there is nothing to add.
            let _ = receiver.join();
        }
    }
}

/// The thread's side.
struct Receiver {
    frames: FrameReader<TcpStream>,
    shared: Arc<Shared>,
    limits: Limits,
}

impl Receiver {
    fn run(mut self) {
        let reason = match self.receive_all() {
            Ok(()) => "closed by the other side".to_owned(),
            Err(error) => error.to_string(),
        };
        self.shared.end(reason);
    }

    fn receive_all(&mut self) -> Result<(), WireError> {
        // An answer is a pure function of the request, so the service has no reason to be silent for long.
        let mut progress = Progress::new(self.limits.progress_timeout);
        let mut frames = 0_u64;
        loop {
            match self.frames.poll_frame()? {
                Polled::Frame(frame) => {
                    frames += 1;
                    self.deliver(frame)?;
                }
                Polled::Closed => return Ok(()),
                Polled::Idle => {
                    let decoder = self.frames.decoder();
                    let asked = !self.shared.lock().asked.is_empty();
                    // Frames are counted in the upper half, the bytes of the current one in the lower.
                    let count = (frames << 40) | decoder.received_bytes();
                    if !asked && decoder.is_between_frames() {
                        progress = Progress::new(self.limits.progress_timeout);
                    } else if let Some(seconds) = progress.stalled(count) {
                        let doing = "waiting for an answer of the data service";
                        return Err(WireError::Stalled { doing, seconds });
                    }
                }
            }
        }
    }

    /// Files the answer to the oldest request. An error here ends the connection.
    fn deliver(&mut self, frame: ReceivedFrame) -> Result<(), WireError> {
        let reader = frame.into_reader(&self.limits);
        let (kind, id, error) = {
            let root = reader.get_root::<message::Reader<'_>>()?;
            let kind = message_type(root)?;
            let error = (kind == MessageType::ErrorReply).then(|| read_error(root));
            (kind, root.get_request_id(), error.transpose()?)
        };
        let oldest = self.shared.lock().asked.front().copied();
        let Some((_, request)) = oldest.filter(|(asked, _)| *asked == id) else {
            let reason = match error {
                Some(error) => format!("{id} was never used; it comes with an error ({error})"),
                None => format!("{id} is not that of the oldest open request"),
            };
            let field = "requestId";
            return Err(WireError::Field { field, reason });
        };
        // Verified here, in the thread, so that it costs the trainer nothing.
        let answer = match (error, request) {
            (Some(error), _) => Err(error),
            (None, Request::Dataset) => Ok(Answer::Dataset(read_dataset(&reader)?)),
            (None, Request::Batch(key)) => {
                let batch = Batch::read(Received { kind, reader }, &key)?;
                Ok(Answer::Batch(Box::new(batch)))
            }
        };
        let mut state = self.shared.lock();
        state.asked.pop_front();
        state.answers.insert(request, answer);
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }
}

fn read_dataset(reader: &capnp::message::Reader<ReceivedFrame>) -> Result<DatasetInfo, WireError> {
    match reader.get_root::<message::Reader<'_>>()?.which() {
        Ok(message::DatasetInfo(info)) => DatasetInfo::read(info?),
        _ => Err(WireError::Field {
            field: "the reply to a dataset request",
            reason: "is no dataset info".to_owned(),
        }),
    }
}
