//! The dataset spec: the one text that says what is trained on.
//!
//! ```text
//! SPEC    = NAME | KIND ":" PATH OPTIONS
//! OPTIONS = { "," name "=" value }
//! ```
//!
//! A NAME is a dataset that comes with Pangea, a KIND one of `open::FORMATS`. All other programs
//! pass a spec on unchanged.

use std::fmt;
use std::io;
use std::path::{absolute, Path, PathBuf};

use thiserror::Error;

use crate::format::Reader;
use crate::open::FORMATS;
use crate::options::{OptionError, Options};

/// Datasets that come with Pangea: name and spec, with a path in the folder `--data-dir`.
const SHIPPED: [(&str, &str); 2] = [
    (
        "digits",
        "csv:digits.csv.gz,shape=1x8x8,normalise=all,held_out=0.2",
    ),
    ("stdlib", "text:stdlib.txt.gz,context=64,held_out=0.1"),
];

/// A dataset that a spec names. Its text form has an absolute path and all options, so that it
/// means the same in any folder and release.
#[derive(Debug)]
pub struct Spec {
    /// The name, if the dataset comes with Pangea.
    shipped: Option<&'static str>,
    /// That of the format, as in `Format::kind`.
    kind: &'static str,
    /// Absolute.
    file: PathBuf,
    held_out: f64,
    reader: Box<dyn Reader>,
}

/// Why a text is not a dataset spec. The message ends with the grammar.
#[derive(Debug, Error)]
#[error("{spec:?}: {reason}; a dataset is {}", grammar(spec))]
pub struct SpecError {
    spec: String,
    reason: Reason,
}

#[derive(Debug, Error)]
enum Reason {
    #[error("there is no such dataset")]
    UnknownKind,
    #[error("the path is missing")]
    NoPath,
    #[error("there is no file {}", .0.display())]
    NoFile(PathBuf),
    #[error("the current folder is not known ({0})")]
    NoFolder(#[from] io::Error),
    #[error(transparent)]
    Options(#[from] OptionError),
}

impl Spec {
    /// Parses a spec. A path is relative to the current folder. The file does not have to exist.
    pub fn parse(text: &str, data_dir: &Path) -> Result<Self, SpecError> {
        let spec = match SHIPPED.iter().find(|(name, _)| *name == text) {
            Some((name, shipped)) => Self::of_file(shipped, data_dir).map(|spec| Self {
                shipped: Some(name),
                ..spec
            }),
            None => Self::of_file(text, Path::new("")),
        };
        spec.map_err(|reason| SpecError {
            spec: text.to_owned(),
            reason,
        })
    }

    fn of_file(text: &str, folder: &Path) -> Result<Self, Reason> {
        let (kind, rest) = text.split_once(':').ok_or(Reason::UnknownKind)?;
        let format = FORMATS.iter().find(|format| format.kind == kind);
        let format = format.ok_or(Reason::UnknownKind)?;
        let (path, mut options) = Options::split(rest)?;
        if path.is_empty() {
            return Err(Reason::NoPath);
        }
        let reader = (format.reader)(&mut options)?;
        let held_out = options.take_with("held_out", "a number from 0 to below 1", |value| {
            let share = value.parse().ok();
            share.filter(|share| (0.0..1.0).contains(share))
        })?;
        options.finish(format.kind)?;
        Ok(Self {
            shipped: None,
            kind: format.kind,
            // Links are not resolved: a dataset is called what the user calls it.
            file: absolute(folder.join(path))?,
            held_out: held_out.unwrap_or(format.held_out),
            reader,
        })
    }

    /// The user's file; None for a dataset that comes with Pangea, whose place only the serving
    /// process knows. Fails if the file does not exist.
    pub fn users_file(&self) -> Result<Option<&Path>, SpecError> {
        if self.is_shipped() {
            return Ok(None);
        }
        if !self.file.is_file() {
            return Err(SpecError {
                spec: self.to_string(),
                reason: Reason::NoFile(self.file.clone()),
            });
        }
        Ok(Some(&self.file))
    }

    /// Whether the dataset comes with Pangea.
    pub(crate) fn is_shipped(&self) -> bool {
        self.shipped.is_some()
    }

    /// What people call the dataset.
    pub fn name(&self) -> String {
        let file_name = || self.file.file_name().unwrap_or_default().to_string_lossy();
        self.shipped
            .map_or_else(|| file_name().into_owned(), str::to_owned)
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Share of the samples that are kept for evaluation, from 0 to below 1.
    pub fn held_out(&self) -> f64 {
        self.held_out
    }

    pub(crate) fn reader(&self) -> &dyn Reader {
        self.reader.as_ref()
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.shipped {
            return formatter.write_str(name);
        }
        write!(formatter, "{}:{}", self.kind, self.file.display())?;
        for (name, value) in self.reader.options() {
            write!(formatter, ",{name}={value}")?;
        }
        write!(formatter, ",held_out={:?}", self.held_out)
    }
}

/// The grammar of the format that a spec starts with; of every format if it starts with none.
fn grammar(spec: &str) -> String {
    let kind = spec.split(':').next();
    match FORMATS.iter().find(|format| kind == Some(format.kind)) {
        Some(format) => format.grammar.to_owned(),
        None => {
            let names = SHIPPED.iter().map(|(name, _)| *name);
            let grammars = FORMATS.iter().map(|format| format.grammar);
            names.chain(grammars).collect::<Vec<_>>().join(" or ")
        }
    }
}

#[cfg(test)]
#[path = "spec_test.rs"]
mod tests;
