//! The client of the data service against a service that answers, refuses, lies, stalls and vanishes.

mod peer;

use std::time::{Duration, Instant};

use native_core::{BatchKey, CoreError, DataClient, Options, Split, Uninterrupted, Waiter};
use pangea_wire::schema::{message, tensor, ErrorAction, MessageType};
use pangea_wire::{write_tensor, Attachments, DType, TensorSpec};
use peer::{pool, prepare, Peer, Service};
use sha2::{Digest, Sha256};

fn key(step: u32) -> BatchKey {
    BatchKey {
        split: Split::Train,
        seed: 7,
        epoch: 3,
        step,
        batch_size: 64,
        shard: 1,
        shards: 8,
    }
}

fn options(timeout: Duration) -> Options {
    Options {
        timeout,
        ..Options::default()
    }
}

fn connect(service: &Service, timeout: Duration) -> DataClient {
    let client = DataClient::connect(
        &service.address,
        options(timeout),
        &pool(),
        &mut Uninterrupted,
    );
    client.expect("the service listens")
}

const PATIENT: Duration = Duration::from_secs(30);

/// Answers one batch request with three samples whose ids start at 10 * step; `spoil` may change the message.
fn answer_batch(peer: &mut Peer, spoil: impl FnOnce(&mut message::Builder<'_>)) {
    let (id, request) = peer.expect(MessageType::BatchRequest);
    let root = request
        .get_root::<message::Reader<'_>>()
        .expect("well formed");
    let Ok(message::BatchRequest(Ok(asked))) = root.which() else {
        panic!("checked by expect");
    };
    assert_eq!(
        (asked.get_seed(), asked.get_batch_size(), asked.get_shards()),
        (7, 64, 8)
    );
    let ids: Vec<u8> = (0..3)
        .flat_map(|sample| (i64::from(asked.get_step()) * 10 + sample).to_le_bytes())
        .collect();
    let features = vec![asked.get_step() as u8; 3 * 64 * 4];
    let labels = vec![1; 3 * 8];
    let mut digest = Sha256::new();
    [&ids, &features, &labels]
        .iter()
        .for_each(|bytes| digest.update(bytes));
    let hash = digest.finalize();
    let spec = |dtype, shape: &[u64]| TensorSpec::new("", dtype, shape.to_vec()).expect("valid");
    let (builder, attachments) = prepare(MessageType::TrainingBatch, id, |mut root| {
        let mut attachments = Attachments::new();
        let mut batch = root.reborrow().init_training_batch();
        batch.set_split(asked.get_split().expect("known"));
        batch.set_epoch(asked.get_epoch());
        batch.set_step(asked.get_step());
        batch.set_shard(asked.get_shard());
        batch.set_epoch_steps(22);
        batch.set_hash(&hash);
        let mut write = |tensor: tensor::Builder<'_>, spec, bytes| {
            write_tensor(tensor, &spec, bytes, &mut attachments).expect("valid");
        };
        write(
            batch.reborrow().init_sample_ids(),
            spec(DType::Int64, &[3]),
            ids,
        );
        write(
            batch.reborrow().init_features(),
            spec(DType::Float32, &[3, 1, 8, 8]),
            features,
        );
        write(batch.init_labels(), spec(DType::Int64, &[3]), labels);
        spoil(&mut root);
        attachments
    });
    peer.send_with(&builder, attachments);
}

/// Batches are asked for ahead, come in any order of collecting, and own aligned memory.
#[test]
fn batches_are_prefetched() {
    let service = Service::start(|mut peer| {
        (0..5).for_each(|_| answer_batch(&mut peer, |_| ()));
        assert!(
            peer.next().is_none(),
            "a batch asked for twice is one request"
        );
    });
    let mut client = connect(&service, PATIENT);
    for step in 0..4 {
        client
            .prefetch(key(step), &mut Uninterrupted)
            .expect("sent");
        client
            .prefetch(key(step), &mut Uninterrupted)
            .expect("known");
    }
    let mut kept = Vec::new();
    for step in [2, 0, 4, 3, 1] {
        let batch = client
            .batch(key(step), &mut Uninterrupted)
            .expect("answered");
        assert_eq!(
            (batch.step, batch.epoch, batch.shard, batch.epoch_steps),
            (step, 3, 1, 22)
        );
        kept.push(batch);
    }
    drop(client);
    for batch in kept {
        assert_eq!(
            batch.sample_ids.memory[..8],
            (i64::from(batch.step) * 10).to_le_bytes()
        );
        assert_eq!(batch.features.memory.as_slice(), [batch.step as u8; 768]);
        assert_eq!(batch.features.spec.shape, [3, 1, 8, 8]);
        assert_eq!(batch.features.memory.as_ptr().as_ptr() as usize % 64, 0);
    }
    service.finish();
}

