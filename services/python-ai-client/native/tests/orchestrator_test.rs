//! The client of the orchestrator against a service that leads it through a run, refuses it, lies and vanishes.

mod peer;

use native_core::{
    CoreError, DatasetInfo, Options, OrchestratorClient, Seconds, ShardReport, Uninterrupted,
    Waiter, WorkReply,
};
use pangea_wire::schema::{aggregate, message, ErrorAction, MessageType, Verdict};
use pangea_wire::{
    data_slot, write_tensor_bytes, Attachments, DType, FlatLayout, TensorData, TensorSpec,
};
use peer::{pool, prepare, Peer, Service};
use sha2::{Digest, Sha256};

const HASH: [u8; 32] = [3; 32];

fn spec(name: &str, shape: &[u64]) -> TensorSpec {
    TensorSpec::new(name, DType::BFloat16, shape.to_vec()).expect("valid")
}

/// 9.2 MB of gradients: three frames. The middle tensor is empty.
fn parameters() -> Vec<TensorSpec> {
    vec![
        spec("weight", &[1500, 1500]),
        spec("none", &[0, 7]),
        spec("bias", &[50_001]),
    ]
}

fn flat_bytes() -> Vec<u8> {
    let len = FlatLayout::new(parameters()).expect("small").total_bytes();
    (0..len).map(|at| (at * 31 + at / 997) as u8).collect()
}

fn dataset() -> DatasetInfo {
    DatasetInfo {
        name: "digits".to_owned(),
        hash: vec![1; 32],
        train_samples: 1438,
        held_out_samples: 359,
        classes: 10,
        features: spec("features", &[1, 8, 8]),
        labels: spec("labels", &[]),
    }
}

fn connect(service: &Service) -> OrchestratorClient {
    let options = Options::default();
    let client =
        OrchestratorClient::connect(&service.address, options, &pool(), &mut Uninterrupted);
    client.expect("the service listens")
}

fn accept_join(peer: &mut Peer) {
    let (id, request) = peer.expect(MessageType::JoinRequest);
    let root = request
        .get_root::<message::Reader<'_>>()
        .expect("well formed");
    let Ok(message::JoinRequest(Ok(join))) = root.which() else {
        panic!("checked by expect");
    };
    let specs = join
        .get_parameters()
        .expect("there")
        .iter()
        .map(TensorSpec::read);
    let specs: Result<Vec<_>, _> = specs.collect();
    assert_eq!(specs.expect("valid"), parameters());
    assert_eq!(join.get_protocol_version(), 1);
    assert_eq!(join.get_process_id(), std::process::id());
    peer.send(MessageType::JoinReply, id, |root| {
        let mut reply = root.init_join_reply();
        reply.set_run_id("run");
        reply.set_worker_id(4);
        reply.set_total_steps(46);
        let mut settings = reply.init_settings();
        settings.set_seed(11);
        settings.set_shards(8);
    });
}

fn joined(service: &Service) -> OrchestratorClient {
    let mut client = connect(service);
    let reply = client.join(
        "w",
        "torch",
        &parameters(),
        &HASH,
        0,
        &dataset(),
        &mut Uninterrupted,
    );
    let reply = reply.expect("accepted");
    assert_eq!(
        (
            reply.run_id.as_str(),
            reply.worker_id,
            reply.seed,
            reply.shards
        ),
        ("run", 4, 11, 8)
    );
    client
}

fn ask(client: &mut OrchestratorClient, step: u64) -> Result<WorkReply, CoreError> {
    client.request_work(step, &HASH, Seconds::default(), &mut Uninterrupted)
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
            if index + 1 == frames.len() {
                aggregate.set_final(true);
                aggregate.set_hash(&Sha256::digest(flat));
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

/// Collects a gradient update in frames: its bytes and the ids of its reports.
fn collect_update(peer: &mut Peer) -> (u64, Vec<u8>, Vec<u32>) {
    let layout = FlatLayout::new(parameters()).expect("small");
    let pool = pool();
    let mut assembler = layout.assembler(&pool).expect("memory");
    loop {
        let (id, request) = peer.expect(MessageType::GradientUpdate);
        let root = request
            .get_root::<message::Reader<'_>>()
            .expect("well formed");
        let Ok(message::GradientUpdate(Ok(update))) = root.which() else {
            panic!("checked by expect");
        };
        assert_eq!(
            (
                update.get_step(),
                update.get_first_shard(),
                update.get_shard_count()
            ),
            (5, 4, 2)
        );
        for piece in update.get_gradients().expect("there") {
            assembler
                .push(&TensorData::read(piece).expect("valid"))
                .expect("in order");
        }
        if update.get_final() {
            let reports = update.get_reports().expect("there");
            let shards = reports.iter().map(|report| report.get_shard()).collect();
            return (id, assembler.finish().expect("whole").to_vec(), shards);
        }
    }
}

fn reports() -> [ShardReport; 2] {
    [4, 5].map(|shard| ShardReport {
        shard,
        samples: 8,
        loss_sum: 1.5,
        batch_hash: vec![7; 32],
    })
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
        });
        let (id, _) = peer.expect(MessageType::Leave);
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
    }) = ask(&mut client, 5)
    else {
        panic!("a lease was sent");
    };
    assert_eq!(shards, [4, 5]);
    let flat = flat_bytes();
    let verdict = client.submit(5, 4, 2, &flat, &reports(), &mut Uninterrupted);
    assert_eq!(
        verdict.expect("answered"),
        ("duplicate", "was there".to_owned())
    );
    let Ok(WorkReply::Aggregate {
        step: 5,
        samples: 64,
        loss_sum,
        gradients,
        hash,
    }) = ask(&mut client, 5)
    else {
        panic!("an aggregate was sent");
    };
    assert!(gradients.as_slice() == flat && loss_sum == 0.1);
    assert_eq!(hash, Sha256::digest(&flat).as_slice());
    assert!(matches!(
        ask(&mut client, 6),
        Ok(WorkReply::RunFinished { steps: 6, .. })
    ));
    client.leave("done", &mut Uninterrupted).expect("answered");
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

