//! Values that must never change: a run's bits follow from them. Computed by an independent implementation in Python.

use clap::Parser;
use pangea_wire::schema::message;
use pangea_wire::{Limits, Pool};

use crate::batch::Batches;
use crate::dataset::Dataset;
use crate::request::{Part, Request};
use crate::settings::Settings;

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// 10 rows of 4 features and one of 3 labels.
fn load() -> Dataset {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tiny.csv");
    let row = |r: usize| {
        let features = (0..4).map(|c| format!("{},", (r * 7 + c * 3) % 11));
        features.collect::<String>() + &format!("{}\n", r % 3)
    };
    std::fs::write(&file, (0..10).map(row).collect::<String>()).expect("written");
    let mut arguments = "rust-compute --dataset-name tiny --feature-shape 2,2 --held-out 0.2 --csv"
        .split(' ')
        .map(Into::into)
        .collect::<Vec<std::ffi::OsString>>();
    arguments.push(file.into());
    Dataset::load(&Settings::try_parse_from(arguments).expect("valid")).expect("valid")
}

#[test]
fn the_dataset_and_its_first_batch_never_change() {
    let dataset = load();
    assert_eq!(dataset.split.held_out, [2, 9]);
    assert_eq!(
        hex(&dataset.hash),
        "1f621517a892a07952238694f45d4db87599c6ff5ae3e1f8c5347170a68a450e"
    );
    let batches = Batches::new(dataset, Pool::new(1 << 20, 0));
    let request = Request {
        part: Part::Train { seed: 7, epoch: 1 },
        epoch: 1,
        step: 0,
        shard: 0,
        epoch_steps: 2,
        start: 0,
        end: 4,
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
    assert_eq!(
        hex(batch.get_hash().expect("set")),
        "3dfff6b877d714b31c7611aee62b011992a80136701a956d0a195509094d0964"
    );
}