/// What is served.
#[test]
fn the_dataset_is_described() {
    let service = Service::start(|mut peer| {
        let (id, _) = peer.expect(MessageType::DatasetRequest);
        peer.send(MessageType::DatasetInfo, id, |root| {
            let mut info = root.init_dataset_info();
            info.set_name("digits");
            info.set_hash(&[9; 32]);
            info.set_train_samples(1438);
            info.set_held_out_samples(359);
            info.set_classes(10);
            let mut features = info.reborrow().init_features();
            features.set_dtype(DType::Float32.into());
            features.set_shape(&[1, 8, 8][..]).expect("short");
            info.init_labels().set_dtype(DType::Int64.into());
        });
    });
    let info = connect(&service, PATIENT)
        .dataset(&mut Uninterrupted)
        .expect("answered");
    assert_eq!(
        (info.name.as_str(), info.train_samples, info.classes),
        ("digits", 1438, 10)
    );
    assert_eq!(info.features.shape, [1, 8, 8]);
    assert_eq!(info.labels.dtype, DType::Int64);
    service.finish();
}

/// A refusal concerns one request; the connection goes on.
#[test]
fn a_refusal_is_for_one_request() {
    let service = Service::start(|mut peer| {
        let (id, _) = peer.expect(MessageType::BatchRequest);
        peer.refuse(
            id,
            ErrorAction::FixRequest,
            "step 9 is beyond the epoch's 5 steps",
        );
        answer_batch(&mut peer, |_| ());
    });
    let mut client = connect(&service, PATIENT);
    let error = client
        .batch(key(9), &mut Uninterrupted)
        .err()
        .expect("refused");
    let CoreError::Peer {
        action,
        detail,
        retry_after_seconds,
        ..
    } = error
    else {
        panic!("not a refusal: {error}");
    };
    assert_eq!(
        (action, retry_after_seconds),
        (ErrorAction::FixRequest, 1.5)
    );
    assert_eq!(detail, "step 9 is beyond the epoch's 5 steps");
    client.batch(key(1), &mut Uninterrupted).expect("answered");
    service.finish();
}

fn spoiled(spoil: impl FnOnce(&mut message::Builder<'_>) + Send + 'static) -> String {
    let service = Service::start(|mut peer| answer_batch(&mut peer, spoil));
    let mut client = connect(&service, PATIENT);
    let error = client
        .batch(key(1), &mut Uninterrupted)
        .err()
        .expect("must be refused")
        .to_string();
    let again = client
        .batch(key(2), &mut Uninterrupted)
        .err()
        .expect("the connection is over");
    assert!(
        again.to_string().contains("open a new connection"),
        "{again}"
    );
    service.finish();
    error
}

/// Batches that are not what was asked for, or whose bytes are not what the hash says, end the connection.
#[test]
fn a_wrong_batch_is_refused() {
    fn batch<'a>(
        root: &'a mut message::Builder<'_>,
    ) -> pangea_wire::schema::training_batch::Builder<'a> {
        match root.reborrow().which() {
            Ok(message::TrainingBatch(Ok(batch))) => batch,
            _ => panic!("a batch is being written"),
        }
    }
    let error = spoiled(|root| batch(root).set_hash(&[0; 32]));
    assert!(
        error.contains("trainingBatch has bytes that do not give its hash"),
        "{error}"
    );
    let error = spoiled(|root| batch(root).set_hash(&[0; 31]));
    assert!(error.contains("TrainingBatch.hash has 31 bytes"), "{error}");
    let error = spoiled(|root| batch(root).set_shard(2));
    assert!(
        error.contains("is not the one that was asked for"),
        "{error}"
    );
    let error = spoiled(|root| root.set_request_id(99));
    assert!(
        error.contains("requestId 99 is not that of the oldest open request"),
        "{error}"
    );
    let error = spoiled(|root| root.set_type(MessageType::Leave));
    assert!(error.contains("type leave does not agree"), "{error}");
    let error = spoiled(|root| {
        batch(root)
            .get_labels()
            .expect("there")
            .set_shape(&[4][..])
            .expect("short")
    });
    assert!(
        error.contains("`` has 24 bytes") || error.contains("has 24 bytes, its shape"),
        "{error}"
    );
}

