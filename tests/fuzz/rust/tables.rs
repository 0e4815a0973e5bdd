//! Data files and dataset specs, as the data service reads them from a user who got them elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rust_compute_dataset::Dataset;
use rust_compute_sources::{open, Spec};
use rust_compute_storage::Storage;

/// Most bytes that a file of 64 KiB may become: a bomb ends there.
const MAX_BYTES: u64 = 4 << 20;

fn file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| std::env::temp_dir().join(format!("fuzz-{}", std::process::id())))
}

fn read(content: &[u8], kind: &str, options: &str) -> String {
    if let Err(error) = fs::write(file(), content) {
        return error.to_string();
    }
    let spec = format!("{kind}:{},{options}", file().display());
    let spec = match Spec::parse(&spec, Path::new("")) {
        Ok(spec) => spec,
        Err(error) => return error.to_string(),
    };
    let storage = Storage {
        max_bytes: MAX_BYTES,
    };
    let columns = match open(&spec, &storage) {
        Ok(columns) => columns,
        Err(error) => {
            return format!(
                "{error}: {:?}",
                std::error::Error::source(&error).map(ToString::to_string)
            )
        }
    };
    match Dataset::new("d", columns, spec.held_out()) {
        Ok(dataset) => format!(
            "{} {:?} {} {}",
            dataset.labels.rows().ilog2(),
            dataset.features.spec.shape,
            dataset.classes,
            dataset.meaning.class_names.is_empty()
        ),
        Err(error) => error.to_string(),
    }
}

/// The first byte chooses the options.
fn options(choice: u8) -> String {
    let shape = ["1", "2", "3", "2x2"][usize::from(choice & 3)];
    let label = ["first", "last"][usize::from((choice >> 2) & 1)];
    let normalise = ["columns", "all", "none", "columns"][usize::from((choice >> 3) & 3)];
    let header = ["", ",header=yes", ",header=no", ""][usize::from((choice >> 5) & 3)];
    let held_out = ["0", "0.5"][usize::from(choice >> 7)];
    format!("shape={shape},label={label},normalise={normalise}{header},held_out={held_out}")
}

pub fn csv(input: &[u8]) -> String {
    match input.split_first() {
        Some((choice, content)) => read(content, "csv", &options(*choice)),
        None => String::new(),
    }
}

pub fn text(input: &[u8]) -> String {
    match input.split_first() {
        Some((choice, content)) => {
            let context = 1 + choice / 4;
            read(content, "text", &format!("context={context},held_out=0.2"))
        }
        None => String::new(),
    }
}

/// Compressed data, which is a text if it is anything.
pub fn gzip(input: &[u8]) -> String {
    let whole = [b"\x1f\x8b", input].concat();
    read(&whole, "text", "context=2,held_out=0.2")
}

/// A dataset spec. Its text form must mean the same again.
pub fn spec(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    match Spec::parse(&text, Path::new("/data")) {
        Ok(spec) => {
            let written = spec.to_string();
            let again = Spec::parse(&written, Path::new("/data"));
            let same = again.is_ok_and(|again| again.to_string() == written);
            assert!(
                same,
                "{text:?} becomes {written:?}, which means something else"
            );
            spec.name().len().to_string()
        }
        // The spec itself is part of the message.
        Err(error) => error.to_string().replace(&*text, ""),
    }
}
