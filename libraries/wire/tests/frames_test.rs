//! What is written can be read: by our reader without a copy, and by the plain Cap'n Proto reader.
#![expect(
    clippy::expect_used,
    reason = "a test fails where something unexpected happens"
)]

mod common;

use capnp::message::ReaderSegments;
use common::{aggregate_frame, decode, pattern, pool, take_aggregate};
use pangea_wire::schema::{message, snapshot};
use pangea_wire::*;

fn spec(name: &str, dtype: DType, shape: &[u64]) -> TensorSpec {
    TensorSpec::new(name, dtype, shape.to_vec()).expect("a valid spec")
}

fn filled(spec: TensorSpec) -> (TensorSpec, Vec<u8>) {
    let bytes = pattern(spec.byte_len().expect("small") as usize);
    (spec, bytes)
}

/// Every element type, with scalars, empty tensors and odd lengths: each alone and all in one
/// frame.
#[test]
fn every_dtype_survives_a_round_trip() {
    let limits = Limits::default();
    let mut all = Vec::new();
    for dtype in DType::ALL {
        assert_eq!(DType::from_name(dtype.name()), Some(dtype));
        for shape in [&[3_u64, 5] as &[u64], &[], &[0, 9], &[1; 8], &[1001]] {
            let tensor = filled(spec(dtype.name(), dtype, shape));
            all.push(tensor.clone());
            round_trip(&[tensor], &limits);
        }
    }
    round_trip(&all, &limits);
    round_trip(&[], &limits);
}

fn round_trip(tensors: &[(TensorSpec, Vec<u8>)], limits: &Limits) {
    let pool = pool();
    let frame = aggregate_frame(tensors, limits);
    let bytes = frame.to_bytes();
    assert_eq!(bytes.len(), frame.len());
    let (mut frames, end) = decode(&bytes, usize::MAX, *limits, &pool).expect("well formed");
    assert!(frames.len() == 1 && end.is_none());
    let received = frames.remove(0);
    assert_eq!(
        received.message_bytes() + table_bytes(&received),
        bytes.len()
    );
    let taken = take_aggregate(received, limits).expect("well formed");
    assert_eq!(taken.len(), tensors.len());
    for ((spec, bytes), (taken_spec, taken_bytes)) in tensors.iter().zip(&taken) {
        assert_eq!(spec, taken_spec);
        assert_eq!(bytes, taken_bytes.as_slice());
        assert_eq!(taken_bytes.as_ptr().as_ptr() as usize % ALIGNMENT, 0);
    }
    drop(taken);
    assert_eq!(pool.live_bytes(), 0, "no buffer is lost");
}

fn table_bytes(frame: &ReceivedFrame) -> usize {
    (frame.segment_count() + 2) / 2 * 8
}

/// The plain Cap'n Proto reader understands our frames.
#[test]
fn the_standard_reader_understands() {
    let tensors: Vec<_> = (0..5_u64)
        .map(|index| filled(spec("t", DType::Int16, &[index * 1000 + 3])))
        .collect();
    let bytes = aggregate_frame(&tensors, &Limits::default()).to_bytes();
    let reader =
        capnp::serialize::read_message(bytes.as_slice(), Default::default()).expect("standard");
    let root = reader.get_root::<message::Reader<'_>>().expect("a root");
    assert_eq!(root.get_request_id(), 42);
    let Ok(message::Aggregate(Ok(aggregate))) = root.which() else {
        panic!("an aggregate was written");
    };
    assert_eq!(aggregate.get_hash().expect("there"), [5; 32]);
    for (tensor, (spec, bytes)) in aggregate
        .get_gradients()
        .expect("there")
        .iter()
        .zip(&tensors)
    {
        assert_eq!(tensor.get_data().expect("there"), bytes);
        assert_eq!(tensor.get_shape().expect("there").get(0), spec.shape[0]);
    }
}

