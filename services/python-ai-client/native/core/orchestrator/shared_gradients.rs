//! An aggregate that lies in a region of the orchestrator.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use pangea_shared_memory::ReadOnlyRegion;
use pangea_wire::schema::place;
use pangea_wire::WireError;

/// Gradients in memory of the orchestrator, which leaves them there until the next request for
/// work.
#[derive(Clone)]
pub struct SharedGradients {
    region: Arc<ReadOnlyRegion>,
    range: Range<usize>,
}

impl SharedGradients {
    /// The `expected` bytes at a place in a region.
    pub(super) fn at(
        region: Arc<ReadOnlyRegion>,
        place: place::Reader<'_>,
        expected: usize,
    ) -> Result<Self, WireError> {
        let malformed = |reason| WireError::Field {
            field: "aggregate.place",
            reason,
        };
        if place.get_bytes() != expected as u64 {
            return Err(malformed(format!(
                "has {} bytes, the parameters need {expected}",
                place.get_bytes()
            )));
        }
        let start = usize::try_from(place.get_offset()).unwrap_or(usize::MAX);
        match start.checked_add(expected) {
            Some(end) if end <= region.len() && start % align_of::<f32>() == 0 => Ok(Self {
                region,
                range: start..end,
            }),
            _ => Err(malformed(format!(
                "{expected} bytes from byte {start} on are not in a region of {}",
                region.len()
            ))),
        }
    }

    /// The first byte, aligned for float32, to be read only; valid for [`len`](Self::len) bytes for
    /// as long as this lives.
    pub fn start(&self) -> NonNull<u8> {
        // SAFETY: the range is within the region.
        unsafe { self.region.start().add(self.range.start) }
    }

    pub fn len(&self) -> usize {
        self.range.len()
    }

    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}
