//! The Rust side of the conformance tests: descriptions of gradient updates into frames and back,
//! with the code that services use.
//!
//!     rust_codec write    JSON lines on stdin -> frames on stdout
//!     rust_codec read     frames on stdin -> JSON lines on stdout; exit code 1 and a
//!                         message on stderr for what cannot be read
//!     rust_codec cut      one frame on stdin -> a line for each prefix: the outcome
//!     rust_codec facts    the constants and enums that it was built with, as JSON
#![expect(clippy::print_stdout, reason = "its output is what the tests read")]

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

use pangea_wire::blocking::{write_frame, FrameReader};
use pangea_wire::schema::{self, message, MessageType};
use pangea_wire::{
    message_type, write_tensor_bytes, Attachments, DType, Frame, FrameDecoder, Limits, Pool,
    ReceivedFrame, SchemaName, TensorData, TensorSpec,
};
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        Some("write") => write(),
        Some("read") => read(),
        Some("cut") => cut(),
        Some("facts") => facts(),
        _ => Err("one of write, read, cut, facts".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rust_codec: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number(value: &Value, field: &str) -> Result<u64> {
    value[field]
        .as_u64()
        .ok_or_else(|| format!("{field} is not a number").into())
}

/// The data of a piece: a cycle of 251 bytes, shifted by the seed; 0 and 1 for bool.
fn pattern(dtype: DType, length: u64, seed: u64) -> Vec<u8> {
    let modulus = if dtype == DType::Bool { 2 } else { 256 };
    (0..length)
        .map(|i| ((i % 251 * 7 + seed) % modulus) as u8)
        .collect()
}

fn write() -> Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let update: Value = serde_json::from_str(&line?)?;
        let mut message = capnp::message::Builder::new_default();
        let mut attachments = Attachments::new();
        let mut root = message.init_root::<message::Builder<'_>>();
        root.set_type(MessageType::GradientUpdate);
        root.set_request_id(number(&update, "requestId")?);
        let mut gradient = root.init_gradient_update();
        gradient.set_step(number(&update, "step")?);
        gradient.set_final(update["final"].as_bool().unwrap_or_default());
        write_reports(&update, gradient.reborrow())?;
        let tensors = update["tensors"]
            .as_array()
            .ok_or("tensors is not a list")?;
        let mut list = gradient.init_gradients(tensors.len() as u32);
        for (index, tensor) in tensors.iter().enumerate() {
            let dtype = DType::from_name(tensor["dtype"].as_str().unwrap_or_default())
                .ok_or("unknown dtype")?;
            let shape = tensor["shape"]
                .as_array()
                .ok_or("shape is not a list")?
                .iter()
                .filter_map(Value::as_u64)
                .collect();
            let spec = TensorSpec::new(tensor["name"].as_str().unwrap_or_default(), dtype, shape)?;
            let data = pattern(dtype, number(tensor, "length")?, number(tensor, "seed")?);
            write_tensor_bytes(
                list.reborrow().get(index as u32),
                &spec,
                number(tensor, "byteOffset")?,
                data,
                &mut attachments,
            )?;
        }
        write_frame(
            &mut out,
            &Frame::new(&message, attachments, &Limits::default())?,
        )?;
    }
    out.flush()?;
    Ok(())
}

fn frames<R: Read>(source: R) -> FrameReader<R> {
    FrameReader::new(
        source,
        FrameDecoder::new(Pool::new(64 << 20, 16 << 20), Limits::default()),
    )
}

fn read() -> Result<()> {
    let mut frames = frames(io::stdin().lock());
    while let Some(frame) = frames.read_frame()? {
        println!("{}", describe(frame)?);
    }
    Ok(())
}

fn describe(frame: ReceivedFrame) -> Result<Value> {
    let reader = frame.into_reader(&Limits::default());
    let root = reader.get_root::<message::Reader<'_>>()?;
    message_type(root)?;
    let message::GradientUpdate(update) = root.which()? else {
        return Err("unsupported: another message".into());
    };
    let update = update?;
    let mut reports = Vec::new();
    for report in update.get_reports()? {
        let mut figures = Vec::new();
        for figure in report.get_figures()? {
            figures.push(json!({
                "name": figure.get_name()?.to_str()?, "value": figure.get_value().to_bits(),
            }));
        }
        reports.push(json!({
            "shard": report.get_shard(), "samples": report.get_samples(), "lossSum": report.get_loss_sum().to_bits(), "batchHash": hex(report.get_batch_hash()?)?,
            "weight": report.get_weight().to_bits(), "summed": report.get_summed(), "stop": report.get_stop()?.to_str()?, "figures": figures,
        }));
    }
    let mut tensors = Vec::new();
    for tensor in update.get_gradients()? {
        let tensor = TensorData::read(tensor)?;
        let digest = hex(&Sha256::digest(tensor.data))?;
        tensors.push(json!({
            "name": tensor.name, "dtype": tensor.dtype.name(), "shape": tensor.shape, "byteOffset": tensor.byte_offset,
            "length": tensor.data.len(), "sha256": digest,
        }));
    }
    Ok(
        json!({"requestId": root.get_request_id(), "step": update.get_step(), "final": update.get_final(), "tensors": tensors, "reports": reports}),
    )
}

