//! No input makes the wire panic, allocate for what a header merely announces, or read outside of a
//! frame.
#![expect(
    clippy::expect_used,
    reason = "a test fails where something unexpected happens"
)]

mod common;

use common::{aggregate_frame, decode, pattern, pool, take_aggregate};
use pangea_wire::schema::message;
use pangea_wire::*;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;

fn sample_frame() -> Vec<u8> {
    let tensors: Vec<_> = [
        (DType::Float32, 10_u64),
        (DType::Int64, 3),
        (DType::UInt8, 5),
    ]
    .into_iter()
    .map(|(dtype, size)| {
        let spec = TensorSpec::new("weight", dtype, vec![size]).expect("valid");
        let bytes = pattern((size * dtype.item_bytes()) as usize);
        (spec, bytes)
    })
    .collect();
    aggregate_frame(&tensors, &Limits::default()).to_bytes()
}

/// A stream that ends inside a frame is an error; between frames it is a clean end.
#[test]
fn a_frame_cut_at_every_byte() {
    let bytes = sample_frame();
    for cut in 0..=bytes.len() {
        for step in [1, usize::MAX] {
            let pool = pool();
            let (frames, end) =
                decode(&bytes[..cut], step, Limits::default(), &pool).expect("well formed so far");
            assert_eq!(frames.len(), usize::from(cut == bytes.len()));
            match end {
                None => assert!(cut == 0 || cut == bytes.len()),
                Some(WireError::Truncated { received, expected }) => {
                    assert!(
                        received == cut as u64
                            && received < expected
                            && expected <= bytes.len() as u64
                    );
                }
                Some(error) => panic!("cut at {cut}: {error}"),
            }
        }
    }
}

