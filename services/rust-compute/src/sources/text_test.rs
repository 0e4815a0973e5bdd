use bytemuck::cast_slice;
use rust_compute_dataset::Dataset;
use rust_compute_storage::Storage;
use sha2::{Digest, Sha256};

use super::*;
use crate::{open, Spec};

fn dataset(text: &[u8], context: usize, held_out: f64) -> Dataset {
    let columns = Text { context }.columns(text.to_vec(), Sha256::digest(text).into());
    Dataset::new("d", columns.expect("valid"), held_out).expect("valid")
}

#[test]
fn a_token_is_the_index_of_its_byte_among_the_distinct_ones() {
    let (tokens, vocabulary) = tokenise(b"hello\n\xff").expect("memory");
    assert_eq!(vocabulary, b"\nehlo\xff");
    assert_eq!(tokens, [2, 1, 3, 3, 4, 0, 5]);
}

#[test]
fn a_sample_needs_the_token_after_it() {
    for (context, samples) in [(1, 6), (2, 3), (3, 2), (4, 1), (6, 1)] {
        let columns = Text { context }.columns(b"abcdefg".to_vec(), [0; 32]);
        assert_eq!(columns.expect("valid").labels.rows(), samples);
    }
    assert!(Text { context: 7 }
        .columns(b"abcdefg".to_vec(), [0; 32])
        .is_err());
}

#[test]
fn all_bytes_may_occur_and_many_threads_agree() {
    let text: Vec<u8> = (0..5 * BYTES_PER_TASK)
        .map(|i| (i * i / 7 % 256) as u8)
        .chain(0..=255)
        .collect();
    let (tokens, vocabulary) = tokenise(&text).expect("memory");
    assert_eq!(vocabulary, (0..=255).collect::<Vec<u8>>());
    assert!(tokens
        .iter()
        .zip(&text)
        .all(|(token, byte)| *token == i64::from(*byte)));
}

#[test]
fn the_labels_of_a_text_are_its_next_tokens() {
    let dataset = dataset(b"hello world", 3, 0.4);
    let tokens = |column: &Column, id| cast_slice::<u8, i64>(column.row(id)).to_vec();
    let features = [0, 1, 2].map(|id| tokens(&dataset.features, id));
    let labels = [0, 1, 2].map(|id| tokens(&dataset.labels, id));
    assert_eq!(dataset.meaning.vocabulary, b" dehlorw");
    assert_eq!(features, [[3, 2, 4], [4, 5, 0], [7, 5, 6]]);
    assert_eq!(labels, [[2, 4, 4], [5, 0, 7], [5, 6, 4]]);
    assert_eq!((dataset.classes, dataset.split.held_out.len()), (8, 1));
    assert_eq!(dataset.features.spec, dataset.labels.spec);
    assert_eq!(dataset.features.spec.shape, [3]);
    assert!(dataset.meaning.columns.is_empty());
}

#[test]
fn the_hash_of_a_text_covers_tokens_context_and_split() {
    let hash = |bytes, context, fraction| dataset(bytes, context, fraction).hash;
    let base = hash(b"hello world", 2, 0.2);
    assert_eq!(base, hash(b"hello world", 2, 0.2));
    for other in [
        hash(b"hello wordl", 2, 0.2),
        hash(b"hello world", 5, 0.2),
        hash(b"hello world", 2, 0.4),
    ] {
        assert_ne!(base, other);
    }
}

#[test]
fn a_file_without_a_sample_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let read = |name: &str, context: usize| {
        let file = folder.path().join(name);
        let spec = format!("text:{},context={context}", file.display());
        let spec = Spec::parse(&spec, folder.path()).expect("valid");
        open(&spec, &Storage { max_bytes: 9 })
            .map(|columns| columns.labels.rows())
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    };
    std::fs::write(folder.path().join("short.txt"), "abc").expect("written");
    assert_eq!(read("short.txt", 2), Ok(1));
    let error = read("short.txt", 3).expect_err("refused");
    let expected = "short.txt is not usable: it has 3 bytes; one sample of context 3 needs 4";
    assert!(error.contains(expected), "{error}");
    std::fs::write(folder.path().join("empty.txt"), "").expect("written");
    assert!(read("empty.txt", 1).is_err());
    let error = read("nothing.txt", 1).expect_err("refused");
    assert!(error.contains("nothing.txt"), "{error}");
}
