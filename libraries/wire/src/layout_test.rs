use super::*;

fn layout(shapes: &[&[u64]]) -> FlatLayout {
    let spec = |(index, shape): (usize, &&[u64])| TensorSpec {
        name: format!("p{index}"),
        dtype: DType::BFloat16,
        shape: shape.to_vec(),
    };
    FlatLayout::new(shapes.iter().enumerate().map(spec)).expect("small")
}

fn piece_data<'a>(layout: &'a FlatLayout, piece: &Piece, flat: &'a [u8]) -> TensorData<'a> {
    let spec = &layout.specs()[piece.tensor];
    TensorData {
        name: &spec.name,
        dtype: spec.dtype,
        shape: spec.shape.clone(),
        byte_offset: piece.byte_offset,
        data: &flat[piece.flat.clone()],
        total_bytes: spec.byte_len().expect("small"),
    }
}

/// Any cut reassembles to the same vector and respects the limits of a frame.
#[test]
fn pieces_are_reassembled() {
    let pool = Pool::new(usize::MAX, 0);
    for shapes in [
        &[&[3_u64, 5] as &[u64], &[0], &[], &[7], &[2, 0, 4]] as &[&[u64]],
        &[&[1000]],
        &[],
        &[&[0]],
    ] {
        let layout = layout(shapes);
        let flat: Vec<u8> = (0..layout.total_bytes()).map(|byte| byte as u8).collect();
        for max_bytes in [0, 4, 7, 12, 100, 4 << 20] {
            let frames = layout.frames(max_bytes);
            let mut assembler = layout.assembler(&pool).expect("small");
            for frame in &frames {
                let bytes: usize = frame.iter().map(|piece| piece.flat.len()).sum();
                assert!(bytes <= max_bytes.max(4) && frame.len() <= MAX_PIECES);
                let cut = max_bytes.max(4) / 4 * 4;
                let ends = |piece: &Piece| (piece.flat.start / cut, (piece.flat.end - 1) / cut);
                assert!(frame.iter().all(|piece| ends(piece).0 == ends(piece).1));
                for piece in frame {
                    assembler
                        .push(&piece_data(&layout, piece, &flat))
                        .expect("next piece");
                }
            }
            assert_eq!(assembler.finish().expect("whole").as_slice(), flat);
        }
    }
}

/// Many tiny tensors share frames, but no more than the segments of a frame allow.
#[test]
fn tiny_tensors_share_frames() {
    let layout = layout(&vec![&[1_u64] as &[u64]; MAX_PIECES * 2 + 1]);
    let sizes: Vec<usize> = layout.frames(4 << 20).iter().map(Vec::len).collect();
    assert_eq!(sizes, [MAX_PIECES, MAX_PIECES, 1]);
}

/// A piece out of place is refused with its name and what was expected.
#[test]
fn wrong_pieces_are_named() {
    let pool = Pool::new(usize::MAX, 0);
    let layout = layout(&[&[4], &[2]]);
    let flat = [1; 24];
    let frames = layout.frames(8);
    let good: Vec<_> = frames
        .iter()
        .flatten()
        .map(|piece| piece_data(&layout, piece, &flat))
        .collect();
    let refuse = |pieces: &[TensorData<'_>]| {
        let mut assembler = layout.assembler(&pool).expect("small");
        let pushed = pieces.iter().try_for_each(|piece| assembler.push(piece));
        let result = pushed.and_then(|()| assembler.finish().map(drop));
        result.expect_err("must be refused").to_string()
    };
    assert!(refuse(&[good[1].clone()]).contains("continues at byte 8, expected 0"));
    assert!(refuse(&[good[0].clone(), good[0].clone()]).contains("continues at byte 0, expected 8"));
    assert!(
        refuse(&[good[0].clone(), good[2].clone()]).contains("`p1`: comes where `p0` is expected")
    );
    assert!(refuse(&good[..2]).contains("8 bytes from here on are missing"));
    let mut other = good[0].clone();
    other.shape = vec![2, 2];
    assert!(refuse(&[other]).contains("[2, 2], [4] was agreed"));
    let mut other = good[0].clone();
    other.dtype = DType::Int32;
    assert!(refuse(&[other]).contains("dtype int32"));
    let after = [good.as_slice(), &good[2..]].concat();
    assert!(refuse(&after).contains("after the last tensor"));
}
