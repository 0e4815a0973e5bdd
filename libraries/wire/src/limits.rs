//! The limits that are checked before any memory is allocated for a peer.

use std::time::Duration;

use capnp::message::ReaderOptions;

/// How large one frame may be, and how long a peer may pause inside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Segments of a frame. Cap'n Proto readers accept at most 511.
    pub segments: u32,
    /// Bytes of a frame, its segment table included.
    pub frame_bytes: u64,
    /// Depth of structs in structs and lists.
    pub nesting: i32,
    /// Words that getters may visit, in multiples of the frame's own size (getters charge again at
    /// every call).
    pub traversal_factor: usize,
    /// Longest pause between two bytes of one frame.
    pub progress_timeout: Duration,
}

/// Getters of a tiny message charge its few words repeatedly; this much is always allowed.
const TRAVERSAL_FLOOR_WORDS: usize = 8 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            segments: 511,
            frame_bytes: u64::from(crate::schema::MAX_FRAME_BYTES),
            nesting: 16,
            traversal_factor: 4,
            progress_timeout: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// The default limits with frames of up to `frame_bytes`.
    pub fn with_frame_bytes(frame_bytes: u64) -> Self {
        Self {
            frame_bytes,
            ..Self::default()
        }
    }

    /// The reader options for a frame of `frame_words` words.
    pub(crate) fn reader_options(&self, frame_words: usize) -> ReaderOptions {
        let words = frame_words
            .saturating_mul(self.traversal_factor)
            .max(TRAVERSAL_FLOOR_WORDS);
        ReaderOptions {
            traversal_limit_in_words: Some(words),
            nesting_limit: self.nesting,
        }
    }
}
