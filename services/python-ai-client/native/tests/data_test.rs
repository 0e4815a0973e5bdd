//! The client of the data service against a service that answers, refuses, sends wrong data, stalls
//! and vanishes.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where something unexpected happens"
)]

mod peer;

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use native_core::{CoreError, Uninterrupted, Waiter};
use pangea_wire::schema::{message, training_batch, ErrorAction, MessageType};
use pangea_wire::DType;
use peer::data::{
    answer_all, answer_batch, assert_batch, connect, connect_for, key, serving, PATIENT,
};
use peer::{Script, Service};

const ANYWHERE: &str = "127.0.0.1:0";

/// Batches are requested ahead, may be collected in any order, and own aligned memory.
#[test]
fn batches_are_prefetched() {
    let script = serving(|mut peer| {
        (0..5).for_each(|_| answer_batch(&mut peer, |_| ()));
        assert!(
            peer.next().is_none(),
            "a batch requested twice is one request"
        );
    });
    let service = Service::on(ANYWHERE, vec![script]);
    let mut client = connect(&service.address, PATIENT).expect("it listens");
    for step in 0..4 {
        client.prefetch(&[key(step)]).expect("noted");
        client.prefetch(&[key(step)]).expect("known");
    }
    let mut kept = Vec::new();
    for step in [2, 0, 4, 3, 1] {
        let batch = client.batch(key(step), &mut Uninterrupted);
        kept.push((step, batch.expect("answered")));
    }
    drop(client);
    for (step, batch) in kept {
        assert_batch(&batch, step);
        assert_eq!(batch.features.memory.as_ptr().as_ptr() as usize % 64, 0);
    }
    service.finish();
}

/// The client returns the service's description of its dataset.
#[test]
fn the_dataset_is_described() {
    let service = Service::on(ANYWHERE, vec![serving(|mut peer| answer_all(&mut peer))]);
    let mut client = connect(&service.address, PATIENT).expect("it listens");
    assert_eq!(
        client.stopper().replicas(),
        [(service.address.clone(), true)]
    );
    let info = client.dataset(&mut Uninterrupted).expect("known");
    assert_eq!(
        (info.name.as_str(), info.train_samples, info.classes),
        ("digits", 1438, 10)
    );
    assert_eq!(info.features.shape, [1, 8, 8]);
    assert_eq!(info.labels.dtype, DType::Int64);
    drop(client);
    service.finish();
}

