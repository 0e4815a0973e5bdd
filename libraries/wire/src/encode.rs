//! Writes frames without copying tensor bytes and without doing output.
//!
//! The message is built with its large `Data` fields left null. Each of these pointers then becomes
//! a double-far pointer to a landing pad at the end of segment 0, which points to a segment of its
//! own: the tensor's memory, which is sent in place. Any Cap'n Proto reader understands the result.

use std::io::IoSlice;

use capnp::message::{Allocator, Builder};
use capnp::traits::IntoInternalStructReader;

use crate::{Limits, WireError};

const WORD: usize = 8;
/// Words of a landing pad: a far pointer to the payload and the list pointer that describes it.
const PAD_WORDS: usize = 2;
const TAIL: [u8; WORD] = [0; WORD];
/// A list pointer counts its elements in 29 bits.
const MAX_DATA_BYTES: usize = (1 << 29) - 1;

/// A null `Data` pointer in a message that is being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSlot {
    address: usize,
}

/// The slot of the pointer field `pointer_index` (counted over pointer fields, in the order of
/// their `@` numbers) of a struct of a message. `owner` is the struct's builder as a reader
/// (`builder.reborrow_as_reader()`).
pub fn data_slot<'a>(
    owner: impl IntoInternalStructReader<'a>,
    pointer_index: usize,
) -> Option<DataSlot> {
    let pointers = capnp::raw::get_list_bytes(capnp::raw::get_struct_pointer_section(owner));
    let start = pointer_index.checked_mul(WORD)?;
    let word = pointers.get(start..start.checked_add(WORD)?)?;
    Some(DataSlot {
        address: word.as_ptr() as usize,
    })
}

/// The bytes for the slots of one message.
pub struct Attachments<P> {
    entries: Vec<(DataSlot, P)>,
}

impl<P: AsRef<[u8]>> Attachments<P> {
    pub fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Puts `payload` into `slot`. An empty one leaves the pointer null, which reads as no data.
    pub fn push(&mut self, slot: DataSlot, payload: P) {
        if !payload.as_ref().is_empty() {
            self.entries.push((slot, payload));
        }
    }
}

impl<P: AsRef<[u8]>> Default for Attachments<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// A frame ready to be sent: a small head (segment table, the message, landing pads), then the
/// payloads.
pub struct Frame<P> {
    head: Vec<u8>,
    payloads: Vec<P>,
}

impl<P: AsRef<[u8]>> Frame<P> {
    /// Copies the (small) message and keeps the (large) payloads. The builder may be dropped or
    /// reused afterwards.
    pub fn new<A: Allocator>(
        message: &Builder<A>,
        attachments: Attachments<P>,
        limits: &Limits,
    ) -> Result<Self, WireError> {
        let segments = message.get_segments_for_output();
        let (slots, payloads): (Vec<_>, Vec<_>) = attachments.entries.into_iter().unzip();
        let count = segments.len() + payloads.len();
        within(
            "segments of a frame",
            count as u64,
            u64::from(limits.segments),
        )?;
        let first = *segments
            .first()
            .ok_or(WireError::MalformedHeader("a message without a root"))?;

        // (count + 1) numbers of 4 bytes, padded to whole words.
        let table_bytes = (count + 2) / 2 * WORD;
        let mut head = Vec::with_capacity(table_bytes + message_bytes(&segments, payloads.len()));
        head.extend_from_slice(&to_u32("segments of a frame", count - 1)?.to_le_bytes());
        for (index, segment) in segments.iter().enumerate() {
            let pads = if index == 0 {
                payloads.len() * PAD_WORDS
            } else {
                0
            };
            let words = to_u32("words of a segment", segment.len() / WORD + pads)?;
            head.extend_from_slice(&words.to_le_bytes());
        }
        for payload in &payloads {
            let bytes = payload.as_ref().len();
            within(
                "bytes of one data field",
                bytes as u64,
                MAX_DATA_BYTES as u64,
            )?;
            let words = to_u32("words of a segment", bytes.div_ceil(WORD))?;
            head.extend_from_slice(&words.to_le_bytes());
        }
        head.resize(table_bytes, 0);

        let mut starts = Vec::with_capacity(segments.len());
        for (index, segment) in segments.iter().enumerate() {
            starts.push(head.len());
            head.extend_from_slice(segment);
            if index == 0 {
                for (payload, segment_id) in payloads.iter().zip(segments.len()..) {
                    head.extend_from_slice(&landing_pad(segment_id, payload.as_ref().len()));
                }
            }
        }
        for (index, slot) in slots.iter().enumerate() {
            let place = find(&segments, &starts, *slot).ok_or(WireError::Attachment {
                index,
                reason: "its slot is not in this message",
            })?;
            let word = &mut head[place..place + WORD];
            if word != TAIL {
                return Err(WireError::Attachment {
                    index,
                    reason: "its slot holds data already",
                });
            }
            let pad = first.len() / WORD + index * PAD_WORDS;
            within(
                "words before a landing pad",
                pad as u64,
                MAX_DATA_BYTES as u64,
            )?;
            word.copy_from_slice(&double_far_pointer(pad));
        }
        let frame = Self { head, payloads };
        within("bytes of a frame", frame.len() as u64, limits.frame_bytes)?;
        Ok(frame)
    }