fn hex(bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}

fn write_reports(
    update: &Value,
    mut gradient: pangea_wire::schema::gradient_update::Builder<'_>,
) -> Result<()> {
    let empty = Vec::new();
    let reports = update["reports"].as_array().unwrap_or(&empty);
    let mut list = gradient.reborrow().init_reports(reports.len() as u32);
    for (index, report) in reports.iter().enumerate() {
        let mut to = list.reborrow().get(index as u32);
        to.set_shard(number(report, "shard")? as u32);
        to.set_samples(number(report, "samples")? as u32);
        to.set_loss_sum(f64::from_bits(number(report, "lossSum")?));
        to.set_batch_hash(&unhex(report["batchHash"].as_str().unwrap_or_default())?);
        to.set_weight(f64::from_bits(number(report, "weight")?));
        to.set_summed(report["summed"].as_bool().unwrap_or_default());
        to.set_stop(report["stop"].as_str().unwrap_or_default());
        let figures = report["figures"].as_array().unwrap_or(&empty);
        let mut list = to.init_figures(figures.len() as u32);
        for (index, figure) in figures.iter().enumerate() {
            let mut to = list.reborrow().get(index as u32);
            to.set_name(figure["name"].as_str().unwrap_or_default());
            to.set_value(f64::from_bits(number(figure, "value")?));
        }
    }
    Ok(())
}

/// Writes the constants, and the names of enum members in the order of their numbers.
fn facts() -> Result<()> {
    let constants = json!({
        "protocolVersion": schema::PROTOCOL_VERSION,
        "maxChunkBytes": schema::MAX_CHUNK_BYTES,
        "maxFrameBytes": schema::MAX_FRAME_BYTES,
        "maxShards": schema::MAX_SHARDS,
        "maxBatchSize": schema::MAX_BATCH_SIZE,
        "maxParameters": schema::MAX_PARAMETERS,
        "maxDimensions": schema::MAX_DIMENSIONS,
        "maxTensorNameBytes": schema::MAX_TENSOR_NAME_BYTES,
        "maxWorkerNameBytes": schema::MAX_WORKER_NAME_BYTES,
        "maxSoftwareBytes": schema::MAX_SOFTWARE_BYTES,
        "maxTrainingBytes": schema::MAX_TRAINING_BYTES,
        "maxArithmeticBytes": schema::MAX_ARITHMETIC_BYTES,
        "maxFingerprints": schema::MAX_FINGERPRINTS,
        "maxOperatorBytes": schema::MAX_OPERATOR_BYTES,
        "maxStopBytes": schema::MAX_STOP_BYTES,
        "maxBrokenBytes": schema::MAX_BROKEN_BYTES,
        "maxRunIdBytes": schema::MAX_RUN_ID_BYTES,
        "maxReasonBytes": schema::MAX_REASON_BYTES,
        "maxDetailBytes": schema::MAX_DETAIL_BYTES,
        "maxDatasetNameBytes": schema::MAX_DATASET_NAME_BYTES,
        "maxColumns": schema::MAX_COLUMNS,
        "maxColumnNameBytes": schema::MAX_COLUMN_NAME_BYTES,
        "maxClassNames": schema::MAX_CLASS_NAMES,
        "maxVocabulary": schema::MAX_VOCABULARY,
        "maxFigures": schema::MAX_FIGURES,
        "maxFigureNameBytes": schema::MAX_FIGURE_NAME_BYTES,
        "contentHashBlockBytes": schema::CONTENT_HASH_BLOCK_BYTES,
    });
    let facts = json!({
        "constants": constants,
        "enums": {
            "DataType": members::<schema::DataType>(),
            "Split": members::<schema::Split>(),
            "Verdict": members::<schema::Verdict>(),
            "ErrorAction": members::<schema::ErrorAction>(),
            "ContentHash": members::<schema::ContentHash>(),
            "MessageType": members::<schema::MessageType>(),
        },
    });
    println!("{facts}");
    Ok(())
}

fn members<T: SchemaName + TryFrom<u16>>() -> Vec<&'static str> {
    (0..)
        .map_while(|number| T::try_from(number).ok())
        .map(T::schema_name)
        .collect()
}

fn cut() -> Result<()> {
    let mut whole = Vec::new();
    io::stdin().read_to_end(&mut whole)?;
    for length in 0..whole.len() {
        let outcome = match frames(&whole[..length]).read_frame() {
            Ok(None) => "end".to_owned(),
            Ok(Some(frame)) => describe(frame)
                .map_or_else(|error| format!("error: {error}"), |_| "frame".to_owned()),
            Err(error) => format!("error: {error}"),
        };
        println!("{outcome}");
    }
    Ok(())
}
