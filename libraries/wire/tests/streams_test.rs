//! The shells over real sockets: complete frames in both directions, pauses, and ends.
#![expect(
    clippy::expect_used,
    reason = "a test fails where something unexpected happens"
)]

mod common;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::{aggregate_frame, pattern, pool, take_aggregate};
use pangea_wire::blocking::{poll_write, write_frame, FrameReader, Polled};
use pangea_wire::*;

fn socket_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let client = TcpStream::connect(address).expect("listening");
    (client, listener.accept().expect("connected").0)
}

fn frame(bytes: usize) -> (Vec<u8>, Frame<Vec<u8>>) {
    let data = pattern(bytes);
    let spec = TensorSpec::new("w", DType::UInt8, vec![bytes as u64]).expect("valid");
    let frame = aggregate_frame(
        &[(spec, data.clone())],
        &Limits::with_frame_bytes(100 << 20),
    );
    (data, frame)
}

fn reader<R: std::io::Read>(stream: R) -> FrameReader<R> {
    FrameReader::new(
        stream,
        FrameDecoder::new(pool(), Limits::with_frame_bytes(100 << 20)),
    )
}

/// From empty payloads to far more than a socket buffers.
#[test]
fn blocking_streams_carry_any_size() {
    let limits = Limits::with_frame_bytes(100 << 20);
    let (mut client, server) = socket_pair();
    let sizes = [0, 1, 4095, 100_000, 70 << 20, 3];
    let sender = std::thread::spawn(move || {
        for size in sizes {
            write_frame(&mut client, &frame(size).1).expect("the reader reads");
        }
    });
    let mut reader = reader(server);
    for size in sizes {
        let received = reader.read_frame().expect("well formed").expect("a frame");
        let taken = take_aggregate(received, &limits).expect("well formed");
        assert!(taken[0].1.as_slice() == pattern(size));
    }
    assert!(reader.read_frame().expect("a clean end").is_none());
    sender.join().expect("sent all");
}

/// A read timeout wakes the caller and loses nothing; an end inside a frame is an error.
#[test]
fn a_pause_inside_a_frame_is_idle() {
    let (mut client, server) = socket_pair();
    server
        .set_read_timeout(Some(Duration::from_millis(1)))
        .expect("supported");
    let mut reader = reader(server);
    assert!(matches!(reader.poll_frame(), Ok(Polled::Idle)));
    assert!(reader.decoder().is_between_frames());
    let bytes = frame(1000).1.to_bytes();
    client.write_all(&bytes[..500]).expect("room");
    while reader.decoder().received_bytes() < 500 {
        assert!(matches!(reader.poll_frame(), Ok(Polled::Idle)));
    }
    client.write_all(&bytes[500..]).expect("room");
    client.write_all(&bytes[..9]).expect("room");
    drop(client);
    let mut polls = std::iter::repeat_with(|| reader.poll_frame())
        .filter(|poll| !matches!(poll, Ok(Polled::Idle)));
    assert!(matches!(polls.next(), Some(Ok(Polled::Frame(_)))));
    let end = polls
        .next()
        .expect("endless")
        .err()
        .expect("inside a frame");
    assert!(
        matches!(end, WireError::Truncated { received: 9, .. }),
        "{end}"
    );
}

/// A full socket makes sending pause; it resumes where it stopped.
#[test]
fn sending_resumes_after_a_pause() {
    let (mut client, server) = socket_pair();
    client
        .set_write_timeout(Some(Duration::from_millis(1)))
        .expect("supported");
    let (data, frame) = frame(30 << 20);
    let mut cursor = frame.cursor();
    let sent = poll_write(&mut client, &mut cursor).expect("the reader is there");
    assert!(!sent, "30 MiB cannot fit into a socket that nobody reads");
    let receiver = std::thread::spawn(move || {
        reader(server)
            .read_frame()
            .expect("well formed")
            .expect("a frame")
    });
    while !poll_write(&mut client, &mut cursor).expect("the reader reads") {}
    let taken = take_aggregate(
        receiver.join().expect("no panic"),
        &Limits::with_frame_bytes(100 << 20),
    );
    assert!(taken.expect("well formed")[0].1.as_slice() == data);
}

fn run<T>(future: impl std::future::Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("threads").block_on(future)
}

fn tokio_reader<R: tokio::io::AsyncRead + Unpin>(
    stream: R,
    timeout: Duration,
) -> nonblocking::FrameReader<R> {
    let limits = Limits {
        progress_timeout: timeout,
        ..Limits::with_frame_bytes(100 << 20)
    };
    nonblocking::FrameReader::new(stream, FrameDecoder::new(pool(), limits))
}

/// The same over tokio, with a small pipe that splits every write.
#[test]
fn tokio_streams_carry_any_size() {
    run(async {
        let (mut client, server) = tokio::io::duplex(5000);
        let sizes = [0, 1, 4999, 3 << 20, 9];
        let sender = tokio::spawn(async move {
            for size in sizes {
                let timeout = Duration::from_secs(30);
                let frame = frame(size).1;
                nonblocking::write_frame(&mut client, &frame, timeout)
                    .await
                    .expect("the reader reads");
            }
        });
        let mut reader = tokio_reader(server, Duration::from_secs(30));
        for size in sizes {
            let received = reader
                .read_frame()
                .await
                .expect("well formed")
                .expect("a frame");
            let taken = take_aggregate(received, &Limits::default()).expect("well formed");
            assert!(taken[0].1.as_slice() == pattern(size));
        }
        sender.await.expect("sent all");
        assert!(reader.read_frame().await.expect("a clean end").is_none());
    });
}

/// A peer that stops inside a frame, or stops reading one, fails; one that sends nothing at all is
/// waited for.
#[test]
fn a_stalled_peer_fails() {
    run(async {
        let short = Duration::from_millis(20);
        let bytes = frame(5000).1.to_bytes();
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let mut reader = tokio_reader(server, short);
        let quiet = tokio::time::timeout(4 * short, reader.read_frame()).await;
        assert!(quiet.is_err(), "between frames there is no timeout");
        tokio::io::AsyncWriteExt::write_all(&mut client, &bytes[..1000])
            .await
            .expect("room");
        let error = reader.read_frame().await.err().expect("stalled");
        assert!(
            matches!(
                error,
                WireError::Stalled {
                    doing: "reading a frame",
                    ..
                }
            ),
            "{error}"
        );

        let (mut client, _server) = tokio::io::duplex(100);
        let error = nonblocking::write_frame(&mut client, &frame(5000).1, short).await;
        assert!(matches!(
            error,
            Err(WireError::Stalled {
                doing: "sending a frame",
                ..
            })
        ));
    });
}
