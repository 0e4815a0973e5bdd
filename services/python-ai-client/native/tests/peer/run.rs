//! The orchestrator's side of a run: joining, and collecting what a worker submits.

use std::time::Duration;

use native_core::{
    CoreError, DatasetInfo, Join, Options, OrchestratorClient, ShardReport, Timings, Uninterrupted,
    Update, Work,
};
use pangea_content_hash::Method;
use pangea_wire::schema::{message, MessageType, Verdict};
use pangea_wire::{DType, FlatLayout, TensorData, TensorSpec};

use super::{pool, Peer, Service};

pub const HASH: [u8; 32] = [3; 32];

fn spec(name: &str, shape: &[u64]) -> TensorSpec {
    TensorSpec::new(name, DType::BFloat16, shape.to_vec()).expect("valid")
}

/// 9.2 MB of gradients: three frames. The middle tensor is empty.
pub fn parameters() -> Vec<TensorSpec> {
    vec![
        spec("weight", &[1500, 1500]),
        spec("none", &[0, 7]),
        spec("bias", &[50_001]),
    ]
}

pub fn flat_bytes() -> Vec<u8> {
    let len = FlatLayout::new(parameters()).expect("small").total_bytes();
    (0..len).map(|at| (at * 31 + at / 997) as u8).collect()
}

pub fn dataset() -> DatasetInfo {
    DatasetInfo {
        name: "digits".to_owned(),
        hash: vec![1; 32],
        train_samples: 1438,
        held_out_samples: 359,
        classes: 10,
        features: spec("features", &[1, 8, 8]),
        labels: spec("labels", &[]),
        columns: Vec::new(),
        class_names: Vec::new(),
        vocabulary: Vec::new(),
    }
}

pub fn connect(service: &Service) -> OrchestratorClient {
    let options = Options::default();
    let client =
        OrchestratorClient::connect(&service.address, options, &pool(), &mut Uninterrupted);
    client.expect("the service listens")
}

/// Accepts a worker; gives the heartbeat that it promises, in seconds.
pub fn accept_join(peer: &mut Peer) -> f64 {
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
    assert_eq!(join.get_protocol_version(), 3);
    assert_eq!(join.get_run_id().expect("there"), "earlier");
    assert_eq!(join.get_process_id(), std::process::id());
    peer.send(MessageType::JoinReply, id, |root| {
        let mut reply = root.init_join_reply();
        reply.set_run_id("run");
        reply.set_worker_id(4);
        reply.set_total_steps(46);
        let mut settings = reply.init_settings();
        settings.set_seed(11);
        settings.set_shards(8);
        settings.set_batch_size(64);
        settings.set_min_shard_samples(2);
        settings.set_drop_last(true);
        settings.set_content_hash(Method::Xxh3Tree.into());
    });
    join.get_heartbeat_seconds()
}

/// Joins without a promise of heartbeats.
pub fn join<'a>(parameters: &'a [TensorSpec], dataset: &'a DatasetInfo) -> Join<'a> {
    Join {
        worker_name: "w",
        software: "torch",
        parameters,
        parameters_hash: &HASH,
        parameters_content_hash: &HASH,
        step: 0,
        dataset,
        run_id: "earlier",
        heartbeat: Duration::ZERO,
        training: "",
        arithmetic: "",
        fingerprints: &[],
    }
}

pub fn joined(service: &Service) -> OrchestratorClient {
    let mut client = connect(service);
    let reply = client.join(&join(&parameters(), &dataset()), &mut Uninterrupted);
    let reply = reply.expect("accepted");
    assert_eq!(
        (
            reply.run_id.as_str(),
            reply.worker_id,
            reply.seed,
            reply.shards,
            reply.min_shard_samples,
            reply.drop_last,
            reply.content_hash
        ),
        ("run", 4, 11, 8, 2, true, Method::Xxh3Tree)
    );
    client
}

/// Collects a gradient update in frames: its bytes and the ids of its reports.
pub fn collect_update(peer: &mut Peer) -> (u64, Vec<u8>, Vec<u32>) {
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
            assert!(reports.iter().all(|report| report.get_weight() == 6.5));
            let shards = reports.iter().map(|report| report.get_shard()).collect();
            return (id, assembler.finish().expect("whole").to_vec(), shards);
        }
    }
}

pub fn reports() -> [ShardReport; 2] {
    [4, 5].map(|shard| ShardReport {
        shard,
        samples: 8,
        loss_sum: 1.5,
        batch_hash: vec![7; 32],
        weight: 6.5,
        summed: false,
        stop: String::new(),
        figures: Vec::new(),
    })
}

/// What a worker reports that has applied `step` steps.
pub fn work(step: u64) -> Work<'static> {
    Work {
        step,
        parameters_hash: &HASH,
        timings: Timings::default(),
        stop: "",
        figures: &[],
    }
}

/// Submits the gradient sum of shards 4 and 5 of step 5.
pub fn submit(
    client: &mut OrchestratorClient,
    gradients: &[u8],
    reports: &[ShardReport],
) -> Result<Vec<(Verdict, String)>, CoreError> {
    let sum = sum(gradients, reports);
    client.submit_and_ask(&[sum], None, &mut Uninterrupted)
}

pub fn sum<'a>(gradients: &'a [u8], reports: &'a [ShardReport]) -> Update<'a> {
    Update {
        step: 5,
        first_shard: 4,
        shard_count: 2,
        gradients,
        reports,
        digest: None,
    }
}
