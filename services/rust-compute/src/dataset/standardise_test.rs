use super::*;

fn column(values: &[f64]) -> Result<Vec<f32>, DatasetError> {
    standardised(values, 1, Normalise::Columns)
}

fn standardised(
    values: &[f64],
    width: usize,
    normalise: Normalise,
) -> Result<Vec<f32>, DatasetError> {
    let features = RawFeatures { values, width };
    let train: Vec<u32> = (0..(values.len() / width) as u32).collect();
    let scales = features.scales(normalise, &train, |column| format!("column {}", column + 1))?;
    features.scaled(&scales)
}

#[test]
fn each_column_has_its_own_scale() {
    let rows = [1.0, 5e4, 3.0, 7e4];
    let columns = standardised(&rows, 2, Normalise::Columns).expect("valid");
    assert_eq!(columns, [-1.0, -1.0, 1.0, 1.0]);
    let all = standardised(&rows, 2, Normalise::All).expect("valid");
    assert!(all[0] - all[2] < 1e-4 && all[1] < all[3]);
    let none = standardised(&rows, 2, Normalise::None).expect("valid");
    assert_eq!(none, [1.0, 5e4, 3.0, 7e4]);
}

#[test]
fn nanoseconds_keep_their_digits() {
    let start = 1_700_000_000_000_000_000.0;
    let steps = [0.0, 1e6, 2e6, 3e6, 4e6];
    let scaled = column(&steps.map(|step| start + step)).expect("valid");
    let expected = column(&steps).expect("valid");
    for (one, other) in scaled.iter().zip(&expected) {
        assert!((one - other).abs() < 1e-3, "{scaled:?} {expected:?}");
    }
}

#[test]
fn a_constant_column_becomes_zeros() {
    assert_eq!(column(&[0.1; 7]).expect("valid"), [0.0; 7]);
    let features = RawFeatures {
        values: &[3.0, 3.0],
        width: 1,
    };
    let scales = features.scales(Normalise::Columns, &[0, 1], |_| String::new());
    assert_eq!(
        scales.expect("valid"),
        [Scale {
            mean: 3.0,
            deviation: 1.0
        }]
    );
    assert!(standardised(&[3.0; 4], 2, Normalise::All).is_err());
}

#[test]
fn very_small_and_very_large_values_are_not_constant() {
    for unit in [1e-300, 1e-20, 1e20, 1e300] {
        assert_eq!(
            column(&[-unit, unit]).expect("valid"),
            [-1.0, 1.0],
            "{unit}"
        );
    }
}

#[test]
fn held_out_rows_do_not_count() {
    let features = RawFeatures {
        values: &[1.0, 100.0, 3.0],
        width: 1,
    };
    let scales = features.scales(Normalise::Columns, &[0, 2], |_| String::new());
    let wanted = Scale {
        mean: 2.0,
        deviation: 1.0,
    };
    assert_eq!(scales.expect("valid"), [wanted]);
}

#[test]
fn a_column_that_cannot_be_scaled_is_named() {
    let error = column(&[-1.7e308, 1.7e308])
        .expect_err("refused")
        .to_string();
    assert!(error.contains("column 1 cannot be standardised"), "{error}");
    let large = standardised(&[1.0, 2.0, 3.0, 1e39], 2, Normalise::None);
    let error = large.expect_err("refused").to_string();
    assert!(error.contains("row 2: feature 2: 1"), "{error}");
}
