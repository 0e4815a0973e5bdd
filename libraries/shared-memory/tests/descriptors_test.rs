//! No descriptor is lost, mixed up or left open. One test, because it counts those of the process.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where something unexpected happens"
)]

use std::io::{IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use pangea_shared_memory::{
    receive, send_with, Announcement, Descriptors, OwnedRegion, ReadOnlyRegion,
};
use pangea_wire::blocking::FrameReader;
use pangea_wire::schema::{message, MessageType};
use pangea_wire::{message_type, Attachments, Frame, FrameDecoder, Limits, Pool};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count()
}

struct Receiver<'s> {
    stream: &'s UnixStream,
    arrived: &'s std::cell::RefCell<Descriptors>,
}

impl Read for Receiver<'_> {
    fn read(&mut self, window: &mut [u8]) -> std::io::Result<usize> {
        receive(self.stream, window, &mut self.arrived.borrow_mut())
    }
}

fn announce(stream: &UnixStream, id: u32, region: &OwnedRegion, cut: usize) {
    let bytes = region.len() as u64;
    let frame = Announcement { id, bytes }
        .to_frame()
        .expect("small")
        .to_bytes();
    // The rest of a frame that the stream accepted in part follows without its descriptor.
    let first = IoSlice::new(&frame[..cut.clamp(1, frame.len())]);
    let sent = send_with(stream, &[first], region.descriptor()).expect("room");
    (&mut &*stream).write_all(&frame[sent..]).expect("room");
}

fn each_announcement_gets_its_own_descriptor() {
    let (sender, stream) = UnixStream::pair().expect("sockets");
    let regions: Vec<_> = (1..=40)
        .map(|pages| OwnedRegion::create(pages * 4096).expect("memory"))
        .collect();
    let heartbeat = heartbeat();
    // The reader's buffer takes many frames with one read, were it not for their descriptors.
    for (id, region) in regions.iter().enumerate() {
        for _ in 0..id % 3 {
            (&mut &sender).write_all(&heartbeat).expect("room");
        }
        announce(&sender, id as u32, region, 1 + id * 7 % 60);
    }
    drop(sender);

    let arrived = std::cell::RefCell::default();
    let receiver = Receiver {
        stream: &stream,
        arrived: &arrived,
    };
    let limits = Limits::default();
    let mut frames = FrameReader::new(receiver, FrameDecoder::new(Pool::new(1 << 20, 0), limits));
    let mut next = 0;
    while let Some(frame) = frames.read_frame().expect("whole") {
        let reader = frame.into_reader(&limits);
        let root = reader.get_root::<message::Reader<'_>>().expect("valid");
        if message_type(root).expect("known") == MessageType::Heartbeat {
            continue;
        }
        let Ok(message::SharedRegion(region)) = root.which() else {
            panic!("neither heartbeat nor region");
        };
        let found = Announcement::read(region.expect("set"));
        let descriptor = arrived.borrow_mut().take().expect("it came first");
        let bytes = (u64::from(next) + 1) * 4096;
        assert_eq!(found, Announcement { id: next, bytes });
        // Its size says which one it is.
        ReadOnlyRegion::map(descriptor.as_fd(), bytes).expect("the one that was announced");
        next += 1;
    }
    assert_eq!(next, 40);
}

fn heartbeat() -> Vec<u8> {
    let mut builder = capnp::message::Builder::new_default();
    let mut root = builder.init_root::<message::Builder<'_>>();
    root.set_type(MessageType::Heartbeat);
    root.init_heartbeat();
    let frame = Frame::new(&builder, Attachments::<&[u8]>::new(), &Limits::default());
    frame.expect("small").to_bytes()
}

fn descriptors_that_nobody_takes_are_closed() {
    let (sender, stream) = UnixStream::pair().expect("sockets");
    let region = OwnedRegion::create(4096).expect("memory");
    for id in 0..3 {
        announce(&sender, id, &region, 8);
    }
    // One is read and not taken, the others are still on their way.
    let mut arrived = Descriptors::default();
    let mut window = [0; 4096];
    assert!(receive(&stream, &mut window, &mut arrived).expect("sent") > 0);
}

fn a_plain_read_drops_descriptors() {
    let (sender, mut stream) = UnixStream::pair().expect("sockets");
    announce(&sender, 0, &OwnedRegion::create(4096).expect("memory"), 8);
    assert!(stream.read(&mut [0; 4096]).expect("sent") > 0);
}

fn a_peer_cannot_fill_the_table_of_descriptors() {
    let (sender, stream) = UnixStream::pair().expect("sockets");
    let region = OwnedRegion::create(4096).expect("memory");
    let mut arrived = Descriptors::default();
    let refused = (0..1000).find_map(|_| {
        send_with(&sender, &[IoSlice::new(b"x")], region.descriptor()).expect("room");
        receive(&stream, &mut [0; 8], &mut arrived).err()
    });
    assert!(refused.expect("refused").to_string().contains("announce"));
}

#[test]
fn descriptors_are_neither_lost_nor_left_open() {
    let before = open_descriptors();
    each_announcement_gets_its_own_descriptor();
    assert_eq!(open_descriptors(), before);
    descriptors_that_nobody_takes_are_closed();
    assert_eq!(open_descriptors(), before);
    a_plain_read_drops_descriptors();
    assert_eq!(open_descriptors(), before);
    a_peer_cannot_fill_the_table_of_descriptors();
    assert_eq!(open_descriptors(), before);
}
