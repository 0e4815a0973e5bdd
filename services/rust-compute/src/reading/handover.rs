//! What the child hands over: one or two pieces of fixed memory, then a description as JSON. The
//! reader believes none of it: sizes, seals and lengths are checked.

use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use pangea_shared_memory::{receive as receive_with, send_with, Descriptors, FixedMemory, Unfixed};
use pangea_wire::schema::{MAX_CLASS_NAMES, MAX_COLUMNS, MAX_VOCABULARY};
use pangea_wire::DType;
use rust_compute_dataset::{Column, Elements, Meaning, Prepared, Scale, TableColumn};
use serde_json::{json, Value};

use crate::error::ReadingError;

/// What a descriptor comes with. A description starts with another byte.
const MEMORY: u8 = b'm';
/// Longest description: all names of the longest kind.
const MAX_DESCRIPTION: usize = 16 << 20;
/// Longest part of an error that is shown.
const MAX_ERROR: usize = 4096;

/// Sends a dataset, freeing what is sent.
pub fn send(prepared: Prepared, confined: bool, to: &UnixStream) -> Result<(), ReadingError> {
    let Prepared {
        features,
        labels,
        classes,
        meaning,
        raw_hash,
    } = prepared;
    let together = features.memory().is_shared_with(labels.memory());
    let description = json!({
        "confined": confined,
        "hash": raw_hash,
        "rows": labels.rows(),
        "classes": classes,
        "features": describe(&features, 0),
        "labels": describe(&labels, if together { 0 } else { 1 }),
        "columns": meaning.columns.iter().map(describe_column).collect::<Vec<_>>(),
        "class_names": meaning.class_names,
        "vocabulary": meaning.vocabulary,
    });
    send_memory(features.memory().bytes(), to)?;
    drop(features);
    if !together {
        send_memory(labels.memory().bytes(), to)?;
    }
    finish(&description, to)
}

/// Sends why there is no dataset.
pub fn send_error(error: &str, to: &UnixStream) -> Result<(), ReadingError> {
    finish(&json!({ "error": error }), to)
}

fn finish(description: &Value, mut to: &UnixStream) -> Result<(), ReadingError> {
    to.write_all(description.to_string().as_bytes())?;
    Ok(to.shutdown(std::net::Shutdown::Write)?)
}

fn send_memory(bytes: &[u8], to: &UnixStream) -> Result<(), ReadingError> {
    let mut memory = Unfixed::create(bytes.len())?;
    memory.as_mut_slice().copy_from_slice(bytes);
    let descriptor = memory.fix()?;
    send_with(to, &[IoSlice::new(&[MEMORY])], descriptor.as_fd())?;
    Ok(())
}

fn describe(column: &Column, memory: usize) -> Value {
    let is_float = column.spec.dtype == DType::Float32;
    json!({
        "float": is_float,
        "shape": column.spec.shape,
        "first": column.first(),
        "memory": memory,
    })
}

/// Numbers as their bits, so that every one of them arrives as it was.
fn describe_column(column: &TableColumn) -> Value {
    json!([
        column.name,
        column.scale.mean.to_bits(),
        column.scale.deviation.to_bits()
    ])
}

/// Receives what a child hands over, until it closes its end. Also whether the child was confined.
pub fn receive(from: &UnixStream) -> Result<(Prepared, bool), ReadingError> {
    let (text, descriptors) = receive_all(from)?;
    if text.is_empty() {
        return Err(ReadingError::Ended("no result".to_owned()));
    }
    let described: Value = serde_json::from_slice(&text).map_err(|_| foreign("no JSON"))?;
    if let Some(error) = described["error"].as_str() {
        return Err(ReadingError::Unusable(printable(error)));
    }
    let memories = descriptors
        .iter()
        .map(|descriptor| Ok(Arc::new(FixedMemory::map(descriptor.as_fd())?)))
        .collect::<Result<Vec<_>, ReadingError>>()?;
    let rows = number(&described["rows"])?;
    let hash: Vec<u8> = bytes(&described["hash"])?;
    let prepared = Prepared {
        features: column(&described["features"], rows, &memories)?,
        labels: column(&described["labels"], rows, &memories)?,
        classes: u32::try_from(number(&described["classes"])?).map_err(|_| foreign("classes"))?,
        meaning: meaning(&described)?,
        raw_hash: hash.try_into().map_err(|_| foreign("a hash"))?,
    };
    Ok((prepared, described["confined"] == true))
}

