//! Datasets as other rooms see them.

use bytemuck::cast_slice;
use pangea_wire::schema::MAX_COLUMNS;
use rust_compute_dataset::{Dataset, DatasetError, Normalise};
use rust_compute_fixtures::{raw, raw_values, small, table, wide};

/// Mean and variance of those training features whose column is `chosen`.
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
    let all = Dataset::new("d", raw(20, &[4], Normalise::All), 0.2).expect("valid");
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
fn the_hash_depends_on_data_and_split() {
    let hash = |rows, fraction| {
        Dataset::new("d", raw(rows, &[2, 2], Normalise::Columns), fraction)
            .expect("valid")
            .hash
    };
    assert_eq!(hash(20, 0.2), hash(20, 0.2));
    assert_ne!(hash(20, 0.2), hash(20, 0.25));
    assert_ne!(hash(20, 0.2), hash(21, 0.2));
}

#[test]
fn columns_that_cannot_be_trained_on_are_refused() {
    let flat = table(vec![3.0; 80], vec![0; 20], [1; 32], &[4], Normalise::All);
    let error = Dataset::new("d", flat, 0.0).expect_err("refused");
    assert!(error.to_string().contains("standard deviation is 0"));
    let none = table(Vec::new(), Vec::new(), [1; 32], &[4], Normalise::All);
    let error = Dataset::new("d", none, 0.0).expect_err("refused");
    assert!(matches!(
        error,
        DatasetError::NothingToTrainOn { samples: 0 }
    ));
}

#[test]
fn the_meaning_of_served_numbers_is_kept() {
    let mut columns = raw(20, &[2, 2], Normalise::Columns);
    columns.names.columns = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    columns.names.classes = ["x", "y", "z"].map(str::to_owned).to_vec();
    let dataset = Dataset::new("d", columns, 0.2).expect("valid");
    for (at, column) in dataset.meaning.columns.iter().enumerate() {
        assert_eq!(column.name, ["a", "b", "c", "d"][at]);
        let served = cast_slice::<u8, f32>(dataset.features.row(3))[at];
        let value = raw_values(20)[3 * 4 + at];
        let expected = (value - column.scale.mean) / column.scale.deviation;
        assert_eq!(served, expected as f32);
    }
    assert_eq!(dataset.meaning.columns.len(), 4);
    assert_eq!(dataset.meaning.class_names, ["x", "y", "z"]);
}

#[test]
fn more_columns_than_a_message_holds_are_not_described() {
    let most = MAX_COLUMNS as usize;
    assert_eq!(wide(2, most).meaning.columns.len(), most);
    assert!(wide(2, most + 1).meaning.columns.is_empty());
}
