use rust_compute_storage::Storage;

use super::layout::Separator;
use super::*;
use crate::{open, Spec};

/// The layout of a file of which the spec says nothing.
pub const DETECTED: Layout = Layout {
    label_column: LabelColumn::Last,
    separator: None,
    header: None,
};

fn table(text: &[u8], layout: &Layout) -> Result<Table, CsvError> {
    read_table(&mut &text[..], layout, 2)
}

fn refusal(text: &str) -> String {
    let refused = table(text.as_bytes(), &DETECTED).expect_err("refused");
    refused.to_string()
}

#[test]
fn the_label_is_first_or_last() {
    let last = table(b"1,2.5,7\n-3, 4e1 ,0\n", &DETECTED).expect("valid");
    assert_eq!(
        (last.features, last.labels),
        (vec![1.0, 2.5, -3.0, 40.0], vec![7, 0])
    );
    let first = Layout {
        label_column: LabelColumn::First,
        ..DETECTED
    };
    let first = table(b"1,2.5,7\n", &first).expect("valid");
    assert_eq!((first.features, first.labels), (vec![2.5, 7.0], vec![1]));
}

/// The same rows, as various programs write them.
#[test]
fn files_of_many_origins_are_the_same_table() {
    for text in [
        "1.5,2,0\n-3,4,1\n",
        "\u{feff}1.5,2,0\r\n-3,4,1\r\n",
        "a,b,kind\n1.5,2,0\n-3,4,1",
        "\u{feff}a;b;kind\r\n1.5;2;0\r\n-3;4;1\r\n",
        "\"a\"\t\"b\"\t\"kind\"\n\"1.5\"\t\"2\"\t\"0\"\n\"-3\"\t\"4\"\t\"1\"\n",
        "# saved by hand\n1.5|2|0\n\n-3|4|1\n\n",
        "  1.50e+00  2.0e+00  0\n -3.00e+00  4.0e+00  1\n",
        "1.5,2,0\r-3,4,1\r",
        "1.5,2,no\n-3,4,yes\n",
    ] {
        let table = table(text.as_bytes(), &DETECTED).expect("valid");
        assert_eq!(table.features, [1.5, 2.0, -3.0, 4.0], "{text:?}");
        assert_eq!(table.labels, [0, 1], "{text:?}");
    }
}

#[test]
fn names_of_columns_and_classes_are_kept() {
    let read = table(b"a,b,kind\n1,2,dog\n3,4,cat\n", &DETECTED).expect("valid");
    assert_eq!(read.column_names, ["a", "b"]);
    assert_eq!(read.class_names, ["cat", "dog"]);
    assert_eq!(read.labels, [1, 0]);
    let bare = table(b"1,2,0\n", &DETECTED).expect("valid");
    assert!(bare.column_names.is_empty() && bare.class_names.is_empty());
}

#[test]
fn a_faulty_cell_is_named_with_line_row_and_column() {
    for (text, reason) in [
        ("", "there is no row in it"),
        ("\n \n# nothing\n", "there is no row in it"),
        ("a,b,kind\n", "there is no row in it but a header"),
        (
            "1,2,3\n1,2\n",
            "line 2 (row 2): it has 2 columns, separated by comma, the first of them \"1\"; shape and label make 3",
        ),
        ("1;2;3;0\n", "line 1 (row 1): it has 4 columns, separated by semicolon"),
        (
            "1,x,3\n1,2,3\n",
            "line 1 (row 1): column 2: \"x\" is not a number; if the row holds the names",
        ),
        (
            "age,pay,kind\n\n1,2,3\n1,\"x\ny\",3\n",
            "line 4 (row 2): column 2 (pay): \"x\\ny\" is not a number; features must be",
        ),
        ("1,2,cat\n1,2,\"dog\n3,4,cat\n", "line 2 (row 2): column 3: the label \"dog\\n3,4,cat\\n\" has a line break"),
        ("1,2,0\n1,inf,0\n", "line 2 (row 2): column 2: \"inf\""),
        ("1,2,0\n1,,0\n", "line 2 (row 2): column 2: it is empty; fill it in"),
        ("1,5;2,5;0\n", "column 1: \"1,5\" has a decimal comma"),
        ("1,2,0\n#1,2,0\n", "comments are possible above the first row only"),
        ("1,2,0\n# end\n", "comments are possible above the first row only"),
        ("1,2,0.5\n", "line 1 (row 1): column 3: the label \"0.5\""),
        ("1,2,-1\n", "line 1 (row 1): column 3: the label \"-1\""),
        ("1,2,0\n1,2,cat\n", "line 2 (row 2): column 3: the label \"cat\" is text"),
    ] {
        let error = refusal(text);
        assert!(error.contains(reason), "{text:?}: {error}");
    }
}

/// Rows are read in parallel; which error is reported must not depend on the fastest thread.
#[test]
fn the_first_faulty_row_is_named() {
    let rows = (0..20_000).map(|row| {
        if row % 5000 == 4321 {
            "x,2,0\n"
        } else {
            "1,2,0\n"
        }
    });
    let text: String = rows.collect();
    for _ in 0..20 {
        let error = refusal(&text);
        assert!(error.contains("line 4322 (row 4322)"), "{error}");
    }
}

#[test]
fn a_file_of_many_blocks_is_read_in_order() {
    let rows = 300_000;
    let text = (0..rows).fold(String::new(), |text, row| {
        text + &format!("{row},{row}.5,{}\n", row % 3)
    });
    let table = table(text.as_bytes(), &DETECTED).expect("valid");
    let expected: Vec<f64> = (0..rows)
        .flat_map(|row| [f64::from(row), f64::from(row) + 0.5])
        .collect();
    assert_eq!(table.features, expected);
    let labels: Vec<i64> = (0..rows).map(|row| i64::from(row % 3)).collect();
    assert_eq!(table.labels, labels);
}

#[test]
fn an_explicit_layout_is_not_guessed() {
    let explicit = Layout {
        separator: Some(Separator::Semicolon),
        header: Some(true),
        ..DETECTED
    };
    let table = table(b"1;2;0\n3;4;1\n", &explicit).expect("valid");
    assert_eq!(
        (table.labels, table.column_names.join(",")),
        (vec![1], "1,2".to_owned())
    );
}

/// Opens a file with this content.
fn opened(content: &str) -> Result<Columns, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file.csv");
    std::fs::write(&file, content).expect("written");
    let spec = format!("csv:{},shape=2", file.display());
    let spec = Spec::parse(&spec, folder.path()).expect("valid");
    open(&spec, &Storage { max_bytes: 1 << 20 })
        .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

#[test]
fn an_unusable_file_is_named() {
    let error = opened("").expect_err("refused");
    assert!(error.contains("file.csv is not usable: there is no row in it"));
    let error = opened("1,2,1099511627776\n").expect_err("refused");
    let expected = "file.csv is not usable: the label 1099511627776 is too large for a class";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_table_becomes_columns() {
    let columns = opened("a,b,kind\n1,2,dog\n3,4,cat\n").expect("valid");
    assert_eq!((columns.classes, columns.labels.rows()), (2, 2));
    assert_eq!(columns.names.columns, ["a", "b"]);
    assert_eq!(columns.names.classes, ["cat", "dog"]);
    match columns.features {
        Features::Numbers { values, shape, .. } => {
            assert_eq!((values, shape), (vec![1.0, 2.0, 3.0, 4.0], vec![2]));
        }
        Features::Final(_) => panic!("the features of a table are normalised"),
    }
}