/// A service that goes away, or is silent in the middle, ends the wait with its address.
#[test]
fn a_lost_service_ends_the_wait() {
    let service = Service::start(|mut peer| drop(peer.expect(MessageType::BatchRequest)));
    let error = connect(&service, PATIENT)
        .batch(key(0), &mut Uninterrupted)
        .err()
        .expect("lost");
    let text = error.to_string();
    assert!(
        text.contains(&service.address) && text.contains("closed by the other side"),
        "{text}"
    );

    let (release, held) = std::sync::mpsc::channel::<()>();
    let silent = Service::start(move |mut peer| {
        peer.expect(MessageType::BatchRequest);
        // Returns when the test drops the other end.
        let _ = held.recv();
    });
    let mut client = connect(&silent, Duration::from_millis(300));
    let error = client
        .batch(key(0), &mut Uninterrupted)
        .err()
        .expect("silent")
        .to_string();
    assert!(error.contains("no progress for 0.3 s"), "{error}");
    drop(release);
    silent.finish();
    service.finish();
}

struct StopAfter(u32);

impl Waiter for StopAfter {
    fn tick(&mut self) -> Result<(), CoreError> {
        self.0 -= 1;
        if self.0 == 0 {
            return Err(CoreError::Interrupted);
        }
        Ok(())
    }
}

/// A waiter can end a wait; the answer that comes later is still there to collect.
#[test]
fn an_interrupted_wait_loses_nothing() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let service = Service::start(move |mut peer| {
        let _ = held.recv();
        answer_batch(&mut peer, |_| ());
    });
    let mut client = connect(&service, PATIENT);
    let result = client.batch(key(5), &mut StopAfter(2));
    assert!(matches!(result, Err(CoreError::Interrupted)));
    drop(release);
    client.batch(key(5), &mut Uninterrupted).expect("answered");
    service.finish();
}

/// Another thread can end a wait.
#[test]
fn a_stopper_ends_the_wait() {
    let (tell, asked) = std::sync::mpsc::channel();
    let service = Service::start(move |mut peer| {
        peer.expect(MessageType::BatchRequest);
        tell.send(()).expect("the test waits");
        assert!(peer.next().is_none());
    });
    let mut client = connect(&service, PATIENT);
    let stopper = client.stopper().expect("sockets can be shared");
    let waiting = std::thread::spawn(move || client.batch(key(0), &mut Uninterrupted).err());
    asked.recv().expect("asked");
    stopper.stop();
    let error = waiting.join().expect("no panic").expect("stopped");
    assert!(
        error.to_string().contains("closed by this program"),
        "{error}"
    );
    service.finish();
}

/// Requests that nobody collects are bounded.
#[test]
fn uncollected_requests_are_bounded() {
    let service = Service::start(|mut peer| while peer.next().is_some() {});
    let mut client = connect(&service, PATIENT);
    for step in 0..256 {
        client
            .prefetch(key(step), &mut Uninterrupted)
            .expect("within the bound");
    }
    let error = client
        .prefetch(key(256), &mut Uninterrupted)
        .expect_err("beyond the bound");
    assert!(matches!(error, CoreError::Argument(_)), "{error}");
    drop(client);
    service.finish();
}

/// Nobody there: tried again until the time is over, then an error that names the address.
#[test]
fn connecting_is_bounded() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let started = Instant::now();
    let connect = |address: &str, timeout| {
        let result = DataClient::connect(address, options(timeout), &pool(), &mut Uninterrupted);
        result.err().expect("nobody listens").to_string()
    };
    let error = connect(&address, Duration::from_millis(250));
    assert!(
        error.contains(&format!(
            "cannot connect to {address} within 0.25 s: Connection refused"
        )),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(connect("localhost", PATIENT).contains("`localhost` is not host:port"));
}
