use super::*;
use crate::fixtures::NOTICED;
use crate::sources::csv::layout::{LabelColumn, Separator};

fn table(text: &[u8], format: &Format) -> Result<Table> {
    read(&mut &text[..], format, 2)
}

fn refusal(text: &str) -> String {
    let refused = table(text.as_bytes(), &NOTICED).expect_err("refused");
    format!("{refused:#}")
}

#[test]
fn the_label_is_first_or_last() {
    let last = table(b"1,2.5,7\n-3, 4e1 ,0\n", &NOTICED).expect("valid");
    assert_eq!(
        (last.features, last.labels),
        (vec![1.0, 2.5, -3.0, 40.0], vec![7, 0])
    );
    let first = Format {
        label_column: LabelColumn::First,
        ..NOTICED
    };
    let first = table(b"1,2.5,7\n", &first).expect("valid");
    assert_eq!((first.features, first.labels), (vec![2.5, 7.0], vec![1]));
}

/// The same rows as programs of all kinds write them.
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
        let table = table(text.as_bytes(), &NOTICED).expect("valid");
        assert_eq!(table.features, [1.5, 2.0, -3.0, 4.0], "{text:?}");
        assert_eq!(table.labels, [0, 1], "{text:?}");
    }
}

#[test]
fn names_of_columns_and_classes_are_kept() {
    let read = table(b"a,b,kind\n1,2,dog\n3,4,cat\n", &NOTICED).expect("valid");
    assert_eq!(read.column_names, ["a", "b"]);
    assert_eq!(read.class_names, ["cat", "dog"]);
    assert_eq!(read.labels, [1, 0]);
    let bare = table(b"1,2,0\n", &NOTICED).expect("valid");
    assert!(bare.column_names.is_empty() && bare.class_names.is_empty());
}

#[test]
fn what_is_wrong_is_named_with_line_row_and_column() {
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

/// Rows are read in parallel; which error is told must not depend on who is fastest.
#[test]
fn the_first_wrong_row_is_named() {
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
    let table = table(text.as_bytes(), &NOTICED).expect("valid");
    let expected: Vec<f64> = (0..rows)
        .flat_map(|row| [f64::from(row), f64::from(row) + 0.5])
        .collect();
    assert_eq!(table.features, expected);
    let labels: Vec<i64> = (0..rows).map(|row| i64::from(row % 3)).collect();
    assert_eq!(table.labels, labels);
}

#[test]
fn a_given_form_is_not_guessed() {
    let said = Format {
        separator: Some(Separator::Semicolon),
        header: Some(true),
        ..NOTICED
    };
    let table = table(b"1;2;0\n3;4;1\n", &said).expect("valid");
    assert_eq!(
        (table.labels, table.column_names.join(",")),
        (vec![1], "1,2".to_owned())
    );
}

#[test]
fn an_unusable_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("empty.csv");
    std::fs::write(&file, "").expect("written");
    let error = read_csv(&file, &NOTICED, 2, 1 << 20).expect_err("refused");
    assert!(format!("{error:#}").contains("empty.csv is not usable: there is no row in it"));
}
