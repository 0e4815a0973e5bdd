use pangea_content_hash::content_hash;

use super::*;

const BYTES: usize = 3 * PART_BYTES + 8;

fn gradients(seed: u8) -> Vec<u8> {
    (0..BYTES).map(|i| (i as u8).wrapping_mul(seed)).collect()
}

/// Slots that the orchestrator has accepted.
fn accepted(count: usize) -> Slots {
    let mut slots = Slots::default();
    let mut announced = Vec::new();
    let offered = slots.offer(count, BYTES, |id, region| {
        announced.push((id, region.len()));
        Ok(())
    });
    offered.expect("memory");
    let expected: Vec<_> = (0..count as u32).map(|id| (id, BYTES)).collect();
    assert_eq!(announced, expected);
    slots.release(0..count as u32).expect("all were offered");
    slots
}

fn content(slots: &Slots, placed: &Placed) -> Vec<u8> {
    let memory = &slots.slots[placed.region as usize].memory;
    // SAFETY: the slot has this many bytes, and nobody writes to it during this test.
    unsafe { std::slice::from_raw_parts(memory.start().as_ptr(), memory.len()).to_vec() }
}

#[test]
fn a_slot_is_not_used_before_the_orchestrator_has_released_it() {
    let mut slots = Slots::default();
    slots.offer(1, BYTES, |_, _| Ok(())).expect("memory");
    assert!(slots.place(&gradients(3), None).is_none() && slots.lend().is_none());
    slots.release([0].into_iter()).expect("it was offered");
    let placed = slots.place(&gradients(3), None).expect("free");
    assert_eq!((placed.region, placed.generation), (0, 1));
    assert!(slots.place(&gradients(5), None).is_none());
    slots.release([0].into_iter()).expect("it was submitted");
    assert_eq!(
        slots.place(&gradients(5), None).expect("free").generation,
        2
    );
}

#[test]
fn gradients_are_copied_and_hashed() {
    let mut slots = accepted(1);
    let bytes = gradients(7);
    let placed = slots.place(&bytes, None).expect("free");
    assert_eq!(content(&slots, &placed), bytes);
    assert_eq!(placed.digest, content_hash(Method::Xxh3Tree, [&bytes[..]]));
}

#[test]
fn gradients_in_a_lent_slot_stay_where_they_are() {
    let mut slots = accepted(2);
    let (first, second) = (slots.lend().expect("free"), slots.lend().expect("free"));
    assert!(slots.lend().is_none());
    let bytes = gradients(9);
    // SAFETY: the slot has this many bytes and is lent to this test alone.
    let filled = unsafe {
        let start = second.start().as_ptr();
        ptr::copy_nonoverlapping(bytes.as_ptr(), start, BYTES);
        std::slice::from_raw_parts(start, BYTES)
    };
    let placed = slots.place(filled, None).expect("lent");
    assert_eq!((placed.region, placed.generation), (1, 1));
    assert_eq!(placed.digest, content_hash(Method::Xxh3Tree, [&bytes[..]]));
    drop(first);
    assert!(
        slots.lend().is_some(),
        "what was not submitted is free again"
    );
}

#[test]
fn the_hash_of_gradients_in_a_slot_is_taken_over_and_that_of_others_is_not() {
    let mut slots = accepted(2);
    let lent = slots.lend().expect("free");
    let bytes = gradients(11);
    // SAFETY: the slot has this many bytes and is lent to this test alone.
    let filled = unsafe {
        ptr::copy_nonoverlapping(bytes.as_ptr(), lent.start().as_ptr(), BYTES);
        std::slice::from_raw_parts(lent.start().as_ptr(), BYTES)
    };
    let known = [7; 32];
    assert_eq!(
        slots.place(filled, Some(known)).expect("lent").digest,
        known
    );
    let copied = slots.place(&bytes, Some(known)).expect("free");
    assert_eq!(copied.digest, content_hash(Method::Xxh3Tree, [&bytes[..]]));
}

#[test]
fn a_slot_that_somebody_still_looks_at_is_not_written() {
    let mut slots = accepted(1);
    let lent = slots.lend().expect("free");
    // SAFETY: the slot has this many bytes.
    let view = unsafe { std::slice::from_raw_parts(lent.start().as_ptr(), BYTES) };
    slots.place(view, None).expect("lent");
    slots.release([0].into_iter()).expect("it was submitted");
    assert!(slots.place(&gradients(3), None).is_none());
    drop(lent);
    assert!(slots.place(&gradients(3), None).is_some());
}

#[test]
fn releasing_what_is_not_in_use_is_refused() {
    let mut slots = accepted(1);
    assert!(slots.release([0].into_iter()).is_err());
    assert!(slots.release([1].into_iter()).is_err());
}

#[test]
fn other_sizes_travel_in_frames() {
    let mut slots = accepted(1);
    assert!(slots.place(&[0; 8], None).is_none() && slots.place(&[], None).is_none());
}
