//! The other side of a connection: a script of requests to expect and replies to give, on a free
//! loopback port.
#![allow(dead_code, reason = "each test program uses its own part")]

pub mod data;
pub mod run;

use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use capnp::message::{Builder, HeapAllocator, Reader};
use pangea_wire::blocking::{write_frame, FrameReader};
use pangea_wire::schema::{message, ErrorAction, MessageType};
use pangea_wire::{message_type, Attachments, Frame, FrameDecoder, Limits, Pool, ReceivedFrame};

pub fn pool() -> Pool {
    Pool::new(1 << 30, 64 << 20)
}

/// Waits until `reached`; the time limit of the test ends a wait that would never end.
pub fn eventually(mut reached: impl FnMut() -> bool) {
    while !reached() {
        thread::yield_now();
    }
}

/// What a service does with one connection.
pub type Script = Box<dyn FnOnce(Peer) + Send>;

/// A service that runs one script for each connection, one after the other, and ends after the
/// last.
pub struct Service {
    pub address: String,
    thread: JoinHandle<()>,
}

impl Service {
    /// For a single connection, on a free port.
    pub fn start(script: impl FnOnce(Peer) + Send + 'static) -> Self {
        Self::on("127.0.0.1:0", vec![Box::new(script)])
    }

    /// At `address`, where an earlier service may have been.
    pub fn on(address: &str, scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let thread = thread::spawn(move || {
            for script in scripts {
                let stream = listener.accept().expect("a worker connects").0;
                script(Peer::new(stream));
            }
        });
        Self { address, thread }
    }

    /// Waits for the script to end, and fails if it failed.
    pub fn finish(self) {
        self.thread.join().expect("the script of the service holds");
    }
}

pub struct Peer {
    pub stream: TcpStream,
    frames: FrameReader<TcpStream>,
    pub heartbeats: usize,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        let decoder = FrameDecoder::new(pool(), Limits::default());
        let reading = stream.try_clone().expect("a socket can be shared");
        let frames = FrameReader::new(reading, decoder);
        Self {
            stream,
            frames,
            heartbeats: 0,
        }
    }

    /// The next message; None when the worker closed.
    pub fn next(&mut self) -> Option<(MessageType, u64, Reader<ReceivedFrame>)> {
        let frame = self.frames.read_frame().ok()??;
        let reader = frame.into_reader(&Limits::default());
        let root = reader
            .get_root::<message::Reader<'_>>()
            .expect("well formed");
        let (kind, id) = (
            message_type(root).expect("well formed"),
            root.get_request_id(),
        );
        Some((kind, id, reader))
    }

    /// The id and content of the next message, which must be of the type `kind`. Heartbeats before
    /// it are counted and skipped.
    pub fn expect(&mut self, kind: MessageType) -> (u64, Reader<ReceivedFrame>) {
        loop {
            let (found, id, reader) = self.next().expect("the worker continues");
            if found == kind {
                return (id, reader);
            }
            assert_eq!((found, id), (MessageType::Heartbeat, 0));
            self.heartbeats += 1;
        }
    }

    /// Sends a message that `fill` writes.
    pub fn send(&mut self, kind: MessageType, id: u64, fill: impl FnOnce(message::Builder<'_>)) {
        let (builder, attachments) = prepare(kind, id, |root| {
            fill(root);
            Attachments::<Vec<u8>>::new()
        });
        self.send_with(&builder, attachments);
    }

    pub fn send_with<P: AsRef<[u8]>>(
        &mut self,
        builder: &Builder<HeapAllocator>,
        attachments: Attachments<P>,
    ) {
        let frame = Frame::new(builder, attachments, &Limits::default()).expect("within limits");
        // A worker that refuses a frame closes while more are sent; the test checks the worker's
        // side.
        let _ = write_frame(&mut self.stream, &frame);
    }

    pub fn refuse(&mut self, id: u64, action: ErrorAction, detail: &str) {
        self.send(MessageType::ErrorReply, id, |root| {
            let mut error = root.init_error_reply();
            error.set_action(action);
            error.set_detail(detail);
            error.set_retry_after(1.5);
        });
    }
}

/// A message with its envelope, and what `fill` attaches to it.
pub fn prepare<P: AsRef<[u8]>>(
    kind: MessageType,
    id: u64,
    fill: impl FnOnce(message::Builder<'_>) -> Attachments<P>,
) -> (Builder<HeapAllocator>, Attachments<P>) {
    let mut builder = Builder::new_default();
    let mut root = builder.init_root::<message::Builder<'_>>();
    root.set_type(kind);
    root.set_request_id(id);
    let attachments = fill(root);
    (builder, attachments)
}