/// An aggregate that is not what it says it is never reaches the model.
#[test]
fn a_wrong_aggregate_is_refused() {
    let error = spoiled(|_, frame| frame.set_hash(&[0; 32]));
    assert!(
        error.contains("aggregate has bytes that do not give its hash"),
        "{error}"
    );
    let error = spoiled(|index, frame| frame.set_samples(64 + index as u64));
    assert!(
        error.contains("differ in step, samples or lossSum"),
        "{error}"
    );
    let error = spoiled(|index, frame| frame.set_final(index == 0));
    assert!(error.contains("Aggregate.hash has 0 bytes"), "{error}");
    let error = spoiled(|index, frame| {
        let mut pieces = frame.reborrow().get_gradients().expect("there");
        pieces.reborrow().get(0).set_byte_offset(index as u64 * 4);
    });
    assert!(error.contains("tensor `weight`"), "{error}");
}

/// A refusal carries the action; the connection goes on if the service keeps it.
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

/// A service that refuses in the middle of a long update and closes: the reason is told, not "broken pipe".
#[test]
fn a_refusal_in_the_middle_of_sending_is_heard() {
    let service = Service::start(|mut peer| {
        accept_join(&mut peer);
        let (id, _) = peer.expect(MessageType::GradientUpdate);
        peer.refuse(id, ErrorAction::FixRequest, "tensor `weight` has NaN");
        while peer.next().is_some() {}
    });
    let mut client = joined(&service);
    let verdict = client.submit(5, 4, 2, &flat_bytes(), &reports(), &mut Uninterrupted);
    let error = verdict.expect_err("refused").to_string();
    assert_eq!(error, "fixRequest: tensor `weight` has NaN");
    drop(client);
    service.finish();
}

/// Snapshots go out and come in, in pieces, verified.
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
        // The pieces are handed on, as an orchestrator does, as the answer to the next request.
        let mut pieces = Vec::new();
        loop {
            let (_, request) = peer.expect(MessageType::Snapshot);
            let root = request
                .get_root::<message::Reader<'_>>()
                .expect("well formed");
            let Ok(message::Snapshot(Ok(piece))) = root.which() else {
                panic!("checked by expect");
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
        assert_eq!(pieces.len(), 3);
        let (id, _) = peer.expect(MessageType::WorkRequest);
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
    client
        .send_snapshot(5, &HASH, &file, &mut Uninterrupted)
        .expect("sent");
    let Ok(WorkReply::Snapshot {
        step: 5,
        parameters_hash,
        data,
    }) = ask(&mut client, 5)
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

/// A worker that is stopped while it waits can still say goodbye; the late answer is skipped.
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
    let waiting = client.request_work(5, &HASH, Seconds::default(), &mut StopAtOnce);
    assert!(matches!(waiting, Err(CoreError::Interrupted)));
    client
        .leave("stopped", &mut Uninterrupted)
        .expect("answered");
    let after = ask(&mut client, 5).err().expect("closed").to_string();
    assert!(
        after.contains("closed by this program; open a new connection"),
        "{after}"
    );
    service.finish();
}

/// What cannot be right is refused before anything is sent.
#[test]
fn wrong_arguments_are_not_sent() {
    let service = Service::start(|mut peer| {
        accept_join(&mut peer);
        assert!(peer.next().is_none());
    });
    let mut client = connect(&service);
    let early = ask(&mut client, 0).err().expect("not joined").to_string();
    assert!(early.contains("join the run"), "{early}");
    let mut join = |name: &str| {
        client.join(
            name,
            "torch",
            &parameters(),
            &HASH,
            0,
            &dataset(),
            &mut Uninterrupted,
        )
    };
    let long = join(&"x".repeat(129)).expect_err("too long").to_string();
    assert!(
        long.contains("worker_name has 129 bytes, the limit is 128"),
        "{long}"
    );
    join("w").expect("accepted");
    let mut submit = |gradients: &[u8], reports: &[ShardReport]| {
        let result = client.submit(5, 4, 2, gradients, reports, &mut Uninterrupted);
        result.expect_err("must be refused").to_string()
    };
    let short = submit(&[0; 12], &reports());
    assert!(
        short.contains("gradients has 12 bytes, the parameters need 9200004"),
        "{short}"
    );
    let mut bad = reports();
    bad[1].batch_hash.pop();
    let hash = submit(&flat_bytes(), &bad);
    assert!(hash.contains("has 31 bytes, a SHA-256 has 32"), "{hash}");
    drop(client);
    service.finish();
}
