use std::net::{TcpListener, TcpStream};

use pangea_wire::blocking::FrameReader;
use pangea_wire::{message_type, FrameDecoder, Pool};

use super::*;
use crate::link::{Uninterrupted, TICK};

fn connected() -> (Writer, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let stream = Stream::tcp(stream).expect("a socket");
    (Writer::new(stream), listener.accept().expect("one").0)
}

fn fail(source: WireError) -> CoreError {
    CoreError::Wire {
        address: String::new(),
        source,
    }
}

fn frame() -> Frame<Vec<u8>> {
    let mut builder = capnp::message::Builder::new_default();
    let mut root = builder.init_root::<message::Builder<'_>>();
    root.set_type(MessageType::Leave);
    root.init_leave().set_reason("done");
    Frame::new(&builder, Attachments::new(), &Limits::default()).expect("small")
}

fn message_types(peer: TcpStream, count: usize) -> Vec<MessageType> {
    let decoder = FrameDecoder::new(Pool::new(1 << 20, 0), Limits::default());
    let mut frames = FrameReader::new(peer, decoder);
    let mut next = || {
        let frame = frames.read_frame().expect("whole").expect("there");
        let reader = frame.into_reader(&Limits::default());
        message_type(reader.get_root().expect("well formed")).expect("known")
    };
    (0..count).map(|_| next()).collect()
}

/// The rest of a heartbeat that the stream accepted in part goes before the next frame.
#[test]
fn a_partial_heartbeat_is_finished_first() {
    let (writer, peer) = connected();
    let mut start = heartbeat().expect("small");
    let rest = start.split_off(start.len() / 2 + 3);
    write_some(&writer.shared.stream, &mut start).expect("room");
    writer.shared.lock().rest = rest;
    let sent = writer.send(&[frame()], None, TICK, &mut Uninterrupted, fail);
    sent.expect("room");
    assert_eq!(
        message_types(peer, 2),
        [MessageType::Heartbeat, MessageType::Leave]
    );
}

/// The same when the next frame is a heartbeat.
#[test]
fn a_partial_heartbeat_is_finished_by_the_next() {
    let (mut writer, peer) = connected();
    let mut start = heartbeat().expect("small");
    let rest = start.split_off(5);
    write_some(&writer.shared.stream, &mut start).expect("room");
    writer.shared.lock().rest = rest;
    writer
        .start_heartbeats(Duration::from_millis(1))
        .expect("started");
    assert_eq!(message_types(peer, 3), [MessageType::Heartbeat; 3]);
}

struct Impatient;

impl Waiter for Impatient {
    fn tick(&mut self) -> Result<(), CoreError> {
        Err(CoreError::Interrupted)
    }
}

fn wait_for_end(writer: &Writer) {
    let thread = writer.heartbeats.as_ref().expect("started");
    while !thread.is_finished() {
        thread::yield_now();
    }
}

/// Nothing follows a frame that was abandoned in the middle: the thread ends.
#[test]
fn a_torn_frame_ends_the_heartbeats() {
    let (mut writer, _peer) = connected();
    let payload = vec![0_u8; 64 << 20];
    let mut builder = capnp::message::Builder::new_default();
    let snapshot = builder.init_root::<message::Builder<'_>>().init_snapshot();
    let slot = pangea_wire::data_slot(snapshot.reborrow_as_reader(), 1).expect("data");
    let mut attachments = Attachments::new();
    attachments.push(slot, payload);
    let limits = Limits::with_frame_bytes(128 << 20);
    let frame = Frame::new(&builder, attachments, &limits).expect("within limits");
    writer
        .start_heartbeats(Duration::from_millis(1))
        .expect("started");
    // Nobody reads, so the frame does not fit into the socket.
    let sent = writer.send(
        &[frame],
        None,
        Duration::from_secs(30),
        &mut Impatient,
        fail,
    );
    assert!(matches!(sent, Err(CoreError::Interrupted)));
    assert!(writer.is_torn());
    wait_for_end(&writer);
}

/// The thread ends with the connection, whichever side closed it.
#[test]
fn heartbeats_end_with_the_connection() {
    let (mut writer, peer) = connected();
    writer
        .start_heartbeats(Duration::from_millis(1))
        .expect("started");
    drop(peer);
    wait_for_end(&writer);

    // Also while it sleeps for a long interval.
    let (mut writer, _peer) = connected();
    writer
        .start_heartbeats(Duration::from_secs(3000))
        .expect("started");
    drop(writer);
    let (mut writer, _peer) = connected();
    writer
        .start_heartbeats(Duration::from_millis(1))
        .expect("started");
    writer.stopper().stop();
    wait_for_end(&writer);
}
