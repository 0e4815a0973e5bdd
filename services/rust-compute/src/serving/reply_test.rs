use super::*;
use rust_compute_dataset::{Column, Columns, Elements, Features, Names, Normalise};
use rust_compute_fixtures::raw;

/// What `read` finds in the description of a dataset.
fn described<T>(dataset: &Dataset, read: impl Fn(dataset_info::Reader<'_>) -> T) -> T {
    let frame = dataset_info(7, dataset, &Limits::default()).expect("a frame");
    let bytes = frame.to_bytes();
    let reader = capnp::serialize::read_message(bytes.as_slice(), Default::default());
    let reader = reader.expect("a frame");
    let root = reader.get_root::<message::Reader<'_>>().expect("a message");
    match root.which() {
        Ok(message::DatasetInfo(Ok(info))) => read(info),
        _ => panic!("another message"),
    }
}

#[test]
fn columns_and_classes_are_described() {
    let mut raw = raw(20, &[4], Normalise::Columns);
    raw.names.columns = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    raw.names.classes = ["x", "y", "z"].map(str::to_owned).to_vec();
    let dataset = Dataset::new("d", raw, 0.2).expect("valid");
    let columns = described(&dataset, |info| {
        let columns = info.get_columns().expect("set").iter();
        columns
            .map(|column| {
                let name = column.get_name().expect("set").to_string().expect("UTF-8");
                (name, column.get_mean(), column.get_deviation())
            })
            .collect::<Vec<_>>()
    });
    for (column, (name, mean, deviation)) in dataset.meaning.columns.iter().zip(&columns) {
        assert_eq!((&column.name, column.scale.mean), (name, *mean));
        assert_eq!(column.scale.deviation, *deviation);
    }
    assert_eq!((columns.len(), columns[3].0.as_str()), (4, "d"));
    let names = described(&dataset, |info| {
        let names = info.get_class_names().expect("set").iter();
        names
            .map(|name| name.expect("set").to_string().expect("UTF-8"))
            .collect::<Vec<_>>()
    });
    assert_eq!(names, ["x", "y", "z"]);
}

#[test]
fn a_text_has_a_vocabulary_and_no_columns() {
    let tokens = || Elements::Int64(vec![3, 2, 4, 4, 5].into());
    let text = Columns {
        features: Features::Final(Column::new(tokens(), 0, 2, &[2]).expect("valid")),
        labels: Column::new(tokens(), 1, 2, &[2]).expect("valid"),
        classes: 8,
        names: Names {
            vocabulary: b" dehlorw".to_vec(),
            ..Names::default()
        },
        hash: [1; 32],
    };
    let dataset = Dataset::new("d", text, 0.0).expect("valid");
    let (vocabulary, others) = described(&dataset, |info| {
        (
            info.get_vocabulary().expect("set").to_vec(),
            info.get_columns().expect("set").len() + info.get_class_names().expect("set").len(),
        )
    });
    assert_eq!((&vocabulary[..], others), (&b" dehlorw"[..], 0));
}
