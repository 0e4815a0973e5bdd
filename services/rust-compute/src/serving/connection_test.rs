use std::io::Write;
use std::net::TcpStream as BlockingStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as LocalStream;
use std::thread;

use pangea_shared_memory::{receive, Announcement, Descriptors, PrivateRegion};
use pangea_wire::blocking::{self, write_frame as send};
use pangea_wire::schema::{message, Split};
use pangea_wire::{AlignedBuffer, Attachments, Frame, Pool};

use rust_compute_dataset::Dataset;
use rust_compute_fixtures::{small, wide};

use super::*;
use crate::{Batches, LendingLimit, Sampled, Turns};

type Client = (BlockingStream, blocking::FrameReader<BlockingStream>);

/// A service for one connection, the connection's other end, and a channel that stops the service.
fn start() -> (
    Client,
    watch::Sender<bool>,
    thread::JoinHandle<Result<(), WireError>>,
) {
    start_with(small(), Limits::default())
}

fn service(dataset: Dataset, reply_limits: Limits, pool: &Pool) -> Arc<Service> {
    Arc::new(Service {
        batches: Batches::new(dataset, pool.clone(), 1 << 20),
        lending_limit: Arc::new(LendingLimit::new(pool.clone(), 1 << 25, 64)),
        pool: pool.clone(),
        reply_limits,
        patience: Patience::default(),
        turns: Turns::new(4),
        refusals: Sampled::default(),
        // A clock that stands still.
        now: || Duration::ZERO,
    })
}

fn start_with(
    dataset: Dataset,
    reply_limits: Limits,
) -> (
    Client,
    watch::Sender<bool>,
    thread::JoinHandle<Result<(), WireError>>,
) {
    let pool = Pool::new(1 << 26, 1 << 20);
    let service = service(dataset, reply_limits, &pool);
    let (stop, stopping) = watch::channel(false);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = BlockingStream::connect(listener.local_addr().expect("bound")).expect("listening");
    let (accepted, _) = listener.accept().expect("connected");
    accepted.set_nonblocking(true).expect("supported");
    let serving = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            serve(
                service,
                TcpStream::from_std(accepted).expect("a socket"),
                stopping,
                Arc::new(Activity::new(Duration::ZERO)),
            )
            .await
        })
    });
    let reading = client.try_clone().expect("a socket can be shared");
    let frames = blocking::FrameReader::new(reading, FrameDecoder::new(pool, Limits::default()));
    ((client, frames), stop, serving)
}

