use bytemuck::cast_slice;

use super::*;
use crate::fixtures::{raw, small, text};

/// Mean and variance of the training features that `chosen` takes by their column.
fn moments(dataset: &Dataset, chosen: impl Fn(usize) -> bool) -> (f64, f64) {
    let rows = dataset.split.train.iter();
    let values: Vec<f64> = rows
        .flat_map(|id| {
            cast_slice::<u8, f32>(dataset.features.row(*id))
                .iter()
                .enumerate()
        })
        .filter(|(column, _)| chosen(*column))
        .map(|(_, x)| f64::from(*x))
        .collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    (mean, variance)
}

#[test]
fn training_features_have_mean_0_and_deviation_1() {
    let all = Dataset::from_rows("d", raw(20), &[4], Normalise::All, 0.2).expect("valid");
    let mut found = vec![moments(&all, |_| true)];
    let dataset = small();
    found.extend((0..4).map(|wanted| moments(&dataset, |column| column == wanted)));
    for (mean, variance) in found {
        assert!(
            mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5,
            "{mean} {variance}"
        );
    }
    assert_eq!(
        (
            dataset.split.train.len(),
            dataset.split.held_out.len(),
            dataset.classes
        ),
        (16, 4, 3)
    );
}

#[test]
fn the_hash_tells_data_and_split_apart() {
    let hash = |rows, fraction| {
        Dataset::from_rows("d", raw(rows), &[2, 2], Normalise::Columns, fraction)
            .expect("valid")
            .hash
    };
    assert_eq!(hash(20, 0.2), hash(20, 0.2));
    assert_ne!(hash(20, 0.2), hash(20, 0.25));
    assert_ne!(hash(20, 0.2), hash(21, 0.2));
}

#[test]
fn what_cannot_be_trained_on_is_refused() {
    let mut flat = raw(20);
    flat.features.fill(3.0);
    let error = Dataset::from_rows("d", flat, &[4], Normalise::All, 0.0).expect_err("refused");
    assert!(error.to_string().contains("standard deviation is 0"));
    let mut many = raw(20);
    many.labels[3] = 1 << 40;
    assert!(Dataset::from_rows("d", many, &[4], Normalise::All, 0.0).is_err());
    assert!(Dataset::from_text("d", text(b"abc"), 3, 0.0).is_err());
}

#[test]
fn the_labels_of_a_text_are_its_next_tokens() {
    let dataset = Dataset::from_text("d", text(b"hello world"), 3, 0.4).expect("valid");
    let tokens = |column: &Column, id| cast_slice::<u8, i64>(column.row(id)).to_vec();
    let features = [0, 1, 2].map(|id| tokens(&dataset.features, id));
    let labels = [0, 1, 2].map(|id| tokens(&dataset.labels, id));
    // " dehlorw"
    assert_eq!(features, [[3, 2, 4], [4, 5, 0], [7, 5, 6]]);
    assert_eq!(labels, [[2, 4, 4], [5, 0, 7], [5, 6, 4]]);
    assert_eq!((dataset.classes, dataset.split.held_out.len()), (8, 1));
    assert_eq!(dataset.features.spec, dataset.labels.spec);
    assert_eq!(dataset.features.spec.shape, [3]);
}

#[test]
fn the_hash_of_a_text_covers_tokens_context_and_split() {
    let hash = |bytes, context, fraction| {
        Dataset::from_text("d", text(bytes), context, fraction)
            .expect("valid")
            .hash
    };
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
fn it_is_known_what_the_numbers_were() {
    let mut table = raw(20);
    table.column_names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    table.class_names = ["x", "y", "z"].map(str::to_owned).to_vec();
    let dataset = Dataset::from_rows("d", table, &[2, 2], Normalise::Columns, 0.2).expect("valid");
    let raw = raw(20);
    for (at, column) in dataset.meaning.columns.iter().enumerate() {
        assert_eq!(column.name, ["a", "b", "c", "d"][at]);
        let served = cast_slice::<u8, f32>(dataset.features.row(3))[at];
        let value = raw.features[3 * 4 + at];
        let expected = (value - column.scale.mean) / column.scale.deviation;
        assert_eq!(served, expected as f32);
    }
    assert_eq!(dataset.meaning.columns.len(), 4);
    assert_eq!(dataset.meaning.class_names, ["x", "y", "z"]);

    let text = Dataset::from_text("d", text(b"hello world"), 3, 0.4).expect("valid");
    assert_eq!(text.meaning.vocabulary, b" dehlorw");
    assert!(text.meaning.columns.is_empty());
    let wide = crate::fixtures::wide(2, MAX_DESCRIBED + 1);
    assert!(wide.meaning.columns.is_empty());
}
