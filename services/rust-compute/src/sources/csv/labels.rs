//! The labels of a table: integers as they are, or texts that become classes in sorted order.

use std::collections::BTreeMap;

use pangea_wire::schema::MAX_CLASS_NAMES;

use super::cells::{bare, number, shown};

/// Longest text of a label: a longer one is hardly the name of a class.
const MAX_NAME_BYTES: usize = 256;
/// Beyond 2^53 a float64 does not hold every integer.
const LARGEST: f64 = 9e15;

/// One label, as it is in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Label<'b> {
    Number(i64),
    Text(&'b str),
}

impl<'b> Label<'b> {
    /// The error says what is wrong with the cell.
    pub fn read(cell: &'b [u8]) -> Result<Self, String> {
        if let Some(value) = number(cell) {
            if value.fract() == 0.0 && (0.0..=LARGEST).contains(&value) {
                return Ok(Self::Number(value as i64));
            }
            return Err(format!(
                "the label {} is not an integer of at least 0; classes are numbered from 0, or named by text",
                shown(cell)
            ));
        }
        let text = bare(cell);
        if text.is_empty() {
            return Err("the label is empty; fill it in, or leave the row out".to_owned());
        }
        // A quote that is never closed would swallow the rows below.
        if cell.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return Err(format!(
                "the label {} has a line break; is a quote closed that opens there?",
                shown(cell)
            ));
        }
        match std::str::from_utf8(text) {
            Ok(text) if text.len() <= MAX_NAME_BYTES && !text.contains('\0') => {
                Ok(Self::Text(text))
            }
            Ok(_) => Err(format!(
                "the label {} is longer than {MAX_NAME_BYTES} bytes, or is not text; the label is the \
                    last column, or with label=first the first",
                shown(cell)
            )),
            Err(_) => Err(format!(
                "the label {} is not UTF-8 text; save the file as UTF-8",
                shown(cell)
            )),
        }
    }
}

/// The labels read so far: all numbers, or all text.
#[derive(Default)]
pub struct Labels {
    values: Vec<i64>,
    /// Each text with its number, by order of first appearance.
    texts: BTreeMap<String, i64>,
}

impl Labels {
    /// Allocates memory for more labels. False if there is not enough.
    pub fn reserve(&mut self, more: usize) -> bool {
        self.values.try_reserve(more).is_ok()
    }

    pub fn push(&mut self, label: Label<'_>) -> Result<(), String> {
        let value = match label {
            Label::Number(value) if self.texts.is_empty() => value,
            Label::Number(value) => {
                return Err(format!(
                "the label {value} is a number, but those before it are text; use one or the other"
            ))
            }
            Label::Text(text) => self.number_of(text)?,
        };
        self.values.push(value);
        Ok(())
    }

    fn number_of(&mut self, text: &str) -> Result<i64, String> {
        if let Some(number) = self.texts.get(text) {
            return Ok(*number);
        }
        if self.texts.is_empty() && !self.values.is_empty() {
            return Err(format!(
                "the label {:?} is text, but those before it are numbers; use one or the other",
                text
            ));
        }
        if self.texts.len() == MAX_CLASS_NAMES as usize {
            return Err(format!(
                "there are more than {MAX_CLASS_NAMES} different labels, so this column does not look \
                    like one of classes; the label is the last column, or with label=first the first"
            ));
        }
        let number = self.texts.len() as i64;
        self.texts.insert(text.to_owned(), number);
        Ok(number)
    }

    /// The labels as classes, and the name of each class; no names where the file has numbers.
    pub fn into_classes(self) -> (Vec<i64>, Vec<String>) {
        let Self { mut values, texts } = self;
        if texts.is_empty() {
            return (values, Vec::new());
        }
        let mut class_of = vec![0; texts.len()];
        for (class, number) in (0..).zip(texts.values()) {
            class_of[*number as usize] = class;
        }
        for value in &mut values {
            *value = class_of[*value as usize];
        }
        (values, texts.into_keys().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(cells: &[&str]) -> Result<(Vec<i64>, Vec<String>), String> {
        let mut labels = Labels::default();
        for cell in cells {
            labels.push(Label::read(cell.as_bytes())?)?;
        }
        Ok(labels.into_classes())
    }

    #[test]
    fn texts_become_classes_in_sorted_order() {
        let (values, names) = classes(&["dog", " cat", "\"eel\"", "dog"]).expect("valid");
        assert_eq!(values, [1, 0, 2, 1]);
        assert_eq!(names, ["cat", "dog", "eel"]);
        let (values, names) = classes(&["2", "0.0", "1e1"]).expect("valid");
        assert_eq!((values, names), (vec![2, 0, 10], vec![]));
    }

    #[test]
    fn invalid_labels_are_refused() {
        let long = "x".repeat(257);
        for (cells, reason) in [
            (&["0.5"][..], "the label \"0.5\" is not an integer"),
            (&["-1"], "numbered from 0"),
            (&["nan"], "not an integer"),
            (&["1e16"], "not an integer"),
            (&[" "], "the label is empty"),
            (&["cat", "3"], "the label 3 is a number, but those before"),
            (&["3", "cat"], "the label \"cat\" is text, but those before"),
            (&[&long], "label=first"),
        ] {
            let error = classes(cells).expect_err("refused");
            assert!(error.contains(reason), "{error}");
        }
        assert!(Label::read(b"\xe4").expect_err("refused").contains("UTF-8"));
    }

    #[test]
    fn a_column_of_too_many_different_texts_is_refused() {
        let names: Vec<String> = (0..5000).map(|row| format!("name {row}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let error = classes(&names).expect_err("refused");
        assert!(error.contains("more than 4096 different labels"), "{error}");
        assert!(classes(&names[..4096]).is_ok());
    }
}
