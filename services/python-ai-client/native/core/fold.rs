//! Adds gradient sums in the order of the tree, in one pass over their memory.
//!
//! Responsible for: the order and the kind of the additions, and the floating-point mode in which
//! they are made. Not responsible for: who owns the memory, which sums form a node.
//!
//! The additions are plain: the compiler may make vector instructions of them, but neither reorders
//! nor fuses them, so the bits are those of any other adder of the same tree.

use crate::float_mode::StandardMode;

/// Elements that are added at a time: their sum stays in registers. All operands are read side by
/// side, which keeps more of the memory's requests in flight than one after the other would.
const BLOCK: usize = 64;

/// Elements after which the sum is looked at: 64 KiB, which the second-level cache still has.
const STRETCH: usize = 16 << 10;

/// One operand of one part: where its elements are, or `None` if all of them are +0.0.
pub type Operand = Option<*const f32>;

/// Writes `operands[0] + (operands[1] + (... + operands[last]))`, element by element, to `out`.
///
/// Zeros are added like any other operand: that makes +0.0 of -0.0. A single operand is copied. A
/// mode in which the thread flushes denormal numbers has no effect on the sum.
///
/// # Safety
/// Until this returns, `out` is valid for writes of `len` elements and every operand for reads of
/// them, and nobody else writes to either. An operand is `out` itself, or does not overlap it.
pub unsafe fn fold(operands: &[Operand], out: *mut f32, len: usize) {
    let Some((last, others)) = operands.split_last() else {
        return;
    };
    let _mode = StandardMode::enter();
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX; the rest is what the caller vouches for.
        unsafe { add_avx(*last, others, out, len) };
        return;
    }
    // SAFETY: the caller vouches for it.
    unsafe { add(*last, others, out, len) };
}

/// Like [`fold`], and hands each stretch of the sum to `seen` while it is still in the cache.
///
/// # Safety
/// As for [`fold`].
pub unsafe fn fold_seen(
    operands: &[Operand],
    out: *mut f32,
    len: usize,
    mut seen: impl FnMut(&[f32]),
) {
    let mut stretch = operands.to_vec();
    for start in (0..len).step_by(STRETCH) {
        let count = STRETCH.min(len - start);
        for (to, operand) in stretch.iter_mut().zip(operands) {
            // SAFETY: `start < len`, and the operand has `len` elements.
            *to = operand.map(|first| unsafe { first.add(start) });
        }
        // SAFETY: `start + count <= len`. The slice lives for a call, in which nobody writes to it.
        unsafe {
            fold(&stretch, out.add(start), count);
            seen(std::slice::from_raw_parts(out.add(start), count));
        }
    }
}

/// The additions in wider registers, to the same bits. AVX has no fused operations.
///
/// # Safety
/// As for `fold`; and the processor has AVX.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn add_avx(last: Operand, others: &[Operand], out: *mut f32, len: usize) {
    // SAFETY: the caller vouches for it.
    unsafe { add(last, others, out, len) };
}

/// # Safety
/// As for `fold`.
#[inline(always)]
unsafe fn add(last: Operand, others: &[Operand], out: *mut f32, len: usize) {
    let whole = len - len % BLOCK;
    for start in (0..whole).step_by(BLOCK) {
        // SAFETY: `start + BLOCK <= len`.
        unsafe { add_block::<BLOCK>(last, others, out, start) };
    }
    for start in whole..len {
        // SAFETY: `start < len`.
        unsafe { add_block::<1>(last, others, out, start) };
    }
}

/// Adds up `N` elements. They are written after all were read, so that `out` may be an operand.
///
/// # Safety
/// As for `fold`, with `start + N` elements.
#[inline(always)]
unsafe fn add_block<const N: usize>(
    last: Operand,
    others: &[Operand],
    out: *mut f32,
    start: usize,
) {
    let elements = |operand: Operand| match operand {
        // SAFETY: the caller vouches for `start + N` elements of each operand.
        Some(first) => unsafe { first.add(start).cast::<[f32; N]>().read() },
        None => [0.0; N],
    };
    let mut sum = elements(last);
    for operand in others.iter().rev() {
        for (sum, element) in sum.iter_mut().zip(elements(*operand)) {
            *sum += element;
        }
    }
    // SAFETY: the caller vouches for `start + N` elements of `out`.
    unsafe { out.add(start).cast::<[f32; N]>().write(sum) };
}

#[cfg(test)]
#[path = "fold_test.rs"]
mod tests;
