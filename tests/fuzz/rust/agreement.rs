//! Go and Rust on the same bytes: both refuse the same frames and messages, and read the same
//! content.
//!
//! Their Cap'n Proto libraries differ in how much they forgive: where a pointer does not lead to
//! what the schema says, one of them may see nothing and the other an error. So the content of a
//! message may be unreadable to one of them alone; what both can read is the same.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use pangea_wire::blocking::FrameReader;
use pangea_wire::schema::{gradient_update, message, MessageType};
use pangea_wire::{message_type, FrameDecoder, Limits, Pool, ReceivedFrame, SchemaName};
use sha2::{Digest, Sha256};

use crate::frames::{framed, MEMORY};

const FRAME_BYTES: u64 = 1 << 20;

type Answer<T> = Result<T, Box<dyn std::error::Error>>;

/// The first byte says whether the rest is a stream, or the content of one frame.
pub fn agreement(input: &[u8]) -> String {
    let Some((choice, rest)) = input.split_first() else {
        return String::new();
    };
    let stream = match choice & 1 {
        0 => rest.to_vec(),
        _ => framed(rest),
    };
    let (rust, go) = (judgement(&stream), asked(&stream));
    assert!(agree(&rust, &go), "Rust reads\n{rust}\nGo reads\n{go}");
    rust.lines()
        .map(|line| line.split(' ').next())
        .fold(String::new(), |text, word| {
            text + word.unwrap_or_default() + " "
        })
}

/// Stands for the content of a message that cannot be read.
const UNREADABLE: &str = "unreadable\n";

fn agree(rust: &str, go: &str) -> bool {
    let (rust, go): (Vec<_>, Vec<_>) = (rust.split("\n\n").collect(), go.split("\n\n").collect());
    let same = |rust: &str, go: &str| {
        let (rust, go) = (rust.split_once('\n'), go.split_once('\n'));
        match (rust, go) {
            (Some((rust, content)), Some((go, other))) => {
                let forgiven = [content, other].contains(&UNREADABLE.trim_end());
                rust == go && (content == other || forgiven)
            }
            _ => rust == go,
        }
    };
    rust.len() == go.len() && rust.iter().zip(go).all(|(rust, go)| same(rust, go))
}

/// `codec judge` of package wiretest, which GO_CODEC names.
struct Go {
    _process: Child,
    given: ChildStdin,
    answers: ChildStdout,
}

fn start() -> Mutex<Go> {
    let program = std::env::var_os("GO_CODEC").expect("GO_CODEC names the program");
    let mut process = Command::new(program)
        .arg("judge")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a program");
    let given = process.stdin.take().expect("piped");
    let answers = process.stdout.take().expect("piped");
    Mutex::new(Go {
        _process: process,
        given,
        answers,
    })
}

fn asked(stream: &[u8]) -> String {
    static GO: OnceLock<Mutex<Go>> = OnceLock::new();
    let mut go = GO.get_or_init(start).lock().expect("no panic");
    let length = (stream.len() as u32).to_le_bytes();
    let sent = [&length, stream].concat();
    go.given.write_all(&sent).expect("Go reads");
    let mut length = [0; 4];
    go.answers.read_exact(&mut length).expect("Go answers");
    let mut answer = vec![0; u32::from_le_bytes(length) as usize];
    go.answers.read_exact(&mut answer).expect("Go answers");
    String::from_utf8(answer).expect("text")
}

/// What is read of a stream, up to its end or to what is refused: of each message its envelope, one
/// value of its content a line, and an empty line.
fn judgement(stream: &[u8]) -> String {
    let limits = Limits::with_frame_bytes(FRAME_BYTES);
    let mut frames = FrameReader::new(stream, FrameDecoder::new(Pool::new(MEMORY, 0), limits));
    let mut text = String::new();
    loop {
        let read = match frames.read_frame() {
            Ok(None) => return text + "end\n",
            Ok(Some(frame)) => read(frame),
            Err(error) => Err(error.into()),
        };
        match read {
            Ok(read) => text += &read,
            Err(_) => return text + "refused\n",
        }
    }
}

fn read(frame: ReceivedFrame) -> Answer<String> {
    let reader = frame.into_reader(&Limits::with_frame_bytes(FRAME_BYTES));
    let root = reader.get_root::<message::Reader<'_>>()?;
    let kind = message_type(root)?;
    if kind == MessageType::Unspecified {
        return Err("neither a type nor a content".into());
    }
    let text = format!("{} {}\n", kind.schema_name(), root.get_request_id());
    let content = match root.which()? {
        message::GradientUpdate(update) => update
            .map_err(Into::into)
            .and_then(read_update)
            .unwrap_or_else(|_: Box<dyn std::error::Error>| UNREADABLE.to_owned()),
        _ => String::new(),
    };
    Ok(text + &content + "\n")
}

fn read_update(update: gradient_update::Reader<'_>) -> Answer<String> {
    let mut text = format!("{} {}\n", update.get_step(), update.get_final());
    for report in update.get_reports()? {
        writeln!(
            text,
            "report {} {} {:016x} {:016x} {} {} {}",
            report.get_shard(),
            report.get_samples(),
            report.get_loss_sum().to_bits(),
            report.get_weight().to_bits(),
            report.get_summed(),
            hex(report.get_batch_hash()?),
            hex(report.get_stop()?.to_str()?.as_bytes()),
        )?;
        for figure in report.get_figures()? {
            let name = hex(figure.get_name()?.to_str()?.as_bytes());
            writeln!(text, "figure {name} {:016x}", figure.get_value().to_bits())?;
        }
    }
    for tensor in update.get_gradients()? {
        let name = hex(tensor.get_name()?.to_str()?.as_bytes());
        let dtype = tensor
            .get_dtype()
            .map_or_else(|new| new.0, |known| known as u16);
        let digest = hex(&Sha256::digest(tensor.get_data()?));
        write!(
            text,
            "tensor {name} {dtype} {} {digest}",
            tensor.get_byte_offset()
        )?;
        for size in tensor.get_shape()? {
            write!(text, " {size}")?;
        }
        text.push('\n');
    }
    Ok(text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
        text
    })
}
