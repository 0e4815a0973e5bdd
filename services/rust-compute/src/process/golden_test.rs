//! Values that must never change, because the bits of every run follow from them. Computed by an
//! independent implementation in Python.

use pangea_content_hash::Method;
use pangea_wire::schema::message;
use pangea_wire::{Limits, Pool, TensorData};
use rust_compute_dataset::Dataset;
use rust_compute_serving::{Batches, Part, Request};
use rust_compute_sources::{open, Spec};
use rust_compute_storage::Storage;

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The dataset of a file with this content, a fifth of it held out.
fn load(kind: &str, content: &str, options: &str) -> Dataset {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tiny");
    std::fs::write(&file, content).expect("written");
    let spec = format!("{kind}:{},{options},held_out=0.2", file.display());
    let spec = Spec::parse(&spec, folder.path()).expect("valid");
    let columns = open(&spec, &Storage { max_bytes: 1 << 20 }).expect("valid");
    Dataset::new(&spec.name(), columns, spec.held_out()).expect("valid")
}

/// Hash and shapes of features and labels of the first four samples of epoch 1 with seed 7.
fn first_batch(dataset: Dataset) -> (String, [Vec<u64>; 2]) {
    let batches = Batches::new(dataset, Pool::new(1 << 20, 0), 0);
    let request = Request {
        part: Part::Train { seed: 7, epoch: 1 },
        epoch: 1,
        step: 0,
        shard: 0,
        epoch_steps: 2,
        start: 0,
        end: 4,
        content_hash: Method::Sha256,
    };
    let frame = batches
        .frame(0, &request, &Limits::default())
        .expect("a frame")
        .to_bytes();
    let reader = capnp::serialize::read_message(frame.as_slice(), Default::default());
    let reader = reader.expect("a frame");
    let root = reader.get_root::<message::Reader<'_>>().expect("a message");
    let Ok(message::TrainingBatch(Ok(batch))) = root.which() else {
        panic!("another message")
    };
    let shapes = [batch.get_features(), batch.get_labels()].map(|tensor| {
        TensorData::read_whole(tensor.expect("set"))
            .expect("whole")
            .shape
    });
    (hex(batch.get_hash().expect("set")), shapes)
}

#[test]
fn a_table_and_its_first_batch_never_change() {
    // 10 rows of 4 features and one of 3 labels.
    let row = |r: usize| {
        let features = (0..4).map(|c| format!("{},", (r * 7 + c * 3) % 11));
        features.collect::<String>() + &format!("{}\n", r % 3)
    };
    let rows: String = (0..10).map(row).collect();
    let by_column = load("csv", &rows, "shape=2x2");
    assert_eq!(
        hex(&by_column.hash),
        "ee610e9df2f96a17acb94e26c7001f3dce8ddb69c34356f0c9f3ff63075f532c"
    );
    let dataset = load("csv", &rows, "shape=2x2,normalise=all");
    assert_eq!(dataset.split.held_out, [2, 9]);
    assert_eq!(
        hex(&dataset.hash),
        "1f621517a892a07952238694f45d4db87599c6ff5ae3e1f8c5347170a68a450e"
    );
    let (hash, shapes) = first_batch(dataset);
    assert_eq!(
        hash,
        "3dfff6b877d714b31c7611aee62b011992a80136701a956d0a195509094d0964"
    );
    assert_eq!(shapes, [vec![4, 2, 2], vec![4]]);
}

#[test]
fn a_text_and_its_first_batch_never_change() {
    let dataset = load(
        "text",
        "pack my box with five dozen liquor jugs; quick!\n",
        "context=4",
    );
    assert_eq!(dataset.split.held_out, [6, 7]);
    assert_eq!((dataset.split.train.len(), dataset.classes), (9, 30));
    assert_eq!(
        hex(&dataset.hash),
        "29af6e769110ba79a873dff6f6179e360df6bf9e22c6abf02e2ddf70bd3b22a0"
    );
    let (hash, shapes) = first_batch(dataset);
    assert_eq!(
        hash,
        "18e5e89c00a6a2b87f11a3b76434f5404456740cb3ca5e8c7555eb43635df62c"
    );
    assert_eq!(shapes, [vec![4, 4], vec![4, 4]]);
}