/// Frames of a writer that keeps everything in its own segments are read too: the data is copied to
/// an aligned buffer.
#[test]
fn data_among_other_fields_is_copied() {
    let pool = pool();
    let limits = Limits::default();
    for first_segment_words in [4, 100, 10_000] {
        let allocator =
            capnp::message::HeapAllocator::new().first_segment_words(first_segment_words);
        let mut builder = capnp::message::Builder::new(allocator);
        let mut root = builder.init_root::<message::Builder<'_>>();
        root.set_type(pangea_wire::schema::MessageType::Aggregate);
        let mut tensors = root.init_aggregate().init_gradients(2);
        for (index, len) in [(0, 13), (1, 3000)] {
            let mut tensor = tensors.reborrow().get(index);
            tensor.set_dtype(pangea_wire::schema::DataType::Uint8);
            tensor.set_shape(&[len as u64]).expect("short");
            tensor.set_data(&pattern(len));
        }
        let bytes = capnp::serialize::write_message_to_words(&builder);
        let (mut frames, _) = decode(&bytes, 1000, limits, &pool).expect("well formed");
        let taken = take_aggregate(frames.remove(0), &limits).expect("well formed");
        assert_eq!(taken[0].1.as_slice(), pattern(13));
        assert_eq!(taken[1].1.as_slice(), pattern(3000));
        assert!(taken
            .iter()
            .all(|(_, buffer)| buffer.as_ptr().as_ptr() as usize % ALIGNMENT == 0));
    }
}

/// A payload segment becomes the tensor's memory: same address. Listed twice, each gets its own
/// memory.
#[test]
fn payload_segments_are_not_copied() {
    let limits = Limits::default();
    let tensors = [
        filled(spec("a", DType::Float32, &[1000])),
        filled(spec("b", DType::Int8, &[3])),
    ];
    let bytes = aggregate_frame(&tensors, &limits).to_bytes();
    let receive = || {
        decode(&bytes, 999, limits, &pool())
            .expect("well formed")
            .0
            .remove(0)
    };

    let frame = receive();
    let segments = frame.segment_count() as u32;
    let address = frame.get_segment(segments - 2).expect("payload a").as_ptr();
    let taken = take_aggregate(frame, &limits).expect("well formed");
    assert_eq!(taken[0].1.as_ptr().as_ptr().cast_const(), address);

    let frame = receive();
    let payload = frame.get_segment(segments - 2).expect("payload a");
    let (whole, part) = (frame.locate(payload), frame.locate(&payload[8..24]));
    assert_eq!(frame.locate(&pattern(10)), None);
    let places = [whole, whole, part].map(|place| place.expect("of this frame"));
    let taken = frame.take_data(&places).expect("memory");
    assert_eq!(taken[0].as_slice(), tensors[0].1);
    assert_eq!(taken[1].as_slice(), tensors[0].1);
    assert_eq!(taken[2].as_slice(), &tensors[0].1[8..24]);
    assert_ne!(taken[0].as_ptr(), taken[1].as_ptr());
}

/// Beyond the 64 MiB that readers stop at by default, with raised limits.
#[test]
fn large_tensors_need_raised_limits() {
    let limits = Limits::with_frame_bytes(80 << 20);
    let tensor = filled(spec("big", DType::Float64, &[9 << 20]));
    let bytes = aggregate_frame(std::slice::from_ref(&tensor), &limits).to_bytes();
    assert!(bytes.len() > 72 << 20);
    let (mut frames, _) = decode(&bytes, usize::MAX, limits, &pool()).expect("within limits");
    let taken = take_aggregate(frames.remove(0), &limits).expect("well formed");
    assert!(taken[0].1.as_slice() == tensor.1);

    let error = decode(&bytes, usize::MAX, Limits::default(), &pool())
        .err()
        .expect("too large");
    assert!(
        error.to_string().starts_with("bytes of a frame: 754"),
        "{error}"
    );
}

