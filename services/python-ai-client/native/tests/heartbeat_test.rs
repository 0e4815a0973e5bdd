//! The heartbeats of a worker: they fill every silence, never come inside a frame, and end with the
//! connection.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where something unexpected happens"
)]

mod peer;

use std::sync::mpsc::channel;
use std::time::Duration;

use native_core::{Join, OrchestratorClient, Uninterrupted, WorkReply};
use pangea_wire::schema::{ErrorAction, MessageType, Verdict};
use peer::run::{
    accept_join, collect_update, connect, dataset, flat_bytes, join, joined, parameters, reports,
    submit, work, HASH,
};
use peer::{Peer, Service};

/// Short, so that many fit between and beside the frames.
const BEAT: Duration = Duration::from_millis(2);

fn joined_with_heartbeats(service: &Service) -> OrchestratorClient {
    let mut client = connect(service);
    let (parameters, dataset) = (parameters(), dataset());
    let join = Join {
        heartbeat: BEAT,
        ..join(&parameters, &dataset)
    };
    client.join(&join, &mut Uninterrupted).expect("accepted");
    client
}

fn accept(peer: &mut Peer) {
    assert_eq!(accept_join(peer), 0.002);
}

/// Expects that the next `count` messages are heartbeats.
fn hear(peer: &mut Peer, count: usize) {
    for _ in 0..count {
        let (kind, id, _) = peer.next().expect("the worker continues");
        assert_eq!((kind, id), (MessageType::Heartbeat, 0));
    }
}

fn finish_run(peer: &mut Peer, id: u64) {
    peer.send(MessageType::RunFinished, id, |root| {
        let mut finished = root.init_run_finished();
        finished.set_steps(6);
        finished.set_parameters_hash(&HASH);
    });
}

/// While the worker computes, and while it waits: also before it is answered at all.
#[test]
fn heartbeats_fill_the_silence() {
    let (tell, heard) = channel();
    let service = Service::start(move |mut peer| {
        accept(&mut peer);
        hear(&mut peer, 20);
        tell.send(()).expect("the test waits");
        let (id, _) = peer.expect(MessageType::WorkRequest);
        hear(&mut peer, 20);
        finish_run(&mut peer, id);
        let (id, _) = peer.expect(MessageType::Leave);
        peer.send(MessageType::Leave, id, |root| {
            root.init_leave().set_reason("")
        });
        while let Some((kind, ..)) = peer.next() {
            assert_eq!(kind, MessageType::Heartbeat);
        }
    });
    let mut client = joined_with_heartbeats(&service);
    heard
        .recv()
        .expect("heartbeats arrive while no call is made");
    let reply = client.request_work(&work(6), &mut Uninterrupted);
    assert!(matches!(reply, Ok(WorkReply::RunFinished { .. })));
    client
        .leave("done", "", false, &mut Uninterrupted)
        .expect("answered");
    // Nothing arrives after the end, although the client is still alive.
    service.finish();
    drop(client);
}

/// Long messages and heartbeats on a connection that is read slowly: every frame is intact.
#[test]
fn heartbeats_never_come_inside_a_frame() {
    const UPDATES: usize = 5;
    let service = Service::start(|mut peer| {
        accept(&mut peer);
        for _ in 0..UPDATES {
            let (id, flat, _) = collect_update(&mut peer);
            assert!(flat == flat_bytes(), "the bytes are those that were sent");
            hear(&mut peer, 2);
            peer.send(MessageType::GradientAck, id, |root| {
                root.init_gradient_ack().set_verdict(Verdict::Accepted);
            });
        }
        for _ in 0..20 {
            peer.expect(MessageType::Snapshot);
        }
        hear(&mut peer, 2);
    });
    let mut client = joined_with_heartbeats(&service);
    let flat = flat_bytes();
    for _ in 0..UPDATES {
        let verdict = submit(&mut client, &flat, &reports());
        assert_eq!(verdict.expect("answered")[0].0, Verdict::Accepted);
    }
    let given = client.give_state(5, &HASH, &[&flat[..5 << 20]], &mut Uninterrupted);
    given.expect("copied");
    service.finish();
}

/// A worker that promises no heartbeats sends none.
#[test]
fn without_a_promise_there_are_none() {
    let service = Service::start(|mut peer| {
        assert_eq!(accept_join(&mut peer), 0.0);
        let (id, _) = peer.expect(MessageType::WorkRequest);
        finish_run(&mut peer, id);
        assert!(peer.next().is_none());
        assert_eq!(peer.heartbeats, 0);
    });
    let mut client = joined(&service);
    let reply = client.request_work(&work(6), &mut Uninterrupted);
    assert!(matches!(reply, Ok(WorkReply::RunFinished { .. })));
    drop(client);
    service.finish();
}

/// The loss of the orchestrator ends a wait despite heartbeats, also when it was lost while the
/// worker computed.
#[test]
fn a_lost_orchestrator_ends_the_wait() {
    let service = Service::start(|mut peer| {
        accept(&mut peer);
        peer.expect(MessageType::WorkRequest);
        hear(&mut peer, 3);
    });
    let mut client = joined_with_heartbeats(&service);
    let mut ask = || {
        let reply = client.request_work(&work(6), &mut Uninterrupted);
        reply.err().expect("lost").to_string()
    };
    let error = ask();
    assert!(
        error.contains(&format!("connection to {}: ", service.address)),
        "{error}"
    );
    let again = ask();
    assert!(again.contains("open a new connection"), "{again}");
    service.finish();

    let service = Service::start(|mut peer| accept(&mut peer));
    let address = service.address.clone();
    let mut client = joined_with_heartbeats(&service);
    service.finish();
    let reply = client.request_work(&work(6), &mut Uninterrupted);
    let error = reply.err().expect("lost").to_string();
    assert!(error.contains(&address), "{error}");
}

/// A refusal that arrives while heartbeats are sent is reported with its action.
#[test]
fn a_refusal_is_reported_between_heartbeats() {
    let service = Service::start(|mut peer| {
        accept(&mut peer);
        let (id, _) = peer.expect(MessageType::GradientUpdate);
        peer.refuse(id, ErrorAction::Reconnect, "starting again");
        while peer.next().is_some() {}
    });
    let mut client = joined_with_heartbeats(&service);
    let verdict = submit(&mut client, &flat_bytes(), &reports());
    let error = verdict.expect_err("refused").to_string();
    assert_eq!(error, "reconnect: starting again");
    drop(client);
    service.finish();
}