/// The description, and the descriptors that came before it.
fn receive_all(from: &UnixStream) -> Result<(Vec<u8>, Vec<OwnedFd>), ReadingError> {
    let mut arrived = Descriptors::default();
    let (mut text, mut descriptors) = (Vec::new(), Vec::new());
    let mut window = vec![0; 1 << 16];
    loop {
        let count = receive_with(from, &mut window, &mut arrived)?;
        while let Some(descriptor) = arrived.take() {
            descriptors.push(descriptor);
        }
        if count == 0 {
            break;
        }
        text.extend_from_slice(&window[..count]);
        if text.len() > MAX_DESCRIPTION || descriptors.len() > 2 {
            return Err(foreign("more than a dataset has"));
        }
    }
    let marks = text.iter().take_while(|byte| **byte == MEMORY).count();
    text.drain(..marks);
    Ok((text, descriptors))
}

fn column(
    described: &Value,
    rows: usize,
    memories: &[Arc<FixedMemory>],
) -> Result<Column, ReadingError> {
    let shape: Vec<u64> = list(&described["shape"], 8)?
        .iter()
        .map(|extent| extent.as_u64().ok_or_else(|| foreign("a shape")))
        .collect::<Result<_, _>>()?;
    let memory = memories.get(number(&described["memory"])?);
    let memory = memory.ok_or_else(|| foreign("memory that is not there"))?;
    let dtype = if described["float"] == true {
        DType::Float32
    } else {
        DType::Int64
    };
    let elements = Elements::Fixed(dtype, memory.clone());
    let first = number(&described["first"])?;
    Ok(Column::new(elements, first, rows, &shape)?)
}

fn meaning(described: &Value) -> Result<Meaning, ReadingError> {
    let columns = list(&described["columns"], MAX_COLUMNS as usize)?;
    let class_names = list(&described["class_names"], MAX_CLASS_NAMES as usize)?;
    let vocabulary = bytes(&described["vocabulary"])?;
    if vocabulary.len() > MAX_VOCABULARY as usize {
        return Err(foreign("a vocabulary"));
    }
    Ok(Meaning {
        columns: columns.iter().map(table_column).collect::<Result<_, _>>()?,
        class_names: class_names.iter().map(text).collect::<Result<_, _>>()?,
        vocabulary,
    })
}

fn table_column(described: &Value) -> Result<TableColumn, ReadingError> {
    let bits = |at: usize| described[at].as_u64().map(f64::from_bits);
    match (bits(1), bits(2)) {
        (Some(mean), Some(deviation)) => Ok(TableColumn {
            name: text(&described[0])?,
            scale: Scale { mean, deviation },
        }),
        _ => Err(foreign("a column")),
    }
}

fn list(described: &Value, limit: usize) -> Result<&Vec<Value>, ReadingError> {
    let list = described.as_array().filter(|list| list.len() <= limit);
    list.ok_or_else(|| foreign("a list"))
}

fn bytes(described: &Value) -> Result<Vec<u8>, ReadingError> {
    let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
    let bytes = list(described, 256)?.iter().map(byte).collect();
    let bytes: Option<Vec<u8>> = bytes;
    bytes.ok_or_else(|| foreign("bytes"))
}

fn text(described: &Value) -> Result<String, ReadingError> {
    let text = described.as_str().map(str::to_owned);
    text.ok_or_else(|| foreign("a text"))
}

fn number(described: &Value) -> Result<usize, ReadingError> {
    let number = described.as_u64().and_then(|number| number.try_into().ok());
    number.ok_or_else(|| foreign("a number"))
}

/// A text of the child that is shown to a person: cut, without control characters.
fn printable(text: &str) -> String {
    text.chars()
        .take(MAX_ERROR)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

fn foreign(what: &str) -> ReadingError {
    ReadingError::Foreign(what.to_owned())
}

#[cfg(test)]
#[path = "handover_test.rs"]
mod tests;
