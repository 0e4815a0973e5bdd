//! Frames and requests, as a service reads them from a stranger.

use std::sync::OnceLock;

use pangea_wire::schema::{dataset_info, message};
use pangea_wire::{message_type, FrameDecoder, Limits, Pool, TensorData, TensorSpec, WireError};
use rust_compute_dataset::Dataset;
use rust_compute_fixtures::small;
use rust_compute_serving::{Batches, Part, Request};

/// More than this for 64 KiB of input would be out of proportion.
pub const MEMORY: usize = 4 << 20;

/// Decodes a stream, in pieces whose size the first byte says, and reads each message.
pub fn frames(input: &[u8]) -> String {
    let Some((first, mut stream)) = input.split_first() else {
        return String::new();
    };
    let (pool, limits) = (Pool::new(MEMORY, 0), Limits::with_frame_bytes(1 << 20));
    let mut decoder = FrameDecoder::new(pool, limits);
    let mut outcome = String::new();
    while !stream.is_empty() {
        let step = usize::from(*first).max(1).min(stream.len());
        match advance(&mut decoder, &stream[..step]) {
            Ok((used, read)) => {
                outcome += &read;
                stream = &stream[used..];
            }
            Err(error) => return outcome + &error.to_string(),
        }
    }
    outcome
}

/// A frame whose head is right, and whose content is the input: nothing is lost to a length that
/// does not fit. The first two bytes say how many words the first segment has.
pub fn framed(input: &[u8]) -> Vec<u8> {
    let (first, content) = input.split_at_checked(2).unwrap_or((&[0, 0], input));
    let words = content.len().div_ceil(8);
    let first = usize::from(u16::from_le_bytes([first[0], first[1]])).min(words);
    let segments = match words - first {
        0 => vec![first],
        rest => vec![first, rest],
    };
    let mut head = vec![segments.len() as u32 - 1];
    head.extend(segments.iter().map(|words| *words as u32));
    head.resize(head.len().next_multiple_of(2), 0);
    let mut frame: Vec<u8> = head.into_iter().flat_map(u32::to_le_bytes).collect();
    let end = frame.len() + 8 * words;
    frame.extend(content);
    frame.resize(end, 0);
    frame
}

/// Reads one message.
pub fn messages(input: &[u8]) -> String {
    let (pool, limits) = (Pool::new(MEMORY, 0), Limits::with_frame_bytes(1 << 20));
    let (mut decoder, frame) = (FrameDecoder::new(pool, limits), framed(input));
    let (mut outcome, mut rest) = (String::new(), &frame[..]);
    while !rest.is_empty() {
        match advance(&mut decoder, rest) {
            Ok((used, read)) => {
                outcome += &read;
                rest = &rest[used..];
            }
            Err(error) => return outcome + &error.to_string(),
        }
    }
    outcome
}

fn advance(decoder: &mut FrameDecoder, bytes: &[u8]) -> Result<(usize, String), WireError> {
    let window = decoder.unfilled()?;
    let count = window.len().min(bytes.len());
    window[..count].copy_from_slice(&bytes[..count]);
    let Some(frame) = decoder.advance(count)? else {
        return Ok((count, String::new()));
    };
    let reader = frame.into_reader(&Limits::with_frame_bytes(1 << 20));
    let read = match reader.get_root::<message::Reader<'_>>() {
        Ok(root) => match read(root) {
            Ok(outcome) => outcome,
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    Ok((count, read))
}

/// Visits what services and workers read of a message.
fn read(root: message::Reader<'_>) -> Result<String, WireError> {
    let kind = format!("{:?} ", message_type(root)?);
    Ok(match root.which() {
        Ok(message::Aggregate(aggregate)) => {
            let mut pieces = 0;
            for piece in aggregate?.get_gradients()? {
                TensorData::read(piece)?;
                pieces += 1;
            }
            format!("{kind}{pieces}")
        }
        Ok(message::GradientUpdate(update)) => {
            let update = update?;
            for piece in update.get_gradients()? {
                TensorData::read(piece)?;
            }
            format!("{kind}{}", update.get_reports()?.len())
        }
        Ok(message::JoinRequest(join)) => {
            let join = join?;
            for parameter in join.get_parameters()? {
                TensorSpec::read(parameter)?;
            }
            read_info(join.get_dataset()?)? + &kind
        }
        Ok(message::DatasetInfo(info)) => read_info(info?)? + &kind,
        _ => kind,
    })
}

fn read_info(info: dataset_info::Reader<'_>) -> Result<String, WireError> {
    let (features, labels) = (info.get_features()?, info.get_labels()?);
    let read = (TensorSpec::read(features)?, TensorSpec::read(labels)?);
    Ok(format!("{read:?}"))
}

fn batches() -> &'static Batches {
    static BATCHES: OnceLock<Batches> = OnceLock::new();
    let dataset: fn() -> Dataset = small;
    BATCHES.get_or_init(|| Batches::new(dataset(), Pool::new(64 << 20, 1 << 20), 1 << 20))
}

/// Reads one frame as a batch request, and makes the batch.
pub fn requests(input: &[u8]) -> String {
    let mut decoder = FrameDecoder::new(Pool::new(MEMORY, 0), Limits::with_frame_bytes(64 << 10));
    let mut rest = input;
    let frame = loop {
        let window = match decoder.unfilled() {
            Ok(window) if !rest.is_empty() => window,
            Ok(_) => return "incomplete".to_owned(),
            Err(error) => return error.to_string(),
        };
        let count = window.len().min(rest.len());
        window[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        match decoder.advance(count) {
            Ok(Some(frame)) => break frame,
            Ok(None) => {}
            Err(error) => return error.to_string(),
        }
    };
    let reader = frame.into_reader(&Limits::with_frame_bytes(64 << 10));
    let root = match reader.get_root::<message::Reader<'_>>() {
        Ok(root) => root,
        Err(error) => return error.to_string(),
    };
    let Ok(message::BatchRequest(Ok(request))) = root.which() else {
        return message_type(root)
            .map_or_else(|error| error.to_string(), |kind| format!("{kind:?}"));
    };
    match Request::read(request, &batches().dataset) {
        Ok(request) => {
            let part = match request.part {
                Part::Train { .. } => "train",
                Part::HeldOut => "held out",
            };
            let made = batches().frame(1, &request, &Limits::default());
            let made = made.map_or_else(
                |error| error.to_string(),
                |frame| format!("{} bytes", frame.len()),
            );
            format!("{part} {made}")
        }
        Err(error) => error.to_string(),
    }
}
