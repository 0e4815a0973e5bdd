//! How a CSV file is laid out, as far as the spec says; what it leaves out is detected.

use crate::options::Choice;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub label_column: LabelColumn,
    /// None: detected.
    pub separator: Option<Separator>,
    /// Whether the first row holds the names of the columns. None: detected.
    pub header: Option<bool>,
}

impl Layout {
    /// The index of the label in a row of `columns` cells.
    pub fn label_at(&self, columns: usize) -> usize {
        match self.label_column {
            LabelColumn::First => 0,
            LabelColumn::Last => columns - 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelColumn {
    First,
    Last,
}

impl Choice for LabelColumn {
    const VALUES: &'static [(&'static str, Self)] = &[("first", Self::First), ("last", Self::Last)];
}

/// What separates two cells of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    Tab,
    Semicolon,
    Pipe,
    Comma,
    /// One blank or several, as numpy.savetxt and aligned tables have it.
    Space,
}

/// In the order in which they are tried. The first of equally good ones wins: a comma may also be a
/// decimal comma, and a blank part of a name.
impl Choice for Separator {
    const VALUES: &'static [(&'static str, Self)] = &[
        ("tab", Self::Tab),
        ("semicolon", Self::Semicolon),
        ("pipe", Self::Pipe),
        ("comma", Self::Comma),
        ("space", Self::Space),
    ];
}

impl Separator {
    pub fn byte(self) -> u8 {
        match self {
            Self::Tab => b'\t',
            Self::Semicolon => b';',
            Self::Pipe => b'|',
            Self::Comma => b',',
            Self::Space => b' ',
        }
    }
}
