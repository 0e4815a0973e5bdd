//! One cell of a table: its number, or why it is not one.

/// Longest part of a cell that an error shows.
const SHOWN: usize = 60;

/// The number in a cell, without blanks and one pair of quotes around it.
pub fn number(cell: &[u8]) -> Option<f64> {
    std::str::from_utf8(bare(cell)).ok()?.parse().ok()
}

/// The cell without blanks and one pair of quotes around it. The parser leaves quotes in place that
/// follow a blank.
pub fn bare(cell: &[u8]) -> &[u8] {
    let cell = cell.trim_ascii();
    let inner = cell
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    inner.unwrap_or(cell).trim_ascii()
}

/// The finite number in a cell. The error says what is in the cell instead, and what to do.
pub fn finite(cell: &[u8]) -> Result<f64, String> {
    match number(cell) {
        Some(value) if value.is_finite() => Ok(value),
        Some(_) => Err(format!(
            "{} is not a finite number; replace it, or leave the row out",
            shown(cell)
        )),
        None => Err(not_a_number(cell)),
    }
}

fn not_a_number(cell: &[u8]) -> String {
    let text = bare(cell);
    if text.is_empty() {
        "it is empty; fill it in, or leave the row out".to_owned()
    } else if text.contains(&0) || std::str::from_utf8(text).is_err() {
        format!("{} is not UTF-8 text; save the file as UTF-8", shown(cell))
    } else if has_decimal_comma(text) {
        format!(
            "{} has a decimal comma; write numbers with a point",
            shown(cell)
        )
    } else {
        format!("{} is not a number", shown(cell))
    }
}

/// Such as 1,5 or -1.000,5.
fn has_decimal_comma(text: &[u8]) -> bool {
    let point: Vec<u8> = text
        .iter()
        .filter(|byte| **byte != b'.')
        .map(|byte| if *byte == b',' { b'.' } else { *byte })
        .collect();
    text.contains(&b',') && number(&point).is_some()
}

/// The start of a cell in quotes, short enough for an error.
pub fn shown(cell: &[u8]) -> String {
    let start = String::from_utf8_lossy(&cell[..cell.len().min(SHOWN)]);
    let rest = if cell.len() > SHOWN { "..." } else { "" };
    format!("{start:?}{rest}")
}

/// A number of columns, for an error.
pub fn columns(count: usize) -> String {
    format!("{count} column{}", if count == 1 { "" } else { "s" })
}

/// `text` cut to at most `max_bytes`, at the end of a character.
pub fn cut(text: &str, max_bytes: usize) -> &str {
    let end = (0..=max_bytes.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_blanks_around_a_number_are_ignored() {
        for cell in ["-3e1", " -30 ", "\"-30\"", " \" -30.0\" "] {
            assert_eq!(finite(cell.as_bytes()), Ok(-30.0), "{cell}");
        }
    }

    #[test]
    fn a_cell_without_a_number_is_refused_with_the_likely_cause() {
        for (cell, reason) in [
            (&b"x"[..], "\"x\" is not a number"),
            (b"", "empty"),
            (b" ", "empty"),
            (b"1,5", "decimal comma"),
            (b"1.000,5", "decimal comma"),
            (b"1,a", "\"1,a\" is not a number"),
            (b"NaN", "\"NaN\" is not a finite number"),
            (b"-inf", "not a finite number"),
            (b"1e999", "not a finite number"),
            (b"\xe4", "not UTF-8"),
            (b"1\x002\0", "not UTF-8"),
        ] {
            let error = finite(cell).expect_err("refused");
            assert!(error.contains(reason), "{error}");
        }
        assert!(finite(&[b'x'; 1 << 20]).expect_err("refused").len() < 120);
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("abc", 5), "abc");
        assert_eq!(cut("aäb", 2), "a");
        assert_eq!(cut("aäb", 3), "aä");
    }
}
