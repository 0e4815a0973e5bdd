//! Reads frames without doing input: the decoder says where the next bytes belong.
//!
//! Each segment gets its own buffer, so a tensor whose bytes are a segment of their own arrives in
//! the memory that it keeps. Every limit is checked on the segment table, before anything is
//! allocated for it.

use crate::{AlignedBuffer, Limits, Pool, ReceivedFrame, WireError};

const WORD: u64 = 8;

enum State {
    /// Reading the first word of the table: segment count and size of segment 0.
    Start,
    /// Reading the rest of the table.
    Table { sizes: Vec<u8> },
    /// Reading the segments. `segments` holds those that have started; the last of them may be
    /// incomplete.
    Segments {
        sizes: Vec<u32>,
        segments: Vec<AlignedBuffer>,
    },
    /// After an error: where the next frame starts is unknown.
    Broken,
}

/// A state machine from bytes to frames. Fill [`unfilled`](Self::unfilled), then call
/// [`advance`](Self::advance).
///
/// ```
/// # use pangea_wire::{FrameDecoder, Limits, Pool};
/// let mut decoder = FrameDecoder::new(Pool::new(1 << 20, 0), Limits::default());
/// // The last eight bytes are segment 0: a null root.
/// let mut stream: &[u8] = &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// let frame = loop {
///     let window = decoder.unfilled().unwrap();
///     let n = std::io::Read::read(&mut stream, window).unwrap();
///     if let Some(frame) = decoder.advance(n).unwrap() {
///         break frame;
///     }
/// };
/// assert_eq!(frame.segment_count(), 1);
/// ```
pub struct FrameDecoder {
    pool: Pool,
    limits: Limits,
    state: State,
    first: [u8; WORD as usize],
    /// Bytes of the current part (first word or rest of the table) that have arrived.
    filled: usize,
    received: u64,
    expected: u64,
}

impl FrameDecoder {
    pub fn new(pool: Pool, limits: Limits) -> Self {
        Self {
            pool,
            limits,
            state: State::Start,
            first: [0; WORD as usize],
            filled: 0,
            received: 0,
            expected: WORD,
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether no byte of the next frame has arrived yet.
    pub fn is_between_frames(&self) -> bool {
        self.received == 0 && !matches!(self.state, State::Broken)
    }

    /// Bytes of the current frame that have arrived.
    pub fn received_bytes(&self) -> u64 {
        self.received
    }

    /// The error for a stream that ends now, or `None` if it ends between two frames.
    pub fn end_of_stream(&self) -> Option<WireError> {
        (!self.is_between_frames()).then_some(WireError::Truncated {
            received: self.received,
            expected: self.expected,
        })
    }

    /// Where the next bytes belong; never empty. It may be filled over several calls.
    pub fn unfilled(&mut self) -> Result<&mut [u8], WireError> {
        match &mut self.state {
            State::Start => Ok(&mut self.first[self.filled..]),
            State::Table { sizes } => Ok(&mut sizes[self.filled..]),
            State::Segments { segments, .. } => match segments.last_mut() {
                Some(segment) => segment.unfilled(),
                None => Err(WireError::MalformedHeader("a frame without segments")),
            },
            State::Broken => Err(WireError::MalformedHeader(
                "an earlier error on this connection; it must be closed",
            )),
        }
    }

    /// Counts the first `bytes` of the last [`unfilled`](Self::unfilled) slice as read. Returns the
    /// frame that they complete.
    pub fn advance(&mut self, bytes: usize) -> Result<Option<ReceivedFrame>, WireError> {
        let result = self.step(bytes);
        if result.is_err() {
            self.state = State::Broken;
        }
        result
    }

    fn step(&mut self, bytes: usize) -> Result<Option<ReceivedFrame>, WireError> {
        self.received = self.received.saturating_add(bytes as u64);
        match &mut self.state {
            State::Start => {
                self.filled = (self.filled + bytes).min(self.first.len());
                if self.filled == self.first.len() {
                    self.start_table()?;
                }
            }
            State::Table { sizes } => {
                self.filled = (self.filled + bytes).min(sizes.len());
                if self.filled == sizes.len() {
                    let sizes = std::mem::take(sizes);
                    self.start_segments(&sizes)?;
                }
            }
            State::Segments { segments, .. } => {
                if let Some(segment) = segments.last_mut() {
                    segment.advance(bytes);
                }
            }
            State::Broken => {
                return Err(WireError::MalformedHeader(
                    "an earlier error on this connection; it must be closed",
                ))
            }
        }
        self.open_segments()
    }

    fn start_table(&mut self) -> Result<(), WireError> {
        let [a, b, c, d, e, f, g, h] = self.first;
        let last_segment = u32::from_le_bytes([a, b, c, d]);
        let asked = u64::from(last_segment) + 1;
        if asked > u64::from(self.limits.segments) {
            return Err(WireError::LimitExceeded {
                what: "segments of a frame",
                asked,
                limit: u64::from(self.limits.segments),
            });
        }
        if u32::from_le_bytes([e, f, g, h]) == 0 {
            return Err(WireError::MalformedHeader(
                "segment 0 is empty, so there is no root",
            ));
        }
        // The table is `asked + 1` numbers of 4 bytes, padded to whole words; the first word is
        // here.
        let rest = last_segment.div_ceil(2) as usize * WORD as usize;
        self.filled = 0;
        self.expected = WORD + rest as u64;
        if rest == 0 {
            self.start_segments(&[])
        } else {
            self.state = State::Table {
                sizes: vec![0; rest],
            };
            Ok(())
        }
    }

    /// `rest` is the segment table after its first word.
    fn start_segments(&mut self, rest: &[u8]) -> Result<(), WireError> {
        let [a, b, c, d, first_size @ ..] = self.first;
        let count = u32::from_le_bytes([a, b, c, d]) as usize + 1;
        let mut sizes = Vec::with_capacity(count);
        sizes.push(u32::from_le_bytes(first_size));
        for size in rest.chunks_exact(4).take(count - 1) {
            sizes.push(
                size.iter()
                    .rev()
                    .fold(0, |sum, byte| (sum << 8) | u32::from(*byte)),
            );
        }
        // At most 2^32 segments of 2^35 bytes: the sum cannot overflow.
        let total = sizes
            .iter()
            .map(|words| u64::from(*words) * WORD)
            .sum::<u64>();
        self.expected = WORD + rest.len() as u64 + total;
        if self.expected > self.limits.frame_bytes {
            return Err(WireError::LimitExceeded {
                what: "bytes of a frame",
                asked: self.expected,
                limit: self.limits.frame_bytes,
            });
        }
        let segments = Vec::with_capacity(count);
        self.state = State::Segments { sizes, segments };
        Ok(())
    }

    /// Starts the next segment once the last one is complete (an empty one is complete at once);
    /// returns the frame after the last segment.
    fn open_segments(&mut self) -> Result<Option<ReceivedFrame>, WireError> {
        let State::Segments { sizes, segments } = &mut self.state else {
            return Ok(None);
        };
        while segments.last().is_none_or(AlignedBuffer::is_full) {
            let Some(words) = sizes.get(segments.len()) else {
                let segments = std::mem::take(segments);
                self.state = State::Start;
                self.filled = 0;
                self.received = 0;
                self.expected = WORD;
                return Ok(Some(ReceivedFrame::new(segments, self.pool.clone())));
            };
            let bytes = u64::from(*words) * WORD;
            let len =
                usize::try_from(bytes).map_err(|_| WireError::OutOfMemory { bytes: usize::MAX })?;
            segments.push(self.pool.buffer(len)?);
        }
        Ok(None)
    }
}
