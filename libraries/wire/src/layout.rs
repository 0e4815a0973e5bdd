//! One flat float32 vector over all parameters: cut into pieces for frames of bounded size, and
//! reassembled.

use std::ops::Range;

use crate::{AlignedBuffer, DType, Pool, TensorData, TensorSpec, WireError};

/// Limit of the pieces in one frame. Each takes a segment, and a frame has at most 511.
pub const MAX_PIECES: usize = 256;

/// What a frame carries of a flat vector: 1 MiB is in the cache of a core when it is checked or
/// added, and the other side can begin with it early.
pub const FRAME_BYTES: usize = 1 << 20;

/// Part of one tensor, as one frame carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index of the tensor in the layout.
    pub tensor: usize,
    /// Where the piece starts in the tensor, in bytes.
    pub byte_offset: u64,
    /// Where its bytes are in the flat vector.
    pub flat: Range<usize>,
}

/// The order and sizes of the tensors in a flat vector: as float32, one after the other, without
/// padding.
#[derive(Clone, Debug)]
pub struct FlatLayout {
    specs: Vec<TensorSpec>,
    /// Where each tensor starts in the flat vector, and where the last one ends.
    starts: Vec<usize>,
}

impl FlatLayout {
    /// The layout of gradients for `parameters`: their names and shapes, but float32.
    pub fn new(parameters: impl IntoIterator<Item = TensorSpec>) -> Result<Self, WireError> {
        let mut specs = Vec::new();
        let mut starts = vec![0];
        let mut end = 0_usize;
        for mut spec in parameters {
            spec.dtype = DType::Float32;
            end = usize::try_from(spec.byte_len()?)
                .ok()
                .and_then(|bytes| end.checked_add(bytes))
                .ok_or_else(|| WireError::tensor(&spec.name, "ends beyond the address space"))?;
            starts.push(end);
            specs.push(spec);
        }
        Ok(Self { specs, starts })
    }

    pub fn specs(&self) -> &[TensorSpec] {
        &self.specs
    }

    /// Bytes of the flat vector.
    pub fn total_bytes(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The pieces of each frame, in order: not across multiples of `max_bytes` (at least one
    /// element) and at most [`MAX_PIECES`] per frame, cut between elements. At least one frame,
    /// which is empty when there is nothing to send.
    pub fn frames(&self, max_bytes: usize) -> Vec<Vec<Piece>> {
        let item = DType::Float32.item_bytes() as usize;
        let max_bytes = (max_bytes / item).max(1) * item;
        let mut frames = Vec::new();
        let mut frame = Vec::new();
        for (tensor, bounds) in self.starts.windows(2).enumerate() {
            let (start, end) = (bounds[0], bounds[1]);
            let mut at = start;
            while at < end {
                let is_full = at % max_bytes == 0 || frame.len() == MAX_PIECES;
                if is_full && !frame.is_empty() {
                    frames.push(std::mem::take(&mut frame));
                }
                let bytes = (max_bytes - at % max_bytes).min(end - at);
                frame.push(Piece {
                    tensor,
                    byte_offset: (at - start) as u64,
                    flat: at..at + bytes,
                });
                at += bytes;
            }
        }
        frames.push(frame);
        frames
    }

    /// Starts reassembling a flat vector.
    pub fn assembler(&self, pool: &Pool) -> Result<FlatAssembler<'_>, WireError> {
        Ok(FlatAssembler {
            layout: self,
            buffer: pool.buffer(self.total_bytes())?,
            tensor: 0,
        })
    }
}

/// Reassembles one flat vector from pieces that arrive in order. Refuses any piece that is not the
/// expected next one.
pub struct FlatAssembler<'l> {
    layout: &'l FlatLayout,
    buffer: AlignedBuffer,
    /// The tensor that the next piece belongs to.
    tensor: usize,
}

impl FlatAssembler<'_> {
    /// Takes the next piece. An empty one (of a tensor without elements) is skipped.
    pub fn push(&mut self, piece: &TensorData<'_>) -> Result<(), WireError> {
        if piece.data.is_empty() {
            return Ok(());
        }
        let at = self.buffer.len();
        // Tensors without elements end where they start.
        while self
            .layout
            .starts
            .get(self.tensor + 1)
            .is_some_and(|end| *end <= at)
        {
            self.tensor += 1;
        }
        let Some(spec) = self.layout.specs.get(self.tensor) else {
            return Err(WireError::tensor(piece.name, "comes after the last tensor"));
        };
        let byte_offset = (at - self.layout.starts[self.tensor]) as u64;
        let reason = if piece.name != spec.name {
            format!("comes where `{}` is expected", spec.name)
        } else if piece.dtype != spec.dtype {
            format!("has dtype {}, gradients are float32", piece.dtype.name())
        } else if piece.shape != spec.shape {
            format!("has shape {:?}, {:?} was agreed", piece.shape, spec.shape)
        } else if piece.byte_offset != byte_offset {
            format!(
                "continues at byte {}, expected {byte_offset}",
                piece.byte_offset
            )
        } else {
            return self.buffer.extend_from_slice(piece.data);
        };
        Err(WireError::tensor(piece.name, reason))
    }

    /// The flat vector, once every piece has arrived.
    pub fn finish(self) -> Result<AlignedBuffer, WireError> {
        if !self.buffer.is_full() {
            let missing = self.buffer.capacity() - self.buffer.len();
            let name = self
                .layout
                .specs
                .get(self.tensor)
                .map_or("", |spec| &spec.name);
            return Err(WireError::tensor(
                name,
                format!("the last frame arrived, but {missing} bytes from here on are missing"),
            ));
        }
        Ok(self.buffer)
    }
}

#[cfg(test)]
#[path = "layout_test.rs"]
mod tests;
