//! The client of the orchestrator against a service that leads it through a run, refuses it, sends
//! wrong data and vanishes.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where something unexpected happens"
)]

mod peer;

use std::time::Duration;

use native_core::{
    CoreError, Gradients, Join, OrchestratorClient, ShardReport, Snapshot, Uninterrupted, Waiter,
    WorkReply,
};
use pangea_content_hash::{content_hash, Method};
use pangea_wire::schema::{aggregate, message, ErrorAction, MessageType, Verdict};
use pangea_wire::{data_slot, write_tensor_bytes, Attachments, FlatLayout};
use peer::run::{
    accept_join, collect_update, connect, dataset, flat_bytes, join, joined, parameters, reports,
    submit, sum, work, HASH,
};
use peer::{prepare, Peer, Service};
use sha2::{Digest, Sha256};

fn ask(client: &mut OrchestratorClient, step: u64) -> Result<WorkReply, CoreError> {
    client.request_work(&work(step), &mut Uninterrupted)
}

/// Sends `flat` as an aggregate in pieces; `spoil` may change each frame.
fn send_aggregate(
    peer: &mut Peer,
    id: u64,
    flat: &[u8],
    spoil: impl Fn(usize, &mut aggregate::Builder<'_>),
) {
    let layout = FlatLayout::new(parameters()).expect("small");
    let frames = layout.frames(4 << 20);
    for (index, pieces) in frames.iter().enumerate() {
        let (builder, attachments) = prepare(MessageType::Aggregate, id, |root| {
            let mut attachments = Attachments::new();
            let mut aggregate = root.init_aggregate();
            aggregate.set_step(5);
            aggregate.set_samples(64);
            aggregate.set_loss_sum(0.1);
            aggregate.set_divisor(60.5);
            if index + 1 == frames.len() {
                aggregate.set_final(true);
                aggregate.set_hash(&content_hash(Method::Xxh3Tree, [flat]));
            }
            let mut list = aggregate.reborrow().init_gradients(pieces.len() as u32);
            for (piece, at) in pieces.iter().zip(0..) {
                let spec = &layout.specs()[piece.tensor];
                let data = &flat[piece.flat.clone()];
                let tensor = list.reborrow().get(at);
                write_tensor_bytes(tensor, spec, piece.byte_offset, data, &mut attachments)
                    .expect("valid");
            }
            spoil(index, &mut aggregate);
            attachments
        });
        peer.send_with(&builder, attachments);
    }
}

/// Join, lease, submit, aggregate, finish, leave: bytes arrive as they were sent.
#[test]
fn a_worker_is_led_through_a_step() {
    let service = Service::start(|mut peer| {
        accept_join(&mut peer);
        let (id, _) = peer.expect(MessageType::WorkRequest);
        peer.send(MessageType::ShardLease, id, |root| {
            let mut lease = root.init_shard_lease();
            lease.set_step(5);
            lease.set_epoch_step(2);
            lease.set_shards(&[4, 5][..]).expect("short");
            lease.set_separate(&[5][..]).expect("short");
        });
        let (id, flat, shards) = collect_update(&mut peer);
        assert_eq!((shards, flat == flat_bytes()), (vec![4, 5], true));
        peer.send(MessageType::GradientAck, id, |root| {
            let mut ack = root.init_gradient_ack();
            ack.set_verdict(Verdict::Duplicate);
            ack.set_detail("was there");
        });
        let (id, _) = peer.expect(MessageType::WorkRequest);
        send_aggregate(&mut peer, id, &flat, |_, _| ());
        let (id, _) = peer.expect(MessageType::WorkRequest);
        peer.send(MessageType::RunFinished, id, |root| {
            let mut finished = root.init_run_finished();
            finished.set_steps(6);
            finished.set_parameters_hash(&HASH);
            finished.set_incidents(3);
            finished.set_stopped("good enough");
        });
        let (id, left) = peer.expect(MessageType::Leave);
        let root = left.get_root::<message::Reader<'_>>();
        let Ok(message::Leave(Ok(leave))) = root.expect("well formed").which() else {
            panic!("checked by expect");
        };
        assert_eq!(leave.get_broken().expect("there"), "a generator");
        peer.send(MessageType::Leave, id, |root| {
            root.init_leave().set_reason("")
        });
        assert!(peer.next().is_none());
    });
    let mut client = joined(&service);
    let Ok(WorkReply::ShardLease {
        step: 5,
        epoch: 0,
        epoch_step: 2,
        shards,
        separate,
    }) = ask(&mut client, 5)
    else {
        panic!("a lease was sent");
    };
    assert_eq!((shards, separate), (vec![4, 5], vec![5]));
    let flat = flat_bytes();
    let verdicts = submit(&mut client, &flat, &reports());
    assert_eq!(
        verdicts.expect("answered"),
        [(Verdict::Duplicate, "was there".to_owned())]
    );
    let Ok(WorkReply::Aggregate {
        step: 5,
        samples: 64,
        loss_sum,
        divisor,
        gradients: Gradients::Received(gradients),
        hash,
    }) = ask(&mut client, 5)
    else {
        panic!("an aggregate was sent");
    };
    assert!(gradients.as_slice() == flat && loss_sum == 0.1 && divisor == 60.5);
    assert_eq!(hash, content_hash(Method::Xxh3Tree, [&flat[..]]));
    let Ok(WorkReply::RunFinished {
        steps: 6,
        incidents: 3,
        stopped,
        ..
    }) = ask(&mut client, 6)
    else {
        panic!("the end was sent");
    };
    assert_eq!(stopped, "good enough");
    client
        .leave("done", "a generator", false, &mut Uninterrupted)
        .expect("answered");
    service.finish();
}

/// A worker sends its sums and its question without waiting in between: the peer reads all of them
/// before it answers any. Verdicts and answer arrive in that order.
#[test]
fn sums_and_the_next_question_leave_together() {
    let service = Service::start(|mut peer| {
        accept_join(&mut peer);
        let (first, flat, shards) = collect_update(&mut peer);
        let (second, _, _) = collect_update(&mut peer);
        assert_eq!((shards, flat == flat_bytes()), (vec![4, 5], true));
        let (asking, _) = peer.expect(MessageType::WorkRequest);
        assert_eq!((second, asking), (first + 1, first + 2));
        for (id, verdict) in [(first, Verdict::Accepted), (second, Verdict::Stale)] {
            peer.send(MessageType::GradientAck, id, |root| {
                root.init_gradient_ack().set_verdict(verdict);
            });
        }
        send_aggregate(&mut peer, asking, &flat, |_, _| ());
        // The next question is asked before anybody waits for the answer.
        let (asking, _) = peer.expect(MessageType::WorkRequest);
        peer.refuse(asking, ErrorAction::Resync, "other parameters");
    });
    let mut client = joined(&service);
    let (flat, reports) = (flat_bytes(), reports());
    let updates = [sum(&flat, &reports), sum(&flat, &reports)];
    let verdicts = client.submit_and_ask(&updates, Some(&work(5)), &mut Uninterrupted);
    let verdicts = verdicts.expect("answered");
    let kinds: Vec<_> = verdicts.into_iter().map(|(verdict, _)| verdict).collect();
    assert_eq!(kinds, [Verdict::Accepted, Verdict::Stale]);
    let answer = client.answer(&mut Uninterrupted);
    assert!(matches!(answer, Ok(WorkReply::Aggregate { step: 5, .. })));
    let none = client.answer(&mut Uninterrupted).err().expect("not asked");
    assert!(none.to_string().contains("ask for work before"), "{none}");
    client.ask(&work(6), &mut Uninterrupted).expect("sent");
    let refused = client.answer(&mut Uninterrupted).err().expect("refused");
    assert!(matches!(refused, CoreError::Peer { .. }), "{refused}");
    service.finish();
}

fn spoiled(spoil: impl Fn(usize, &mut aggregate::Builder<'_>) + Send + 'static) -> String {
    let service = Service::start(move |mut peer| {
        accept_join(&mut peer);
        let (id, _) = peer.expect(MessageType::WorkRequest);
        send_aggregate(&mut peer, id, &flat_bytes(), spoil);
        while peer.next().is_some() {}
    });
    let mut client = joined(&service);
    let error = ask(&mut client, 5)
        .err()
        .expect("must be refused")
        .to_string();
    assert!(error.contains(&service.address), "{error}");
    drop(client);
    service.finish();
    error
}

/// What was sent of a sum that is not committed in the end is dropped, and the answer is waited
/// for.
#[test]
fn an_abandoned_aggregate_leaves_no_trace() {
    let mut dropped = flat_bytes();
    dropped[0] ^= 1;
    let service = Service::start(move |mut peer| {
        accept_join(&mut peer);
        let (id, _) = peer.expect(MessageType::WorkRequest);
        send_aggregate(&mut peer, id, &dropped, |_, frame| {
            let last = frame.reborrow().get_final();
            frame.set_abandoned(last);
            frame.set_final(false);
        });
        send_aggregate(&mut peer, id, &flat_bytes(), |_, _| ());
        while peer.next().is_some() {}
    });
    let mut client = joined(&service);
    let Ok(WorkReply::Aggregate {
        gradients: Gradients::Received(gradients),
        ..
    }) = ask(&mut client, 5)
    else {
        panic!("an aggregate was sent");
    };
    assert_eq!(gradients.as_slice(), flat_bytes());
    drop(client);
    service.finish();
}

/// An aggregate that contradicts its own hash or counts never reaches the model.
#[test]
fn a_wrong_aggregate_is_refused() {
    let error = spoiled(|_, frame| frame.set_hash(&[0; 32]));
    assert!(
        error.contains("aggregate has bytes that do not match its hash"),
        "{error}"
    );
    let error = spoiled(|index, frame| frame.set_samples(64 + index as u64));
    assert!(
        error.contains("differ in step, samples, lossSum or divisor"),
        "{error}"
    );
    for divisor in [-1.0, f64::NAN, f64::INFINITY] {
        let error = spoiled(move |_, frame| frame.set_divisor(divisor));
        assert!(error.contains("aggregate has the divisor"), "{error}");
    }
    let error = spoiled(|index, frame| frame.set_final(index == 0));
    assert!(error.contains("Aggregate.hash has 0 bytes"), "{error}");
    let error = spoiled(|index, frame| {
        let mut pieces = frame.reborrow().get_gradients().expect("there");
        pieces.reborrow().get(0).set_byte_offset(index as u64 * 4);
    });
    assert!(error.contains("tensor `weight`"), "{error}");
}

/// A lease whose separate shards are not among the leased ones is refused.
#[test]
fn a_wrong_lease_is_refused() {
    let service = Service::start(|mut peer| {
        accept_join(&mut peer);
        let (id, _) = peer.expect(MessageType::WorkRequest);
        peer.send(MessageType::ShardLease, id, |root| {
            let mut lease = root.init_shard_lease();
            lease.set_shards(&[4, 5][..]).expect("short");
            lease.set_separate(&[6][..]).expect("short");
        });
    });
    let error = ask(&mut joined(&service), 5).err().expect("refused");
    let error = error.to_string();
    assert!(error.contains("shardLease.separate has shard 6"), "{error}");
    service.finish();
}

/// A refusal carries the action; the connection stays as long as the service keeps it.
#[test]
fn refusals_carry_the_action() {
    let service = Service::start(|mut peer| {
        accept_join(&mut peer);
        let (id, _) = peer.expect(MessageType::WorkRequest);
        peer.refuse(id, ErrorAction::Resync, "other parameters");
        let (id, _) = peer.expect(MessageType::WorkRequest);
        peer.refuse(id, ErrorAction::Unspecified, "for unknown reasons");
    });
    let mut client = joined(&service);
    let action = |error| match error {
        Some(CoreError::Peer { action, detail, .. }) => (action, detail),
        _ => panic!("not a refusal"),
    };
    let first = action(ask(&mut client, 0).err());
    assert_eq!(first, (ErrorAction::Resync, "other parameters".to_owned()));
    let second = action(ask(&mut client, 0).err());
    assert_eq!(
        second,
        (ErrorAction::Stop, "for unknown reasons".to_owned())
    );
    service.finish();
}

/// When a service refuses in the middle of a long update and closes, the error is its reason, not
/// "broken pipe".
#[test]
fn a_refusal_in_the_middle_of_sending_is_reported() {
    let service = Service::start(|mut peer| {
        accept_join(&mut peer);
        let (id, _) = peer.expect(MessageType::GradientUpdate);
        peer.refuse(id, ErrorAction::FixRequest, "tensor `weight` has NaN");
        while peer.next().is_some() {}
    });
    let mut client = joined(&service);
    let verdict = submit(&mut client, &flat_bytes(), &reports());
    let error = verdict.expect_err("refused").to_string();
    assert_eq!(error, "fixRequest: tensor `weight` has NaN");
    drop(client);
    service.finish();
}

/// Snapshots are sent and received in pieces and verified; the next request does not wait for the
/// last piece.
#[test]
fn snapshots_travel_in_pieces() {
    let file: Vec<u8> = (0..9 << 20).map(|at| (at * 13 + at / 1021) as u8).collect();
    let expected = file.clone();
    let service = Service::start(move |mut peer| {
        accept_join(&mut peer);
        let (id, _) = peer.expect(MessageType::WorkRequest);
        peer.send(MessageType::SnapshotRequest, id, |root| {
            root.init_snapshot_request().set_step(5)
        });
        // The pieces are passed on, as an orchestrator does, as the reply to the next request.
        let mut pieces = Vec::new();
        let mut asked = None;
        loop {
            let (kind, id, request) = peer.next().expect("the worker continues");
            if kind == MessageType::WorkRequest {
                asked = Some(id);
                continue;
            }
            let root = request
                .get_root::<message::Reader<'_>>()
                .expect("well formed");
            let Ok(message::Snapshot(Ok(piece))) = root.which() else {
                panic!("{kind:?} is neither a snapshot nor a request for work");
            };
            pieces.push((
                piece.get_byte_offset(),
                piece.get_data().expect("there").to_vec(),
            ));
            if piece.get_final() {
                assert_eq!(
                    piece.get_hash().expect("there"),
                    Sha256::digest(&expected).as_slice()
                );
                break;
            }
        }
        assert!(pieces.len() > 9, "no other frame waits for a large piece");
        let id = asked.unwrap_or_else(|| peer.expect(MessageType::WorkRequest).0);
        for (offset, data) in pieces {
            let (builder, attachments) = prepare(MessageType::Snapshot, id, |root| {
                let mut snapshot = root.init_snapshot();
                snapshot.set_step(5);
                snapshot.set_parameters_hash(&HASH);
                snapshot.set_total_bytes(expected.len() as u64);
                snapshot.set_byte_offset(offset);
                if offset as usize + data.len() == expected.len() {
                    snapshot.set_final(true);
                    snapshot.set_hash(&Sha256::digest(&expected));
                }
                let slot = data_slot(snapshot.reborrow_as_reader(), 1).expect("data is pointer 1");
                let mut attachments = Attachments::new();
                attachments.push(slot, data);
                attachments
            });
            peer.send_with(&builder, attachments);
        }
    });
    let mut client = joined(&service);
    assert!(matches!(
        ask(&mut client, 5),
        Ok(WorkReply::SnapshotRequest { step: 5 })
    ));
    let (start, rest) = file.split_at(8);
    client
        .give_state(5, &HASH, &[start, &[], rest], &mut Uninterrupted)
        .expect("copied");
    let Ok(WorkReply::Snapshot(Snapshot {
        step: 5,
        parameters_hash,
        data,
    })) = ask(&mut client, 5)
    else {
        panic!("a snapshot was sent");
    };
    assert!(parameters_hash == HASH && data.as_slice() == file);
    service.finish();
}

struct StopAtOnce;

impl Waiter for StopAtOnce {
    fn tick(&mut self) -> Result<(), CoreError> {
        Err(CoreError::Interrupted)
    }
}

/// A worker that is stopped while it waits can still leave; the late reply is skipped.
#[test]
fn an_interrupted_worker_can_leave() {
    let service = Service::start(|mut peer| {
        accept_join(&mut peer);
        let (waiting, _) = peer.expect(MessageType::WorkRequest);
        let (leaving, _) = peer.expect(MessageType::Leave);
        send_aggregate(&mut peer, waiting, &flat_bytes(), |_, _| ());
        peer.send(MessageType::Leave, leaving, |root| {
            root.init_leave().set_reason("")
        });
        assert!(peer.next().is_none());
    });
    let mut client = joined(&service);
    let waiting = client.request_work(&work(5), &mut StopAtOnce);
    assert!(matches!(waiting, Err(CoreError::Interrupted)));
    client
        .leave("stopped", "", false, &mut Uninterrupted)
        .expect("answered");
    let after = ask(&mut client, 5).err().expect("closed").to_string();
    assert!(
        after.contains("closed by this program; open a new connection"),
        "{after}"
    );
    service.finish();
}

/// Wrong arguments are refused before anything is sent.
#[test]
fn wrong_arguments_are_not_sent() {
    let service = Service::start(|mut peer| {
        accept_join(&mut peer);
        assert!(peer.next().is_none());
    });
    let mut client = connect(&service);
    let early = ask(&mut client, 0).err().expect("not joined").to_string();
    assert!(early.contains("join the run"), "{early}");
    let (dataset, parameters) = (dataset(), parameters());
    let fine = join(&parameters, &dataset);
    let mut refused = |join: Join<'_>| {
        let result = client.join(&join, &mut Uninterrupted);
        result.expect_err("must be refused").to_string()
    };
    let long = "x".repeat(129);
    let long = refused(Join {
        worker_name: &long,
        ..fine
    });
    assert!(
        long.contains("worker_name has 129 bytes, the limit is 128"),
        "{long}"
    );
    for seconds in [0.0005, 3600.0] {
        let beat = refused(Join {
            heartbeat: Duration::from_secs_f64(seconds),
            ..fine
        });
        assert!(
            beat.contains(&format!("a heartbeat each {seconds} s is out of range")),
            "{beat}"
        );
    }
    client.join(&fine, &mut Uninterrupted).expect("accepted");
    let mut refused = |gradients: &[u8], reports: &[ShardReport]| {
        let result = submit(&mut client, gradients, reports);
        result.expect_err("must be refused").to_string()
    };
    let short = refused(&[0; 12], &reports());
    assert!(
        short.contains("gradients has 12 bytes, the parameters need 9200004"),
        "{short}"
    );
    let mut bad = reports();
    bad[1].batch_hash.pop();
    let hash = refused(&flat_bytes(), &bad);
    assert!(hash.contains("has 31 bytes, a hash has 32"), "{hash}");
    drop(client);
    service.finish();
}
