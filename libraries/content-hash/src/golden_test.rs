//! What all languages must get.

use std::fmt::Write;

use serde_json::Value;

use crate::{content_hash, leaf_of, leaves_of, ContentHasher, LeafHasher, Method, BLOCK_BYTES};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of a tensor; README.md has the formula.
fn content(start: u64, size: u64) -> Vec<u8> {
    (start..start + size)
        .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

fn cases() -> Vec<(Vec<Vec<u8>>, Value)> {
    let text = include_str!("../testdata/vectors.json");
    let Ok(Value::Array(cases)) = serde_json::from_str(text) else {
        panic!("vectors.json is not a list");
    };
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    let number = |value: &Value| value.as_u64().unwrap();
    let tensors = |case: &Value| {
        let tensors = case["tensors"].as_array().unwrap().iter();
        tensors
            .map(|t| content(number(&t[0]), number(&t[1])))
            .collect()
    };
    cases
        .into_iter()
        .map(|case| (tensors(&case), case))
        .collect()
}

#[test]
fn hashes_are_those_of_every_language() {
    for (tensors, case) in cases() {
        for method in Method::ALL {
            let name = method.name();
            let hash = content_hash(method, tensors.iter().map(Vec::as_slice));
            assert_eq!(hex(&hash), case[name], "{name} of {}", case["tensors"]);
        }
        for (tensor, leaves) in tensors.iter().zip(case["leaves"].as_array().unwrap()) {
            let got: Vec<String> = leaves_of(tensor).map(|leaf| hex(&leaf)).collect();
            assert_eq!(&Value::from(got), leaves, "leaves in {}", case["tensors"]);
        }
    }
}

#[test]
fn methods_are_known_by_name() {
    for method in Method::ALL {
        assert_eq!(Method::from_name(method.name()), Some(method));
    }
    assert_eq!(Method::from_name("SHA256"), None);
}

#[test]
fn a_tensor_in_parts_has_the_hash_of_the_whole() {
    for (tensors, case) in cases() {
        let [tensor] = tensors.as_slice() else {
            continue;
        };
        for part in [
            3_000,
            65_536,
            1_000_003,
            BLOCK_BYTES,
            BLOCK_BYTES + 1,
            3 * BLOCK_BYTES,
        ] {
            for method in Method::ALL {
                let name = method.name();
                let mut hasher = ContentHasher::new(method, tensor.len() as u64);
                tensor.chunks(part).for_each(|part| hasher.update(part));
                assert_eq!(
                    hex(&hasher.finish()),
                    case[name],
                    "{name} of {} in parts of {part}",
                    case["tensors"]
                );
            }
        }
    }
}

#[test]
fn parts_of_a_block_give_its_leaf() {
    for size in [0, 1, 240, 241, 1088, 1089, 70_000, BLOCK_BYTES] {
        let block = content(3, size as u64);
        for part in [1, 63, 4_096, 1_000_003] {
            let mut hasher = LeafHasher::default();
            block.chunks(part).for_each(|part| hasher.write(part));
            assert_eq!(
                hasher.leaf(),
                leaf_of(&block),
                "{size} bytes in parts of {part}"
            );
        }
    }
}