fn header(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// Headers that announce too much are refused before any memory is allocated.
#[test]
fn hostile_headers_cost_nothing() {
    let cases: &[(&[u32], &str)] = &[
        (
            &[511, 1],
            "segments of a frame: 512 asked for, the limit is 511",
        ),
        (&[u32::MAX, u32::MAX], "segments of a frame: 4294967296"),
        (
            &[0, u32::MAX],
            "bytes of a frame: 34359738368 asked for, the limit is 16777216",
        ),
        (&[0, 2 << 20], "bytes of a frame: 16777224"),
        (&[2, 1, u32::MAX, u32::MAX], "bytes of a frame: 68719476744"),
        (&[0, 0], "segment 0 is empty"),
    ];
    for (numbers, expected) in cases {
        let pool = pool();
        let error = decode(&header(numbers), usize::MAX, Limits::default(), &pool).err();
        let error = error.expect("must be refused").to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!((pool.live_bytes(), pool.idle_bytes()), (0, 0));
    }
    // The largest header that is allowed: nothing is charged until bytes arrive.
    let pool = pool();
    let mut decoder = FrameDecoder::new(pool.clone(), Limits::default());
    let bytes = header(&[0, (2 << 20) - 1]);
    decoder.unfilled().expect("open").copy_from_slice(&bytes);
    assert!(decoder.advance(bytes.len()).expect("allowed").is_none());
    assert_eq!(pool.live_bytes(), 0);
}

/// After an error the decoder stays closed: it cannot know where the next frame starts.
#[test]
fn a_broken_stream_stays_broken() {
    let mut decoder = FrameDecoder::new(pool(), Limits::default());
    decoder.unfilled().expect("open").fill(0xff);
    assert!(decoder.advance(8).is_err());
    assert!(decoder.unfilled().is_err() && decoder.advance(8).is_err());
    assert!(decoder.end_of_stream().is_some());
}

/// When the budget over all connections is spent, a frame fails; afterwards the budget is free
/// again.
#[test]
fn the_budget_bounds_all_connections() {
    let pool = Pool::new(1 << 20, 0);
    let mut stream = header(&[0, (4 << 20) / 8]);
    stream.resize(4 << 20, 1);
    let error = decode(&stream, 5000, Limits::default(), &pool)
        .err()
        .expect("over budget");
    assert!(
        error.to_string().contains("over all connections"),
        "{error}"
    );
    assert_eq!(pool.live_bytes(), 0);
}

/// Tensors that break the schema's rules are refused by name.
#[test]
fn invalid_tensors_are_named() {
    let read = |shape: &[u64], offset: u64, len: usize| {
        let mut builder = capnp::message::Builder::new_default();
        let mut tensor = builder.init_root::<pangea_wire::schema::tensor::Builder<'_>>();
        tensor.set_name("w");
        tensor.set_dtype(pangea_wire::schema::DataType::Float32);
        tensor.set_shape(shape).expect("short");
        tensor.set_byte_offset(offset);
        tensor.set_data(&pattern(len));
        let reader = tensor.into_reader();
        (
            TensorData::read(reader)
                .map(drop)
                .map_err(|error| error.to_string()),
            TensorData::read_whole(reader)
                .map(drop)
                .map_err(|error| error.to_string()),
        )
    };
    assert_eq!(read(&[2, 3], 0, 24), (Ok(()), Ok(())));
    assert_eq!(read(&[2, 3], 8, 16).0, Ok(()));
    assert_eq!(
        read(&[2, 3], 8, 16).1,
        Err("tensor `w`: has 16 bytes, its shape and dtype need 24".into())
    );
    assert!(read(&[2, 3], 8, 20)
        .0
        .unwrap_err()
        .contains("20 bytes at byte 8 reach beyond its 24 bytes"));
    assert!(read(&[2, 3], u64::MAX - 3, 4)
        .0
        .unwrap_err()
        .contains("reach beyond"));
    assert!(read(&[2, 3], 2, 4)
        .0
        .unwrap_err()
        .contains("not whole elements of 4"));
    assert!(read(&[2, 3], 0, 3)
        .0
        .unwrap_err()
        .contains("not whole elements of 4"));
    assert!(read(&[1; 9], 0, 4)
        .0
        .unwrap_err()
        .contains("has 9 dimensions, the limit is 8"));
    assert!(read(&[1 << 40, 1 << 40], 0, 4)
        .0
        .unwrap_err()
        .contains("does not fit 63 bits"));
    assert!(read(&[1 << 61], 0, 4)
        .0
        .unwrap_err()
        .contains("does not fit 63 bits"));
    assert_eq!(read(&[u64::MAX, u64::MAX, 0], 0, 0), (Ok(()), Ok(())));
}

/// The announced type must match the union.
#[test]
fn a_lying_envelope_is_refused() {
    let mut builder = capnp::message::Builder::new_default();
    let mut root = builder.init_root::<message::Builder<'_>>();
    root.set_type(pangea_wire::schema::MessageType::Leave);
    root.init_run_finished();
    let root = builder
        .get_root_as_reader::<message::Reader<'_>>()
        .expect("built");
    let error = message_type(root).expect_err("must be refused").to_string();
    assert!(
        error.contains("type leave does not agree with the union member runFinished"),
        "{error}"
    );
}

/// Frames with random bytes changed, removed or inserted: always frames or an error, never a panic
/// or a leak.
#[test]
fn random_mutations_never_panic() {
    let original = sample_frame();
    let limits = Limits::default();
    let pool = Pool::new(64 << 20, 1 << 20);
    let (mut refused, mut read) = (0, 0);
    for seed in 0..30_000 {
        let mut random = ChaCha20Rng::seed_from_u64(seed);
        let mut bytes = original.clone();
        for _ in 0..1 + random.next_u32() % 4 {
            let at = random.next_u32() as usize % bytes.len();
            match random.next_u32() % 6 {
                0 => bytes.truncate(at.max(1)),
                1 => bytes.insert(at, random.next_u32() as u8),
                2 => bytes[at] ^= 1 << (random.next_u32() % 8),
                // The interesting places are the header and the pointers, at the front.
                3 => bytes[at % 64] = random.next_u32() as u8,
                4 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.next_u32() as usize % 5],
                _ => bytes[at] = random.next_u32() as u8,
            }
        }
        let step = 1 + random.next_u32() as usize % 100;
        let Ok((frames, _)) = decode(&bytes, step, limits, &pool) else {
            refused += 1;
            continue;
        };
        for frame in frames {
            match take_aggregate(frame, &limits) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
        assert_eq!(pool.live_bytes(), 0, "seed {seed} leaks");
    }
    assert!(
        refused > 1000 && read > 1000,
        "the mutations must reach both sides: {refused}, {read}"
    );
}
