use super::{add, fold, fold_seen, Operand, BLOCK, STRETCH};
use crate::float_mode;

/// Awkward numbers: of all magnitudes, denormal ones, zeros of both signs.
fn numbers(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match state >> 28 {
                0 => -0.0,
                1 => 0.0,
                2 => f32::from_bits(state & 0x007f_ffff),
                _ => f32::from_bits((state & 0xbfff_ffff) ^ 0x2000_0000),
            }
        })
        .collect()
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

fn folded(operands: &[Option<&[f32]>], len: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; len];
    let operands: Vec<Operand> = operands
        .iter()
        .map(|operand| operand.map(<[f32]>::as_ptr))
        .collect();
    // SAFETY: every operand has `len` elements, and `out` is memory of its own.
    unsafe { fold(&operands, out.as_mut_ptr(), len) };
    out
}

#[test]
fn the_order_is_that_of_the_tree_for_every_length_and_number_of_operands() {
    for len in [0, 1, 7, 8, 33, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17] {
        for count in 1..=6 {
            let operands: Vec<_> = (0..count).map(|seed| numbers(seed, len)).collect();
            let expected: Vec<f32> = (0..len)
                .map(|index| {
                    let mut sum = operands[operands.len() - 1][index];
                    for operand in operands.iter().rev().skip(1) {
                        sum += operand[index];
                    }
                    sum
                })
                .collect();
            let views: Vec<_> = operands.iter().map(|operand| Some(&operand[..])).collect();
            assert_eq!(
                bits(&folded(&views, len)),
                bits(&expected),
                "{count} of {len}"
            );
        }
    }
}

#[test]
fn zeros_are_added_and_a_single_operand_is_copied() {
    let values = [-0.0, 0.0, 1.5, f32::from_bits(1)];
    let sum = [0.0, 0.0, 1.5, f32::from_bits(1)];
    assert_eq!(bits(&folded(&[Some(&values)], 4)), bits(&values));
    assert_eq!(bits(&folded(&[Some(&values), None], 4)), bits(&sum));
    assert_eq!(bits(&folded(&[None, Some(&values)], 4)), bits(&sum));
    assert_eq!(bits(&folded(&[None, None], 2)), bits(&[0.0, 0.0]));
    assert_eq!(bits(&folded(&[None], 1)), bits(&[0.0]));
    assert_eq!(
        bits(&folded(&[Some(&[-0.0]), Some(&[-0.0])], 1)),
        bits(&[-0.0])
    );
}

#[test]
fn the_sum_may_be_written_over_any_of_its_operands() {
    let len = BLOCK + 5;
    for over in 0..3 {
        let mut operands: Vec<_> = (0..3).map(|seed| numbers(seed, len)).collect();
        let views: Vec<_> = operands.iter().map(|operand| Some(&operand[..])).collect();
        let expected = folded(&views, len);
        let out = operands[over].as_mut_ptr();
        let pointers: Vec<Operand> = (0..3)
            .map(|index| {
                Some(if index == over {
                    out.cast_const()
                } else {
                    operands[index].as_ptr()
                })
            })
            .collect();
        // SAFETY: every operand has `len` elements; one of them is `out`, the others are apart.
        unsafe { fold(&pointers, out, len) };
        assert_eq!(bits(&operands[over]), bits(&expected));
    }
}

#[test]
fn a_thread_that_flushes_denormal_numbers_adds_them_like_any_other() {
    let left = vec![f32::from_bits(3); 100];
    let right = vec![f32::from_bits(0x007f_ffff); 100];
    let expected = folded(&[Some(&left), Some(&right)], 100);
    assert_eq!(expected[0].to_bits(), 0x0080_0002);
    assert!(!float_mode::flushes_denormals());
    let mode = float_mode::flushing();
    let sum = folded(&[Some(&left), Some(&right)], 100);
    let denormal = folded(&[Some(&left), None], 100);
    let still = float_mode::flushes_denormals();
    drop(mode);
    assert!(still, "the thread's own mode is restored");
    assert!(!float_mode::flushes_denormals());
    assert_eq!(bits(&sum), bits(&expected));
    assert_eq!(bits(&denormal), bits(&left));
}

#[test]
fn what_is_seen_is_the_sum_in_order() {
    let len = 3 * STRETCH + 77;
    let (left, mut right) = (numbers(1, len), numbers(2, len));
    let expected = folded(&[Some(&left), Some(&right), None], len);
    let mut seen = Vec::new();
    let out = right.as_mut_ptr();
    let operands = [Some(left.as_ptr()), Some(out.cast_const()), None];
    // SAFETY: both have `len` elements; one of them is `out`.
    unsafe { fold_seen(&operands, out, len, |sum| seen.extend_from_slice(sum)) };
    assert_eq!(bits(&seen), bits(&expected));
    assert_eq!(bits(&right), bits(&expected));
}

#[test]
fn additions_for_older_processors_give_the_same_bits() {
    let (left, right) = (numbers(1, 1000), numbers(2, 1000));
    let expected = folded(&[Some(&left), Some(&right)], 1000);
    let mut sum = vec![f32::NAN; 1000];
    // SAFETY: all three have 1000 elements, and do not overlap.
    unsafe {
        add(
            Some(right.as_ptr()),
            &[Some(left.as_ptr())],
            sum.as_mut_ptr(),
            1000,
        );
    };
    assert_eq!(bits(&sum), bits(&expected));
}
