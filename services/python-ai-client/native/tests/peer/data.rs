//! A data service as its clients see it: what it serves, and batches that are a function of their
//! step.

use std::time::Duration;

use native_core::{Batch, BatchKey, CoreError, DataClient, Options, Split, Uninterrupted};
use pangea_content_hash::{content_hash, Method};
use pangea_wire::schema::{batch_request, message, tensor, MessageType};
use pangea_wire::{write_tensor, Attachments, DType, TensorSpec};

use super::{pool, prepare, Peer, Script};

pub const PATIENT: Duration = Duration::from_secs(30);

pub fn key(step: u32) -> BatchKey {
    BatchKey {
        split: Split::Train,
        seed: 7,
        epoch: 3,
        step,
        batch_size: 64,
        shard: 1,
        shards: 8,
        min_shard_samples: 2,
        content_hash: Method::Xxh3Tree,
    }
}

/// A client that reconnects for long, but disconnects a silent service after `timeout`.
pub fn connect(addresses: &str, timeout: Duration) -> Result<DataClient, CoreError> {
    connect_for(addresses, timeout, PATIENT)
}

/// A client that waits for `reconnect` while no service is there.
pub fn connect_for(
    addresses: &str,
    timeout: Duration,
    reconnect: Duration,
) -> Result<DataClient, CoreError> {
    let options = Options {
        timeout,
        ..Options::default()
    };
    DataClient::connect(addresses, options, reconnect, &pool(), &mut Uninterrupted)
}

/// A script for one connection, which starts with what every connection starts with.
pub fn serving(script: impl FnOnce(Peer) + Send + 'static) -> Script {
    serving_dataset(9, script)
}

/// The same, for a dataset whose hash consists of `hash`.
pub fn serving_dataset(hash: u8, script: impl FnOnce(Peer) + Send + 'static) -> Script {
    Box::new(move |mut peer| {
        answer_dataset(&mut peer, hash);
        script(peer);
    })
}

pub fn answer_dataset(peer: &mut Peer, hash: u8) {
    let (id, _) = peer.expect(MessageType::DatasetRequest);
    peer.send(MessageType::DatasetInfo, id, |root| {
        let mut info = root.init_dataset_info();
        info.set_name("digits");
        info.set_hash(&[hash; 32]);
        info.set_train_samples(1438);
        info.set_held_out_samples(359);
        info.set_classes(10);
        let mut features = info.reborrow().init_features();
        features.set_dtype(DType::Float32.into());
        features.set_shape(&[1, 8, 8][..]).expect("short");
        info.init_labels().set_dtype(DType::Int64.into());
    });
}

/// The next batch request: its id and step. None when the worker closed.
pub fn next_step(peer: &mut Peer) -> Option<(u64, u32)> {
    let (kind, id, request) = peer.next()?;
    assert_eq!(kind, MessageType::BatchRequest);
    let root = request
        .get_root::<message::Reader<'_>>()
        .expect("well formed");
    let Ok(message::BatchRequest(Ok(asked))) = root.which() else {
        panic!("the type says so");
    };
    check(asked);
    Some((id, asked.get_step()))
}

fn check(asked: batch_request::Reader<'_>) {
    assert_eq!(
        (
            asked.get_seed(),
            asked.get_batch_size(),
            asked.get_shards(),
            asked.get_min_shard_samples()
        ),
        (7, 64, 8, 2)
    );
    assert_eq!((asked.get_epoch(), asked.get_shard()), (3, 1));
}

/// Answers all requests until the worker closes.
pub fn answer_all(peer: &mut Peer) {
    while let Some((id, step)) = next_step(peer) {
        send_batch(peer, id, step, step as u8, |_| ());
    }
}

/// Answers one batch request; `spoil` may change the message.
pub fn answer_batch(peer: &mut Peer, spoil: impl FnOnce(&mut message::Builder<'_>)) {
    let (id, step) = next_step(peer).expect("the worker continues");
    send_batch(peer, id, step, step as u8, spoil);
}

/// A batch of three samples whose ids start at 10 * step, with features of `fill`.
pub fn send_batch(
    peer: &mut Peer,
    id: u64,
    step: u32,
    fill: u8,
    spoil: impl FnOnce(&mut message::Builder<'_>),
) {
    let ids: Vec<u8> = (0..3)
        .flat_map(|sample| (i64::from(step) * 10 + sample).to_le_bytes())
        .collect();
    let features = vec![fill; 3 * 64 * 4];
    let labels = vec![1; 3 * 8];
    let hash = content_hash(Method::Xxh3Tree, [&ids[..], &features[..], &labels[..]]);
    let spec = |dtype, shape: &[u64]| TensorSpec::new("", dtype, shape.to_vec()).expect("valid");
    let (builder, attachments) = prepare(MessageType::TrainingBatch, id, |mut root| {
        let mut attachments = Attachments::new();
        let mut batch = root.reborrow().init_training_batch();
        batch.set_split(Split::Train.into());
        batch.set_epoch(3);
        batch.set_step(step);
        batch.set_shard(1);
        batch.set_epoch_steps(22);
        batch.set_hash(&hash);
        let mut write = |tensor: tensor::Builder<'_>, spec, bytes| {
            write_tensor(tensor, &spec, bytes, &mut attachments).expect("valid");
        };
        let (ids_spec, labels_spec) = (spec(DType::Int64, &[3]), spec(DType::Int64, &[3]));
        let features_spec = spec(DType::Float32, &[3, 1, 8, 8]);
        write(batch.reborrow().init_sample_ids(), ids_spec, ids);
        write(batch.reborrow().init_features(), features_spec, features);
        write(batch.init_labels(), labels_spec, labels);
        spoil(&mut root);
        attachments
    });
    peer.send_with(&builder, attachments);
}

/// Checks that a batch is the one of `step`, to the last byte.
pub fn assert_batch(batch: &Batch, step: u32) {
    assert_eq!(
        (batch.step, batch.epoch, batch.shard, batch.epoch_steps),
        (step, 3, 1, 22)
    );
    let ids: Vec<u8> = (0..3)
        .flat_map(|sample| (i64::from(step) * 10 + sample).to_le_bytes())
        .collect();
    assert_eq!(batch.sample_ids.memory.as_slice(), ids);
    assert_eq!(batch.features.memory.as_slice(), [step as u8; 768]);
    assert_eq!(batch.features.spec.shape, [3, 1, 8, 8]);
}
