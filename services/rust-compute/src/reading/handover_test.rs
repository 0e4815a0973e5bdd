use std::thread;

use rust_compute_dataset::{Dataset, Normalise};
use rust_compute_fixtures::raw;

use super::*;

/// What arrives of what `send` writes.
fn handed_over(
    send: impl FnOnce(&UnixStream) + Send + 'static,
) -> Result<(Prepared, bool), ReadingError> {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let sending = thread::spawn(move || send(&theirs));
    let received = receive(&ours);
    drop(ours);
    sending.join().expect("no panic");
    received
}

fn table() -> Prepared {
    let mut columns = raw(20, &[2, 2], Normalise::Columns);
    columns.names.columns = vec![
        "a".to_owned(),
        "ä".to_owned(),
        String::new(),
        "d".to_owned(),
    ];
    columns.names.classes = vec!["cat".to_owned(), "dog".to_owned(), "eel".to_owned()];
    Prepared::new(columns, 0.2).expect("valid")
}

#[test]
fn a_dataset_arrives_as_it_was() {
    let (found, confined) =
        handed_over(|to| send(table(), true, to).expect("sent")).expect("whole");
    assert!(confined);
    let found = Dataset::of("small", found, 0.2).expect("valid");
    let expected = Dataset::of("small", table(), 0.2).expect("valid");
    assert_eq!(found.hash, expected.hash);
    assert_eq!(found.meaning.columns, expected.meaning.columns);
    assert_eq!(found.meaning.class_names, expected.meaning.class_names);
    assert_eq!(found.classes, 3);
    assert_eq!(found.features.bytes(), expected.features.bytes());
}

#[test]
fn columns_that_share_memory_still_do() {
    let tokens = Elements::Int64(Arc::new((0..9).collect()));
    let prepared = || Prepared {
        features: Column::new(tokens.clone(), 0, 2, &[4]).expect("valid"),
        labels: Column::new(tokens.clone(), 1, 2, &[4]).expect("valid"),
        ..table()
    };
    let sent = prepared();
    let (found, _) = handed_over(|to| send(sent, false, to).expect("sent")).expect("whole");
    assert!(found
        .features
        .memory()
        .is_shared_with(found.labels.memory()));
    assert_eq!(found.labels.bytes(), prepared().labels.bytes());
}

#[test]
fn an_error_is_shown_without_control_characters() {
    let error = handed_over(|to| send_error("a.csv is\u{1b}[2J bad", to).expect("sent"));
    assert_eq!(error.expect_err("refused").to_string(), "a.csv is [2J bad");
}

/// A description of one table, changed, and the memory that comes with it.
fn lie(change: impl FnOnce(&mut Value) + Send + 'static) -> String {
    let refused = handed_over(move |to| {
        let features = [0_u8; 32];
        send_memory(&features, to).expect("sent");
        let mut description = json!({
            "confined": true, "hash": vec![1; 32], "rows": 2, "classes": 2,
            "features": {"float": true, "shape": [2], "first": 0, "memory": 0},
            "labels": {"float": false, "shape": [], "first": 0, "memory": 0},
            "columns": [["a", 0, 0]], "class_names": [], "vocabulary": [],
        });
        change(&mut description);
        // The reader may have refused it already.
        let _ = finish(&description, to);
    });
    refused.map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn nothing_is_believed() {
    assert_eq!(lie(|_| ()), "");
    let lies: [fn(&mut Value); 10] = [
        |d| d["rows"] = json!(5),
        |d| d["rows"] = json!(u64::MAX),
        |d| d["rows"] = json!(-1),
        |d| d["features"]["first"] = json!(u64::MAX),
        |d| d["features"]["memory"] = json!(1),
        |d| d["features"]["shape"] = json!([1_u64 << 40, 1_u64 << 40]),
        |d| d["hash"] = json!([1]),
        |d| d["columns"] = json!([[1, 2, 3]]),
        |d| d["vocabulary"] = json!([256]),
        |d| *d = json!(7),
    ];
    for change in lies {
        let error = lie(change);
        assert!(error.contains("should not"), "{error}");
    }
}

#[test]
fn memory_that_is_not_fixed_is_refused() {
    let region = pangea_shared_memory::OwnedRegion::create(64).expect("memory");
    let refused = handed_over(move |to| {
        send_with(to, &[IoSlice::new(&[MEMORY])], region.descriptor()).expect("sent");
        finish(&json!({"rows": 0}), to).expect("sent");
    });
    let error = refused.expect_err("refused").to_string();
    assert!(error.contains("WRITE"), "{error}");
}

#[test]
fn a_child_that_says_nothing_is_an_error() {
    let refused = handed_over(|_| ()).expect_err("refused");
    assert!(matches!(refused, ReadingError::Ended(_)));
}
