//! Messages and readers that several tests share.
#![allow(dead_code, reason = "each test program uses its own part")]

use pangea_wire::schema::{message, MessageType};
use pangea_wire::*;

pub fn pool() -> Pool {
    Pool::new(usize::MAX, 64 << 20)
}

/// Bytes that differ from place to place.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// An aggregate with one tensor for each (spec, bytes).
pub fn aggregate_frame(tensors: &[(TensorSpec, Vec<u8>)], limits: &Limits) -> Frame<Vec<u8>> {
    let mut message = capnp::message::Builder::new_default();
    let mut attachments = Attachments::new();
    let mut root = message.init_root::<message::Builder<'_>>();
    root.set_type(MessageType::Aggregate);
    root.set_request_id(42);
    let mut aggregate = root.init_aggregate();
    aggregate.set_hash(&[5; 32]);
    let mut list = aggregate.init_gradients(tensors.len() as u32);
    for ((spec, bytes), index) in tensors.iter().zip(0..) {
        write_tensor(
            list.reborrow().get(index),
            spec,
            bytes.clone(),
            &mut attachments,
        )
        .expect("a valid tensor");
    }
    Frame::new(&message, attachments, limits).expect("within limits")
}

/// Feeds `stream` to a decoder, at most `step` bytes at a time. Returns the frames and what the end
/// of the stream means.
pub fn decode(
    mut stream: &[u8],
    step: usize,
    limits: Limits,
    pool: &Pool,
) -> Result<(Vec<ReceivedFrame>, Option<WireError>), WireError> {
    let mut decoder = FrameDecoder::new(pool.clone(), limits);
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let window = decoder.unfilled()?;
        let count = window.len().min(step).min(stream.len());
        window[..count].copy_from_slice(&stream[..count]);
        stream = &stream[count..];
        frames.extend(decoder.advance(count)?);
    }
    let end = decoder.end_of_stream();
    Ok((frames, end))
}

/// Reads all tensors of an aggregate frame and takes their memory.
pub fn take_aggregate(
    frame: ReceivedFrame,
    limits: &Limits,
) -> Result<Vec<(TensorSpec, AlignedBuffer)>, WireError> {
    let reader = frame.into_reader(limits);
    let (mut specs, mut places) = (Vec::new(), Vec::new());
    {
        let root = reader.get_root::<message::Reader<'_>>()?;
        if message_type(root)? != MessageType::Aggregate {
            return Err(WireError::MalformedHeader("not an aggregate"));
        }
        let Ok(message::Aggregate(aggregate)) = root.which() else {
            return Err(WireError::MalformedHeader("not an aggregate"));
        };
        for tensor in aggregate?.get_gradients()? {
            let tensor = TensorData::read_whole(tensor)?;
            places.extend(reader.get_segments().locate(tensor.data));
            specs.push(TensorSpec::new(tensor.name, tensor.dtype, tensor.shape)?);
        }
    }
    let buffers = reader.into_segments().take_data(&places)?;
    Ok(specs.into_iter().zip(buffers).collect())
}