fn request(id: u64, fill: impl FnOnce(message::Builder<'_>)) -> Frame<AlignedBuffer> {
    let mut message = capnp::message::Builder::new_default();
    let mut root = message.init_root::<message::Builder<'_>>();
    root.set_request_id(id);
    fill(root);
    Frame::new(&message, Attachments::new(), &Limits::default()).expect("a frame")
}

fn batch(id: u64, shard: u32, shards: u32) -> Frame<AlignedBuffer> {
    request(id, |mut root| {
        root.set_type(MessageType::BatchRequest);
        let mut batch = root.init_batch_request();
        batch.set_split(Split::Train);
        batch.set_batch_size(8);
        batch.set_shard(shard);
        batch.set_shards(shards);
    })
}

/// The next reply: its request id, and its type or the error's detail.
fn next(frames: &mut blocking::FrameReader<BlockingStream>) -> Option<(u64, String)> {
    let reader = frames
        .read_frame()
        .expect("a frame")
        .map(|frame| frame.into_reader(&Limits::default()))?;
    let root = reader.get_root::<message::Reader<'_>>().expect("a message");
    let text = match root.which().expect("known") {
        message::ErrorReply(error) => {
            let error = error.expect("set");
            format!(
                "{:?} {}",
                error.get_action().expect("known"),
                error.get_detail().expect("set").to_str().expect("UTF-8")
            )
        }
        message::TrainingBatch(_) => "batch".to_owned(),
        message::DatasetInfo(info) => info
            .expect("set")
            .get_name()
            .expect("set")
            .to_string()
            .expect("UTF-8"),
        _ => "another message".to_owned(),
    };
    Some((root.get_request_id(), text))
}

#[test]
fn requests_are_answered_in_order_and_a_wrong_one_does_not_end_the_connection() {
    let ((mut stream, mut frames), _stop, serving) = start();
    for id in 0..40 {
        let frame = match id % 4 {
            0 => request(id, |mut root| {
                root.set_type(MessageType::DatasetRequest);
                root.init_dataset_request();
            }),
            1 => batch(id, 1, 2),
            2 => batch(id, 2, 2),
            // The type does not agree with the member.
            _ => request(id, |root| {
                root.init_leave();
            }),
        };
        send(&mut stream, &frame).expect("sent");
    }
    for id in 0..40 {
        let (answered, text) = next(&mut frames).expect("an answer");
        assert_eq!(answered, id);
        let expected = match id % 4 {
            0 => "small",
            1 => "batch",
            2 => "FixRequest shard is 2",
            _ => "FixRequest malformed message",
        };
        assert!(text.starts_with(expected), "{text}");
    }
    stream.shutdown(std::net::Shutdown::Write).expect("open");
    assert_eq!(next(&mut frames), None);
    serving.join().expect("no panic").expect("a clean end");
}

#[test]
fn invalid_bytes_end_the_connection_with_a_reason() {
    let ((mut stream, mut frames), _stop, serving) = start();
    stream.write_all(&[0xff; 64]).expect("sent");
    let (_, text) = next(&mut frames).expect("an answer");
    assert!(
        text.starts_with("Reconnect") && text.contains("segments"),
        "{text}"
    );
    serving
        .join()
        .expect("no panic")
        .expect_err("a broken connection");
}

#[test]
fn a_stopping_service_answers_what_it_has_read() {
    let ((mut stream, mut frames), stop, serving) = start();
    send(&mut stream, &batch(1, 0, 1)).expect("sent");
    assert_eq!(next(&mut frames), Some((1, "batch".to_owned())));
    stop.send(true).expect("the service is there");
    assert_eq!(next(&mut frames), None);
    serving.join().expect("no panic").expect("a clean end");
}

#[test]
fn a_frame_larger_than_any_request_is_refused_before_it_is_read() {
    let ((mut stream, mut frames), _stop, serving) = start();
    // One segment of 64 KiB: too large together with its table.
    stream.write_all(&[0, 0, 0, 0, 0, 32, 0, 0]).expect("sent");
    let (_, text) = next(&mut frames).expect("an answer");
    assert!(
        text.starts_with("Reconnect") && text.contains("65536"),
        "{text}"
    );
    serving.join().expect("no panic").expect_err("too large");
}

/// A batch has 10 MiB, more than the buffers of a socket.
#[test]
fn a_worker_that_does_not_read_its_replies_is_disconnected() {
    let width = 1 << 17;
    let impatient = Limits {
        progress_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let ((mut stream, _frames), _stop, serving) = start_with(wide(20, width), impatient);
    for id in 0..3 {
        let all = request(id, |mut root| {
            root.set_type(MessageType::BatchRequest);
            let mut batch = root.init_batch_request();
            batch.set_batch_size(20);
            batch.set_shards(1);
        });
        send(&mut stream, &all).expect("sent");
    }
    let error = serving.join().expect("no panic").expect_err("disconnected");
    assert!(
        matches!(
            error,
            WireError::Stalled {
                doing: "sending a frame",
                ..
            }
        ),
        "{error}"
    );
}

/// A panic is a bug of this program; it must not close the connections of other workers.
#[test]
fn a_panic_refuses_one_request() {
    let mut damaged = small();
    damaged.split.held_out[0] = u32::MAX;
    let ((mut stream, mut frames), _stop, serving) = start_with(damaged, Limits::default());
    let panicking = request(1, |mut root| {
        root.set_type(MessageType::BatchRequest);
        let mut batch = root.init_batch_request();
        batch.set_split(Split::HeldOut);
        batch.set_batch_size(4);
        batch.set_shards(1);
    });
    send(&mut stream, &panicking).expect("sent");
    send(&mut stream, &batch(2, 0, 1)).expect("sent");
    let (id, text) = next(&mut frames).expect("an answer");
    assert_eq!(id, 1);
    assert!(
        text.starts_with("FixRequest this request triggers a bug"),
        "{text}"
    );
    assert_eq!(next(&mut frames), Some((2, "batch".to_owned())));
    stream.shutdown(std::net::Shutdown::Write).expect("open");
    serving.join().expect("no panic").expect("a clean end");
}

/// A worker on this machine: its socket, and what has arrived beside the bytes.
struct LocalWorker {
    socket: LocalStream,
    arrived: Arc<std::sync::Mutex<Descriptors>>,
}

impl std::io::Read for LocalWorker {
    fn read(&mut self, window: &mut [u8]) -> std::io::Result<usize> {
        let mut arrived = self.arrived.lock().expect("no panic");
        receive(&self.socket, window, &mut arrived)
    }
}

fn start_local(dataset: Dataset) -> (LocalStream, blocking::FrameReader<LocalWorker>, Pool) {
    let pool = Pool::new(1 << 26, 1 << 20);
    let service = service(dataset, Limits::default(), &pool);
    let (client, accepted) = LocalStream::pair().expect("sockets");
    accepted.set_nonblocking(true).expect("supported");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (_stop, stopping) = watch::channel(false);
            let stream = UnixStream::from_std(accepted).expect("a socket");
            let activity = Arc::new(Activity::new(Duration::ZERO));
            serve_local(service, stream, stopping, activity).await
        })
    });
    let worker = LocalWorker {
        socket: client.try_clone().expect("a socket can be shared"),
        arrived: Arc::default(),
    };
    let decoder = FrameDecoder::new(Pool::new(1 << 26, 0), Limits::default());
    (client, blocking::FrameReader::new(worker, decoder), pool)
}

