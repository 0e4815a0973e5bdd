//! A received frame: a Cap'n Proto message over owned buffers, from which tensor memory is taken
//! without a copy.

use capnp::message::{Reader, ReaderSegments};

use crate::{AlignedBuffer, Limits, Pool, WireError};

/// Where the bytes of a `Data` field lie in a frame. Plain numbers: it outlives the reader that it
/// came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataLocation {
    segment: u32,
    offset: usize,
    len: usize,
}

/// A complete frame, each segment in its own buffer. Owned and `Send`.
///
/// Read it with [`into_reader`](Self::into_reader); note the [`locate`](Self::locate)d fields that
/// are to be kept; get the frame back with `Reader::into_segments` and take them with
/// [`take_data`](Self::take_data).
pub struct ReceivedFrame {
    segments: Vec<AlignedBuffer>,
    pool: Pool,
}

impl ReceivedFrame {
    pub(crate) fn new(segments: Vec<AlignedBuffer>, pool: Pool) -> Self {
        Self { segments, pool }
    }

    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Bytes of all segments.
    pub fn message_bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.len()).sum()
    }

    /// The Cap'n Proto reader, with the nesting and traversal limits of `limits`.
    pub fn into_reader(self, limits: &Limits) -> Reader<Self> {
        let options = limits.reader_options(self.message_bytes() / 8);
        Reader::new(self, options)
    }

    /// Where `data`, as got from a reader over this frame, lies. `None` if it is not from this
    /// frame.
    pub fn locate(&self, data: &[u8]) -> Option<DataLocation> {
        if data.is_empty() {
            return Some(DataLocation {
                segment: 0,
                offset: 0,
                len: 0,
            });
        }
        let address = data.as_ptr() as usize;
        self.segments.iter().zip(0..).find_map(|(segment, index)| {
            let offset = address.checked_sub(segment.as_ptr().as_ptr() as usize)?;
            let end = offset.checked_add(data.len())?;
            (end <= segment.len()).then_some(DataLocation {
                segment: index,
                offset,
                len: data.len(),
            })
        })
    }

    /// The bytes at `locations` as buffers, in the same order. A segment that holds nothing else
    /// becomes the buffer; bytes that share a segment, or that are listed twice, are copied.
    pub fn take_data(
        mut self,
        locations: &[DataLocation],
    ) -> Result<Vec<AlignedBuffer>, WireError> {
        let mut uses = vec![0_u32; self.segments.len()];
        for location in locations.iter().filter(|location| location.len > 0) {
            if let Some(count) = uses.get_mut(location.segment as usize) {
                *count += 1;
            }
        }
        let mut buffers = Vec::with_capacity(locations.len());
        for location in locations {
            let index = location.segment as usize;
            let Some(segment) = self.segments.get_mut(index).filter(|_| location.len > 0) else {
                buffers.push(self.pool.buffer(0)?);
                continue;
            };
            // A small field must not keep a large segment alive, so it is copied.
            let alone =
                uses[index] == 1 && location.offset == 0 && location.len >= segment.len() / 2;
            if alone {
                let mut taken = std::mem::replace(segment, self.pool.buffer(0)?);
                taken.truncate(location.len);
                buffers.push(taken);
            } else {
                let end = location.offset.saturating_add(location.len);
                let bytes = segment.get(location.offset..end).unwrap_or_default();
                buffers.push(self.pool.copy_of(bytes)?);
            }
        }
        Ok(buffers)
    }
}

impl ReaderSegments for ReceivedFrame {
    fn get_segment(&self, id: u32) -> Option<&[u8]> {
        self.segments.get(id as usize).map(AlignedBuffer::as_slice)
    }

    fn len(&self) -> usize {
        self.segments.len()
    }
}
