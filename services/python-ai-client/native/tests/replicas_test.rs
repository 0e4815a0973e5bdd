//! The client of the data service with two replicas: one is lost, late, wrong, or serves a
//! different dataset.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where something unexpected happens"
)]

mod peer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use native_core::{DataClient, Uninterrupted};
use pangea_wire::schema::MessageType;
use peer::data::{
    answer_all, answer_dataset, assert_batch, connect, connect_for, key, next_step, send_batch,
    serving, serving_dataset, PATIENT,
};
use peer::{eventually, Peer, Script, Service};

/// The step whose first reply is held back.
const HELD: u32 = 100;

fn start(script: Script) -> Service {
    Service::on("127.0.0.1:0", vec![script])
}

/// A client with both, once both are connected.
fn both(one: &Service, other: &Service) -> DataClient {
    let addresses = format!("{},{}", one.address, other.address);
    let client = connect(&addresses, PATIENT).expect("they listen");
    eventually(|| client.stopper().replicas().iter().all(|(_, up)| *up));
    client
}

fn collect(client: &mut DataClient, step: u32) {
    let batch = client.batch(key(step), &mut Uninterrupted);
    assert_batch(&batch.expect("answered"), step);
}

/// When a replica dies, its requests move to the other one; both had some.
#[test]
fn the_other_replica_takes_over() {
    let dying = start(serving(|mut peer| {
        peer.expect(MessageType::BatchRequest);
    }));
    let living = start(serving(|mut peer| answer_all(&mut peer)));
    let mut client = both(&dying, &living);
    (0..20).for_each(|step| client.prefetch(&[key(step)]).expect("noted"));
    (0..25).for_each(|step| collect(&mut client, step));
    dying.finish();
    drop(client);
    living.finish();
}

/// Two replicas. The one that gets the request for [`HELD`] first sends its name through the
/// channel and replies only when the sender is dropped, with features of `fill`.
fn one_is_late(fill: u8) -> (Service, Service, Sender<()>, Receiver<&'static str>) {
    let (release, held) = channel::<()>();
    let (tell, late) = channel();
    let held = Arc::new(Mutex::new(held));
    let first = Arc::new(AtomicBool::new(true));
    let replica = |name: &'static str| {
        let (held, first, tell) = (Arc::clone(&held), Arc::clone(&first), tell.clone());
        start(serving(move |mut peer: Peer| {
            while let Some((id, step)) = next_step(&mut peer) {
                let mut features = step as u8;
                if step == HELD && first.swap(false, Ordering::SeqCst) {
                    tell.send(name).expect("the test waits");
                    let _ = held.lock().expect("no panic").recv();
                    features = fill;
                }
                send_batch(&mut peer, id, step, features, |_| ());
            }
        }))
    };
    (replica("one"), replica("other"), release, late)
}

/// Gives the client observations, so that it knows what is late.
fn warm_up(client: &mut DataClient) {
    (0..20).for_each(|step| collect(client, step));
}

/// When a reply is late, the other replica is asked as well, and the first reply counts.
#[test]
fn a_late_batch_comes_from_the_other_replica() {
    let (one, other, release, late) = one_is_late(HELD as u8);
    let mut client = both(&one, &other);
    warm_up(&mut client);
    client.prefetch(&[key(HELD)]).expect("noted");
    late.recv().expect("asked");
    // The replica that was asked first still holds its reply back.
    collect(&mut client, HELD);
    drop(release);
    // Its reply is the same and is dropped; both stay connected.
    (0..60).for_each(|step| client.prefetch(&[key(step)]).expect("noted"));
    (0..60).for_each(|step| collect(&mut client, step));
    assert!(client.stopper().replicas().iter().all(|(_, up)| *up));
    drop(client);
    one.finish();
    other.finish();
}

/// When two replies differ, nobody can say which one is right, so the client returns nothing more.
#[test]
fn two_replies_must_be_the_same() {
    let (one, other, release, late) = one_is_late(!(HELD as u8));
    let mut client = both(&one, &other);
    warm_up(&mut client);
    client.prefetch(&[key(HELD)]).expect("noted");
    late.recv().expect("asked");
    collect(&mut client, HELD);
    drop(release);
    let mut error = None;
    eventually(|| {
        error = client.batch(key(1), &mut Uninterrupted).err();
        error.is_some()
    });
    let error = error.expect("just seen").to_string();
    assert!(
        error.contains(&one.address)
            && error.contains(&other.address)
            && error.contains("gave different batches for shard 1 of step 100 of epoch 3 (train)"),
        "{error}"
    );
    let again = client.prefetch(&[key(2)]).expect_err("it is over");
    assert_eq!(again.to_string(), error);
    drop(client);
    one.finish();
    other.finish();
}

/// A replica that serves a different dataset is not used, the other one is; when that one is gone,
/// the error names both.
#[test]
fn a_different_dataset_is_refused() {
    let (kill, killed) = channel::<()>();
    let right = start(serving(move |mut peer| {
        for _ in 0..20 {
            let (id, step) = next_step(&mut peer).expect("asked");
            send_batch(&mut peer, id, step, step as u8, |_| ());
        }
        let _ = killed.recv();
    }));
    let (answered, begin) = channel::<()>();
    let wrong = start(Box::new(move |mut peer| {
        // The other replica connects first.
        let _ = begin.recv();
        answer_dataset(&mut peer, 8);
        assert!(peer.next().is_none(), "no batch is requested from it");
    }));
    let addresses = format!("{},{}", wrong.address, right.address);
    let patience = Duration::from_millis(200);
    let mut client = connect_for(&addresses, PATIENT, patience).expect("one of them will do");
    drop(answered);
    let wrong_address = wrong.address.clone();
    wrong.finish();
    (0..20).for_each(|step| collect(&mut client, step));
    assert_eq!(
        client.stopper().replicas(),
        [
            (wrong_address.clone(), false),
            (right.address.clone(), true)
        ]
    );
    drop(kill);
    let right_address = right.address.clone();
    right.finish();
    let error = client.batch(key(50), &mut Uninterrupted).err();
    let error = error.expect("nobody is left").to_string();
    assert!(
        error.contains(&format!("for 0.2 s at {wrong_address}, {right_address}")),
        "{error}"
    );
}

/// A service that restarts with different data fails the client at once: there is no other replica
/// to wait for.
#[test]
fn a_service_must_come_back_with_the_same_data() {
    let first = start(serving_dataset(9, drop));
    let address = first.address.clone();
    let mut client = connect(&address, PATIENT).expect("it listens");
    first.finish();
    let other = Service::on(
        &address,
        vec![serving_dataset(8, |mut peer| {
            assert!(peer.next().is_none(), "no batch is requested from it")
        })],
    );
    let error = client.batch(key(0), &mut Uninterrupted).err();
    let error = error.expect("other data").to_string();
    let expected = format!(
        "{address} serves the dataset `digits` with hash 080808080808, but {address} served `digits` with hash 090909090909"
    );
    assert!(error.contains(&expected), "{error}");
    other.finish();
}
