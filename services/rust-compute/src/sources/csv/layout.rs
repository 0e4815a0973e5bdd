//! What people say about their CSV file; what they leave out is noticed.

use clap::ValueEnum;

/// The form of a CSV file, as far as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub label_column: LabelColumn,
    /// None: noticed.
    pub separator: Option<Separator>,
    /// Whether the first row holds the names of the columns. None: noticed.
    pub header: Option<bool>,
}

impl Format {
    /// The place of the label in a row of `columns` cells, from 0.
    pub fn label_at(&self, columns: usize) -> usize {
        match self.label_column {
            LabelColumn::First => 0,
            LabelColumn::Last => columns - 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LabelColumn {
    First,
    Last,
}

/// What stands between two cells of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Separator {
    #[value(alias = "\t")]
    Tab,
    #[value(alias = ";")]
    Semicolon,
    #[value(alias = "|")]
    Pipe,
    #[value(alias = ",")]
    Comma,
    /// One blank or several, as numpy.savetxt and aligned tables have it.
    #[value(alias = " ")]
    Space,
}

impl Separator {
    /// Those that are tried, the first of equally good ones first: a comma may also be a decimal
    /// comma, and a blank may be part of a name.
    pub const ALL: [Self; 5] = [
        Self::Tab,
        Self::Semicolon,
        Self::Pipe,
        Self::Comma,
        Self::Space,
    ];

    pub fn byte(self) -> u8 {
        match self {
            Self::Tab => b'\t',
            Self::Semicolon => b';',
            Self::Pipe => b'|',
            Self::Comma => b',',
            Self::Space => b' ',
        }
    }

    /// As it is written in a dataset spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tab => "tab",
            Self::Semicolon => "semicolon",
            Self::Pipe => "pipe",
            Self::Comma => "comma",
            Self::Space => "space",
        }
    }
}