    /// Bytes of the whole frame.
    pub fn len(&self) -> usize {
        let padded = |payload: &P| payload.as_ref().len().next_multiple_of(WORD);
        self.head.len() + self.payloads.iter().map(padded).sum::<usize>()
    }

    /// A frame is never empty: it has at least a segment table.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// The slices of the frame in sending order.
    pub fn cursor(&self) -> FrameCursor<'_> {
        FrameCursor::over(std::slice::from_ref(self))
    }

    fn push_slices<'f>(&'f self, slices: &mut Vec<IoSlice<'f>>) {
        slices.push(IoSlice::new(&self.head));
        for payload in &self.payloads {
            let payload = payload.as_ref();
            let padding = payload.len().next_multiple_of(WORD) - payload.len();
            slices.push(IoSlice::new(payload));
            if padding > 0 {
                slices.push(IoSlice::new(&TAIL[..padding]));
            }
        }
    }

    /// The whole frame in one piece, for tests and files.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        for slice in self.cursor().remaining() {
            bytes.extend_from_slice(slice);
        }
        bytes
    }
}

/// How far a frame, or several, have been sent.
pub struct FrameCursor<'f> {
    slices: Vec<IoSlice<'f>>,
    next: usize,
}

impl<'f> FrameCursor<'f> {
    /// The slices of several frames in sending order: small frames leave in one system call.
    pub fn over<P: AsRef<[u8]>>(frames: &'f [Frame<P>]) -> Self {
        let payloads = frames
            .iter()
            .map(|frame| frame.payloads.len())
            .sum::<usize>();
        let mut slices = Vec::with_capacity(frames.len() + 2 * payloads);
        for frame in frames {
            frame.push_slices(&mut slices);
        }
        Self { slices, next: 0 }
    }

    /// What remains, for a vectored write; empty at the end of the frame.
    pub fn remaining(&self) -> &[IoSlice<'f>] {
        &self.slices[self.next..]
    }

    pub fn is_done(&self) -> bool {
        self.next == self.slices.len()
    }

    /// Counts `bytes` as sent.
    pub fn advance(&mut self, mut bytes: usize) {
        while let Some(slice) = self.slices.get_mut(self.next) {
            if bytes < slice.len() {
                slice.advance(bytes);
                return;
            }
            bytes -= slice.len();
            self.next += 1;
        }
    }
}

fn message_bytes(segments: &[&[u8]], payloads: usize) -> usize {
    segments.iter().map(|segment| segment.len()).sum::<usize>() + payloads * PAD_WORDS * WORD
}

/// The place of `slot` in the head, given where each segment was copied to.
fn find(segments: &[&[u8]], starts: &[usize], slot: DataSlot) -> Option<usize> {
    segments.iter().zip(starts).find_map(|(segment, start)| {
        let offset = slot.address.checked_sub(segment.as_ptr() as usize)?;
        (offset.checked_add(WORD)? <= segment.len()).then_some(start + offset)
    })
}

/// A pointer to the landing pad at word `pad` of segment 0: kind 2 (far), bit 2 (the pad has two
/// words), offset from bit 3.
fn double_far_pointer(pad: usize) -> [u8; WORD] {
    (((pad as u64) << 3) | 0b110).to_le_bytes()
}

/// A far pointer to word 0 of `segment`, then a list pointer: kind 1, element size 2 (bytes) from
/// bit 32, count from bit 35.
fn landing_pad(segment: usize, bytes: usize) -> [u8; PAD_WORDS * WORD] {
    let far = ((segment as u64) << 32) | 0b010;
    let list = ((bytes as u64) << 35) | (2 << 32) | 1;
    let mut pad = [0; PAD_WORDS * WORD];
    pad[..WORD].copy_from_slice(&far.to_le_bytes());
    pad[WORD..].copy_from_slice(&list.to_le_bytes());
    pad
}

fn within(what: &'static str, asked: u64, limit: u64) -> Result<(), WireError> {
    if asked > limit {
        return Err(WireError::LimitExceeded { what, asked, limit });
    }
    Ok(())
}

fn to_u32(what: &'static str, value: usize) -> Result<u32, WireError> {
    u32::try_from(value).map_err(|_| WireError::LimitExceeded {
        what,
        asked: value as u64,
        limit: u64::from(u32::MAX),
    })
}