/// A refusal concerns one request; the connection stays.
#[test]
fn a_refusal_is_for_one_request() {
    let script = serving(|mut peer| {
        let (id, _) = peer.expect(MessageType::BatchRequest);
        let detail = "step 9 is beyond the epoch's 5 steps";
        peer.refuse(id, ErrorAction::FixRequest, detail);
        answer_batch(&mut peer, |_| ());
    });
    let service = Service::on(ANYWHERE, vec![script]);
    let mut client = connect(&service.address, PATIENT).expect("it listens");
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

/// The client's error when its request gets a wrong reply on three connections.
fn spoiled(spoil: fn(&mut message::Builder<'_>)) -> String {
    let script = || serving(move |mut peer| answer_batch(&mut peer, spoil));
    let service = Service::on(ANYWHERE, vec![script(), script(), script()]);
    let mut client = connect(&service.address, PATIENT).expect("it listens");
    let error = client.batch(key(1), &mut Uninterrupted).err();
    service.finish();
    error.expect("must be refused").to_string()
}

/// Batches that were not requested, or whose bytes do not match their hash, are not accepted.
#[test]
fn a_wrong_batch_is_refused() {
    fn batch<'a>(root: &'a mut message::Builder<'_>) -> training_batch::Builder<'a> {
        match root.reborrow().which() {
            Ok(message::TrainingBatch(Ok(batch))) => batch,
            _ => panic!("a batch is being written"),
        }
    }
    let error = spoiled(|root| batch(root).set_hash(&[0; 32]));
    assert!(
        error.contains("trainingBatch has bytes that do not match its hash"),
        "{error}"
    );
    let error = spoiled(|root| batch(root).set_hash(&[0; 31]));
    assert!(error.contains("TrainingBatch.hash has 31 bytes"), "{error}");
    let error = spoiled(|root| batch(root).set_shard(2));
    assert!(
        error.contains("is not the one that was requested"),
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

/// A batch that was damaged in transit is requested again.
#[test]
fn a_corrupt_batch_is_requested_again() {
    let corrupt = serving(|mut peer| {
        answer_batch(&mut peer, |root| match root.reborrow().which() {
            Ok(message::TrainingBatch(Ok(mut batch))) => batch.set_hash(&[0; 32]),
            _ => panic!("a batch is being written"),
        });
        while peer.next().is_some() {}
    });
    let whole = serving(|mut peer| answer_all(&mut peer));
    let service = Service::on(ANYWHERE, vec![corrupt, whole]);
    let mut client = connect(&service.address, PATIENT).expect("it listens");
    client.prefetch(&[key(1)]).expect("noted");
    for step in 0..3 {
        let batch = client.batch(key(step), &mut Uninterrupted);
        assert_batch(&batch.expect("answered"), step);
    }
    drop(client);
    service.finish();
}

/// A service that is killed between its replies and restarts at the same address gives the same
/// batches.
#[test]
fn a_restart_is_survived() {
    let killed: Script = serving(|mut peer| {
        (0..3).for_each(|_| answer_batch(&mut peer, |_| ()));
        peer.expect(MessageType::BatchRequest);
    });
    let service = Service::on(ANYWHERE, vec![killed]);
    let address = service.address.clone();
    let mut client = connect(&address, PATIENT).expect("it listens");
    (0..8).for_each(|step| client.prefetch(&[key(step)]).expect("noted"));
    // Nobody listens there for a while.
    service.finish();
    let again = serving(|mut peer| {
        (0..5).for_each(|_| answer_batch(&mut peer, |_| ()));
        answer_all(&mut peer);
    });
    let service = Service::on(&address, vec![again]);
    for step in 0..9 {
        let batch = client.batch(key(step), &mut Uninterrupted);
        assert_batch(&batch.expect("answered"), step);
    }
    drop(client);
    service.finish();
}

/// A service that owes a reply and stays silent is disconnected, and asked again.
#[test]
fn a_stalled_service_is_replaced() {
    let stalled = serving(|mut peer| {
        peer.expect(MessageType::BatchRequest);
        assert!(peer.next().is_none(), "the client disconnects");
    });
    let awake = serving(|mut peer| answer_all(&mut peer));
    let service = Service::on(ANYWHERE, vec![stalled, awake]);
    let mut client = connect(&service.address, Duration::from_millis(300)).expect("it listens");
    let batch = client.batch(key(0), &mut Uninterrupted);
    assert_batch(&batch.expect("answered"), 0);
    drop(client);
    service.finish();
}

/// When no service has been reachable for long, calls fail and say where and why; once one is back,
/// they succeed.
#[test]
fn a_wait_without_a_service_is_bounded() {
    let service = Service::on(ANYWHERE, vec![serving(drop)]);
    let address = service.address.clone();
    let patience = Duration::from_millis(200);
    let mut client = connect_for(&address, PATIENT, patience).expect("it listens");
    service.finish();
    let error = client.batch(key(0), &mut Uninterrupted).err();
    let error = error.expect("nobody is there").to_string();
    let expected = format!("no data service was reachable for 0.2 s at {address} (");
    assert!(error.contains(&expected), "{error}");

    let again = serving(|mut peer| answer_all(&mut peer));
    let service = Service::on(&address, vec![again]);
    peer::eventually(|| client.stopper().replicas()[0].1);
    let batch = client.batch(key(0), &mut Uninterrupted);
    assert_batch(&batch.expect("answered"), 0);
    drop(client);
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

/// A waiter can end a wait; the reply that arrives later can still be collected.
#[test]
fn an_interrupted_wait_loses_nothing() {
    let (release, held) = channel::<()>();
    let script = serving(move |mut peer| {
        let _ = held.recv();
        answer_batch(&mut peer, |_| ());
    });
    let service = Service::on(ANYWHERE, vec![script]);
    let mut client = connect(&service.address, PATIENT).expect("it listens");
    let result = client.batch(key(5), &mut StopAfter(2));
    assert!(matches!(result, Err(CoreError::Interrupted)));
    drop(release);
    let batch = client.batch(key(5), &mut Uninterrupted);
    assert_batch(&batch.expect("answered"), 5);
    service.finish();
}

/// The same while no service is there.
#[test]
fn a_wait_without_a_service_can_be_interrupted() {
    let service = Service::on(ANYWHERE, vec![serving(drop)]);
    let mut client = connect(&service.address, PATIENT).expect("it listens");
    service.finish();
    let result = client.batch(key(5), &mut StopAfter(3));
    assert!(matches!(result, Err(CoreError::Interrupted)));
}

/// Another thread can end a wait.
#[test]
fn a_stopper_ends_the_wait() {
    let (tell, asked) = channel();
    let script = serving(move |mut peer| {
        peer.expect(MessageType::BatchRequest);
        tell.send(()).expect("the test waits");
        assert!(peer.next().is_none());
    });
    let service = Service::on(ANYWHERE, vec![script]);
    let mut client = connect(&service.address, PATIENT).expect("it listens");
    let stopper = client.stopper();
    let waiting = std::thread::spawn(move || client.batch(key(0), &mut Uninterrupted).err());
    asked.recv().expect("asked");
    stopper.stop();
    let error = waiting.join().expect("no panic").expect("stopped");
    assert!(
        error
            .to_string()
            .contains("closed by this program; open a new connection"),
        "{error}"
    );
    service.finish();
}

/// Requests that are never collected are bounded.
#[test]
fn uncollected_requests_are_bounded() {
    let script = serving(|mut peer| while peer.next().is_some() {});
    let service = Service::on(ANYWHERE, vec![script]);
    let mut client = connect(&service.address, PATIENT).expect("it listens");
    for step in 0..256 {
        client.prefetch(&[key(step)]).expect("within the bound");
    }
    let error = client.prefetch(&[key(256)]).expect_err("beyond the bound");
    assert!(matches!(error, CoreError::Argument(_)), "{error}");
    drop(client);
    service.finish();
}

/// When nobody listens, connecting is repeated until the timeout, and the error names the address.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test is about how long it really takes"
)]
fn connecting_is_bounded() {
    let listener = std::net::TcpListener::bind(ANYWHERE).expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let started = Instant::now();
    let refused = |addresses: &str, timeout| {
        let result = connect(addresses, timeout);
        result.err().expect("nobody listens").to_string()
    };
    let error = refused(&address, Duration::from_millis(250));
    let expected = format!("cannot connect to {address} within 0.25 s: Connection refused");
    assert!(error.contains(&expected), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
    let list = format!("{address}, localhost:1");
    let error = refused(&list, Duration::from_millis(250));
    assert!(
        error.contains(&list) && error.contains(&format!("{address}: Connection refused")),
        "{error}"
    );
    assert!(refused("localhost", PATIENT).contains("`localhost` is not host:port"));
    assert!(refused(&format!("{address},"), PATIENT).contains("`` is not host:port"));
    let twice = refused(&format!("{address},{address}"), PATIENT);
    assert!(twice.contains("appears twice"), "{twice}");
}

/// A service that refuses to describe a dataset is not a data service: the client fails at once.
#[test]
fn a_different_service_is_recognised() {
    let service = Service::start(|mut peer| {
        let (id, _) = peer.expect(MessageType::DatasetRequest);
        let detail = "unsupported: an orchestrator takes no datasetRequest";
        peer.refuse(id, ErrorAction::FixRequest, detail);
    });
    let error = connect(&service.address, PATIENT).err().expect("refused");
    let error = error.to_string();
    assert!(
        error.contains(&service.address) && error.contains("takes no datasetRequest"),
        "{error}"
    );
    service.finish();
}