fn local_batch(id: u64, step: u32, released: &[u32]) -> Frame<AlignedBuffer> {
    request(id, |mut root| {
        root.set_type(MessageType::BatchRequest);
        let mut batch = root.init_batch_request();
        batch.set_batch_size(4);
        batch.set_shards(1);
        batch.set_step(step);
        batch.set_released(released).expect("short");
    })
}

/// What a worker reads: an announcement with its memory, or where a batch is.
enum Local {
    Announced(Announcement, PrivateRegion),
    Lent { region: u32, generation: u64 },
    Refused(String),
}

fn next_local(frames: &mut blocking::FrameReader<LocalWorker>) -> Local {
    let frame = frames.read_frame().expect("a frame").expect("open");
    let reader = frame.into_reader(&Limits::default());
    let root = reader.get_root::<message::Reader<'_>>().expect("a message");
    match root.which().expect("known") {
        message::SharedRegion(region) => {
            let announcement = Announcement::read(region.expect("set"));
            let mut arrived = frames.stream().arrived.lock().expect("no panic");
            let descriptor = arrived.take().expect("it came with the announcement");
            let region = PrivateRegion::map(descriptor.as_fd(), announcement.bytes);
            Local::Announced(announcement, region.expect("sealed"))
        }
        message::TrainingBatch(batch) => {
            let batch = batch.expect("set");
            let place = batch.get_place().expect("set");
            assert!(batch
                .get_features()
                .expect("set")
                .get_data()
                .expect("none")
                .is_empty());
            Local::Lent {
                region: place.get_region(),
                generation: place.get_generation(),
            }
        }
        message::ErrorReply(error) => {
            let detail = error.expect("set").get_detail().expect("set");
            Local::Refused(detail.to_string().expect("UTF-8"))
        }
        _ => panic!("another message"),
    }
}

#[test]
fn a_region_is_announced_before_its_first_use_and_used_again_once_released() {
    // 4 samples of 32 KiB are worth a region.
    let (mut stream, mut frames, pool) = start_local(wide(12, 1 << 13));
    send(&mut stream, &local_batch(1, 0, &[])).expect("sent");
    let Local::Announced(announcement, region) = next_local(&mut frames) else {
        panic!("not announced");
    };
    assert_eq!(announcement.id, 1);
    assert!(matches!(
        next_local(&mut frames),
        Local::Lent {
            region: 1,
            generation: 1
        }
    ));
    assert!(pool.live_bytes() >= region.len());
    // Not released, so the next batch is elsewhere.
    send(&mut stream, &local_batch(2, 1, &[])).expect("sent");
    assert!(matches!(next_local(&mut frames), Local::Announced(second, _) if second.id == 2));
    assert!(matches!(
        next_local(&mut frames),
        Local::Lent { region: 2, .. }
    ));
    send(&mut stream, &local_batch(3, 2, &[1])).expect("sent");
    assert!(matches!(
        next_local(&mut frames),
        Local::Lent {
            region: 1,
            generation: 2
        }
    ));
    send(&mut stream, &local_batch(4, 2, &[7])).expect("sent");
    let Local::Refused(reason) = next_local(&mut frames) else {
        panic!("not refused");
    };
    assert!(reason.contains("region 7 is released"), "{reason}");
}

#[test]
fn nothing_can_be_released_over_tcp() {
    let ((mut stream, mut frames), _stop, _serving) = start();
    send(&mut stream, &local_batch(1, 0, &[1])).expect("sent");
    let (_, text) = next(&mut frames).expect("an answer");
    assert!(text.contains("Unix sockets only"), "{text}");
}
