use super::*;
use crate::csv::tests::DETECTED;

fn dialect(text: &str, columns: usize) -> Result<Dialect, CsvError> {
    detect((text.as_bytes(), true), &DETECTED, columns)
}

#[test]
fn a_separator_is_detected() {
    for (text, separator) in [
        ("1,2,0\n3,4,1\n", Separator::Comma),
        ("1;2;0\n3;4;1\n", Separator::Semicolon),
        ("1\t2\t0\n", Separator::Tab),
        ("1|2|cat\n", Separator::Pipe),
        ("  1.0   2.0 0\n", Separator::Space),
        ("1, 2, 0\n", Separator::Comma),
        ("sepal length,sepal width,kind\n1,2,0\n", Separator::Comma),
        // Decimal commas: the numbers are refused later, not the columns.
        ("1,5;2,5;0\n3,5;4,5;1\n", Separator::Semicolon),
        // Nothing fits: the separator of the first row.
        ("1;2;3;0\n", Separator::Semicolon),
        ("123\n", Separator::Comma),
    ] {
        assert_eq!(
            dialect(text, 3).expect("valid").separator,
            separator,
            "{text}"
        );
    }
    // Two columns: numbers with decimal commas, and text.
    let two = dialect("1,5;cat\n2,5;dog\n", 2).expect("valid");
    assert_eq!(two.separator, Separator::Semicolon);
}

#[test]
fn a_separator_that_does_not_fit_is_refused() {
    let given = Layout {
        separator: Some(Separator::Comma),
        ..DETECTED
    };
    let error = detect((b"1;2;0\n", true), &given, 3).expect_err("refused");
    assert!(
        error.to_string().contains("say separator=semicolon"),
        "{error}"
    );
    assert!(detect((b"1,x,0\n", true), &given, 3).is_ok());
}

#[test]
fn an_unsupported_encoding_is_named() {
    let utf16: Vec<u8> = "1,2,0\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for text in [utf16.clone(), [&b"\xff\xfe"[..], &utf16].concat()] {
        let error = detect((&text, true), &DETECTED, 3).expect_err("refused");
        assert!(error.to_string().contains("UTF-16"), "{error}");
    }
    let late = b"1,2,0\n1,\0,0\n";
    let error = detect((late, true), &DETECTED, 3).expect_err("refused");
    assert!(
        error.to_string().starts_with("line 2 has a zero byte"),
        "{error}"
    );
}

#[test]
fn the_beginning_has_enough_lines() {
    let long = format!("{}\n", "7".repeat(SAMPLE_BYTES));
    let text = long.repeat(20);
    let (sample, whole) = beginning(&mut text.as_bytes()).expect("valid");
    assert!(!whole && sample.len() < text.len());
    assert!(sample.iter().filter(|byte| **byte == b'\n').count() >= SAMPLE_LINES);
    let (sample, whole) = beginning(&mut &b"1,2\n"[..]).expect("valid");
    assert_eq!((&sample[..], whole), (&b"1,2\n"[..], true));
}

#[test]
fn lines_may_end_with_carriage_returns_alone() {
    let old = dialect("a,b,c\r1,2,0\r", 3).expect("valid");
    assert_eq!((old.newline, old.skip), (b'\r', 1));
    assert_eq!(dialect("1,2,0\r\n", 3).expect("valid").newline, b'\n');
}