/// Frames follow each other without a gap, however the stream is cut.
#[test]
fn frames_follow_each_other() {
    let limits = Limits::default();
    let tensors = [
        filled(spec("a", DType::UInt8, &[77])),
        filled(spec("b", DType::Bool, &[8])),
    ];
    let bytes = aggregate_frame(&tensors, &limits).to_bytes().repeat(3);
    for step in [1, 2, 3, 7, 8, 13, 64, 1000] {
        let (frames, end) = decode(&bytes, step, limits, &pool()).expect("well formed");
        assert!(frames.len() == 3 && end.is_none());
        for frame in frames {
            let taken = take_aggregate(frame, &limits).expect("well formed");
            assert_eq!(taken[0].1.as_slice(), tensors[0].1);
        }
    }
}

/// Data fields of any struct, here a snapshot's, can be payloads.
#[test]
fn any_data_field_can_be_attached() {
    let data = pattern(5000);
    let mut builder = capnp::message::Builder::new_default();
    let mut attachments = Attachments::new();
    let mut snapshot = builder.init_root::<snapshot::Builder<'_>>();
    snapshot.set_parameters_hash(&[1; 32]);
    let slot = data_slot(snapshot.reborrow_as_reader(), 1).expect("data is pointer 1");
    attachments.push(slot, data.as_slice());
    assert_eq!(data_slot(snapshot.reborrow_as_reader(), 3), None);
    let frame = Frame::new(&builder, attachments, &Limits::default()).expect("within limits");
    let bytes = frame.to_bytes();
    let reader =
        capnp::serialize::read_message(bytes.as_slice(), Default::default()).expect("standard");
    let snapshot = reader.get_root::<snapshot::Reader<'_>>().expect("a root");
    assert_eq!(snapshot.get_data().expect("there"), data);
    assert_eq!(snapshot.get_parameters_hash().expect("there"), [1; 32]);
}

/// Misuse by our own code is an error, not a broken frame.
#[test]
fn misplaced_attachments_are_refused() {
    let limits = Limits::default();
    let mut builder = capnp::message::Builder::new_default();
    let mut snapshot = builder.init_root::<snapshot::Builder<'_>>();
    snapshot.set_parameters_hash(&[1; 32]);
    let taken = data_slot(snapshot.reborrow_as_reader(), 0).expect("the hash");
    let free = data_slot(snapshot.reborrow_as_reader(), 1).expect("the data");
    let attach = |slots: &[DataSlot], limits: &Limits| {
        let mut attachments = Attachments::new();
        slots
            .iter()
            .for_each(|slot| attachments.push(*slot, [1_u8; 9]));
        Frame::new(&builder, attachments, limits)
            .map(|frame| frame.len())
            .map_err(|error| error.to_string())
    };
    assert!(attach(&[taken], &limits)
        .unwrap_err()
        .contains("holds data already"));
    assert!(attach(&[free, free], &limits)
        .unwrap_err()
        .contains("attachment 1: its slot holds data"));
    assert!(attach(&vec![free; 511], &limits)
        .unwrap_err()
        .starts_with("segments of a frame: 512"));
    assert!(attach(&[free], &Limits::with_frame_bytes(100))
        .unwrap_err()
        .starts_with("bytes of a frame"));
    let mut other = capnp::message::Builder::new_default();
    let foreign = data_slot(
        other
            .init_root::<snapshot::Builder<'_>>()
            .reborrow_as_reader(),
        1,
    );
    assert!(attach(&[foreign.expect("the data")], &limits)
        .unwrap_err()
        .contains("not in this message"));
    // Table of two segments, then root pointer, struct (4 data words, 3 pointers), hash, pad,
    // payload of 9 bytes.
    assert_eq!(
        attach(&[free], &limits),
        Ok(16 + (1 + 4 + 3 + 4 + 2 + 2) * 8)
    );
}
