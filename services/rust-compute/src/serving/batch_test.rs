use std::collections::BTreeSet;

use bytemuck::cast_slice;
use pangea_content_hash::Method;
use pangea_wire::TensorData;
use rust_compute_fixtures::small;

use super::*;

fn batches() -> Batches {
    Batches::new(small(), Pool::new(1 << 24, 1 << 20), 1 << 20)
}

fn request(part: Part, start: usize, end: usize) -> Request {
    Request {
        part,
        epoch: 0,
        step: 0,
        shard: 0,
        epoch_steps: 2,
        content_hash: Method::Xxh3Tree,
        start,
        end,
    }
}

fn bytes(batches: &Batches, request: &Request) -> Vec<u8> {
    batches
        .frame(9, request, &Limits::default())
        .expect("a frame")
        .to_bytes()
}

/// The bytes as numbers, at any alignment.
fn elements<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Vec<T> {
    bytes
        .chunks_exact(size_of::<T>())
        .map(bytemuck::pod_read_unaligned)
        .collect()
}

/// Ids, features and labels, and the shape of the features, as a reader gets them.
fn read(bytes: &[u8]) -> (Vec<i64>, Vec<f32>, Vec<i64>, Vec<u64>) {
    let reader = capnp::serialize::read_message(bytes, Default::default()).expect("a frame");
    let root = reader.get_root::<message::Reader<'_>>().expect("a message");
    assert_eq!(root.get_request_id(), 9);
    let Ok(message::TrainingBatch(Ok(batch))) = root.which() else {
        panic!("another message")
    };
    let tensors = [
        batch.get_sample_ids(),
        batch.get_features(),
        batch.get_labels(),
    ]
    .map(|tensor| TensorData::read_whole(tensor.expect("set")).expect("whole"));
    let hash = content_hash(Method::Xxh3Tree, tensors.iter().map(|tensor| tensor.data));
    assert_eq!(batch.get_hash().expect("set"), hash.as_slice());
    (
        elements(tensors[0].data),
        elements(tensors[1].data),
        elements(tensors[2].data),
        tensors[1].shape.clone(),
    )
}

#[test]
fn an_epoch_has_every_training_sample_once_with_its_features_and_label() {
    let batches = batches();
    let mut seen = BTreeSet::new();
    for start in (0..16).step_by(4) {
        let (ids, features, labels, shape) = read(&bytes(
            &batches,
            &request(Part::Train { seed: 1, epoch: 0 }, start, start + 4),
        ));
        assert_eq!(shape, [4, 2, 2]);
        for (row, id) in ids.iter().enumerate() {
            let id = *id as u32;
            let dataset = &batches.dataset;
            assert_eq!(
                cast_slice::<f32, u8>(&features[row * 4..][..4]),
                dataset.features.row(id)
            );
            assert_eq!(labels[row].to_le_bytes(), dataset.labels.row(id));
            assert!(seen.insert(id));
        }
    }
    assert_eq!(seen, batches.dataset.split.train.iter().copied().collect());
}

#[test]
fn any_replica_gives_the_same_bytes() {
    let wanted = request(Part::Train { seed: 3, epoch: 1 }, 2, 9);
    assert_eq!(bytes(&batches(), &wanted), bytes(&batches(), &wanted));
    let other = request(Part::Train { seed: 4, epoch: 1 }, 2, 9);
    assert_ne!(bytes(&batches(), &wanted), bytes(&batches(), &other));
}

#[test]
fn held_out_samples_are_in_dataset_order() {
    let batches = batches();
    let (ids, ..) = read(&bytes(&batches, &request(Part::HeldOut, 0, 4)));
    assert_eq!(
        ids,
        batches
            .dataset
            .split
            .held_out
            .iter()
            .map(|id| i64::from(*id))
            .collect::<Vec<_>>()
    );
}

#[test]
fn an_empty_shard_is_an_empty_batch() {
    let (ids, features, labels, shape) = read(&bytes(&batches(), &request(Part::HeldOut, 2, 2)));
    assert!(ids.is_empty() && features.is_empty() && labels.is_empty());
    assert_eq!(shape, [0, 2, 2]);
}
