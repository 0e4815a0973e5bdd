use std::io::IoSlice;
use std::os::unix::net::UnixStream;

use capnp::message::Builder;
use pangea_shared_memory::{send_with, Announcement, OwnedRegion};
use pangea_wire::blocking::FrameReader;
use pangea_wire::{FrameDecoder, Limits, Pool};

use super::*;

const BYTES: usize = 8192;

/// A connection of which the other side is written by hand.
struct Connection {
    service: UnixStream,
    frames: FrameReader<Stream>,
    borrower: Borrower,
}

impl Connection {
    fn new() -> Self {
        let (service, worker) = UnixStream::pair().expect("sockets");
        let stream = Stream::unix(worker).expect("a socket");
        let decoder = FrameDecoder::new(Pool::new(1 << 20, 0), Limits::default());
        Self {
            service,
            frames: FrameReader::new(stream, decoder),
            borrower: Borrower::default(),
        }
    }

    fn announce(&mut self, id: u32, region: &OwnedRegion) -> Result<(), WireError> {
        let bytes = region.len() as u64;
        let frame = Announcement { id, bytes }.to_frame().expect("small");
        let frame = frame.to_bytes();
        let sent = send_with(&self.service, &[IoSlice::new(&frame)], region.descriptor());
        assert_eq!(sent.expect("room"), frame.len());
        let frame = self.frames.read_frame().expect("whole").expect("sent");
        let reader = frame.into_reader(&Limits::default());
        let root = reader.get_root().expect("a message");
        self.borrower.announced(root, self.frames.stream())
    }

    fn borrow(&mut self, region: u32, generation: u64, bytes: u64) -> Result<Borrowed, WireError> {
        let mut message = Builder::new_default();
        let mut place = message.init_root::<place::Builder<'_>>();
        place.set_region(region);
        place.set_generation(generation);
        place.set_bytes(bytes);
        self.borrower.borrow(place.into_reader())
    }

    fn refusal(&mut self, region: u32, generation: u64, bytes: u64) -> String {
        let borrowed = self.borrow(region, generation, bytes);
        borrowed.map(|_| ()).expect_err("refused").to_string()
    }
}

fn filled(byte: u8) -> OwnedRegion {
    let mut region = OwnedRegion::create(BYTES).expect("memory");
    region.as_mut_slice().fill(byte);
    region
}

#[test]
fn a_region_is_released_with_its_last_tensor_and_shows_its_next_batch() {
    let mut connection = Connection::new();
    let mut region = filled(1);
    connection.announce(4, &region).expect("new");
    let loans = connection.borrower.loans();
    let mut borrowed = connection.borrow(4, 1, 200).expect("announced");
    let (one, other) = (
        borrowed.next(100).expect("inside"),
        borrowed.next(72).expect("inside"),
    );
    drop(borrowed);
    assert_eq!(one.as_slice(), [1; 100]);
    assert_eq!(other.as_ptr().as_ptr() as usize % 64, 0);
    // A script writes to it.
    // SAFETY: inside the tensor, and no slice of it is in use.
    unsafe { one.as_ptr().write(9) };
    assert_eq!((one.as_slice()[0], region.as_slice()[0]), (9, 1));
    drop(one);
    assert!(loans.take_released().is_empty());
    drop(other);
    assert_eq!(loans.take_released(), [4]);
    region.as_mut_slice().fill(2);
    let mut again = connection.borrow(4, 2, 200).expect("released");
    assert_eq!(again.next(200).expect("inside").as_slice(), [2; 200]);
}

#[test]
fn a_service_that_breaks_the_rules_of_lending_is_refused() {
    let mut connection = Connection::new();
    let region = filled(1);
    assert!(connection.refusal(1, 1, 10).contains("was not announced"));
    connection.announce(1, &region).expect("new");
    let again = connection.announce(1, &region).expect_err("twice");
    assert!(again.to_string().contains("announced before"), "{again}");
    let beyond = connection.refusal(1, 1, BYTES as u64 + 1);
    assert!(beyond.contains("has 8193 bytes in region 1"), "{beyond}");

    let mut borrowed = connection.borrow(1, 5, 100).expect("announced");
    assert!(borrowed.next(64).is_ok());
    for bytes in [37, u64::MAX] {
        let larger = borrowed.next(bytes).map(|_| ());
        let larger = larger.expect_err("refused").to_string();
        assert!(larger.contains("larger than its place"), "{larger}");
    }
    assert!(connection.refusal(1, 5, 10).contains("after 5"));
    let twice = connection.refusal(1, 6, 10);
    assert!(twice.contains("an earlier batch is still in"), "{twice}");
    drop(borrowed);
    assert!(connection.borrow(1, 7, 10).is_ok());
}

#[test]
fn tensors_outlive_their_connection() {
    let mut connection = Connection::new();
    connection.announce(1, &filled(3)).expect("new");
    let mut borrowed = connection.borrow(1, 1, 64).expect("announced");
    let kept = borrowed.next(64).expect("inside");
    drop((borrowed, connection));
    assert_eq!(kept.as_slice(), [3; 64]);
}
