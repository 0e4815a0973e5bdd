//! Frames over `std::io`: a thin shell, written so that a caller can wake up while it waits
//! (signals, deadlines).

use std::io::{self, BufReader, ErrorKind, Read, Write};

use crate::{Frame, FrameCursor, FrameDecoder, ReceivedFrame, WireError};

/// Small frames take one system call; larger reads bypass this buffer and go straight to their
/// segment.
const READ_AHEAD: usize = 4096;

/// The outcome of reading.
pub enum Polled {
    /// A complete frame.
    Frame(ReceivedFrame),
    /// Nothing to read yet: the stream's read timeout expired or a signal arrived. Call again.
    Idle,
    /// The peer closed the stream between two frames.
    Closed,
}

/// Reads frames from a stream.
pub struct FrameReader<R> {
    stream: BufReader<R>,
    decoder: FrameDecoder,
}

impl<R: Read> FrameReader<R> {
    pub fn new(stream: R, decoder: FrameDecoder) -> Self {
        Self {
            stream: BufReader::with_capacity(READ_AHEAD, stream),
            decoder,
        }
    }

    pub fn decoder(&self) -> &FrameDecoder {
        &self.decoder
    }

    /// The stream that frames are read from. Reading from it directly would lose bytes.
    pub fn stream(&self) -> &R {
        self.stream.get_ref()
    }

    /// Reads until a frame is complete or the stream has no more data for now.
    pub fn poll_frame(&mut self) -> Result<Polled, WireError> {
        loop {
            let window = self.decoder.unfilled()?;
            match self.stream.read(window) {
                Ok(0) => return self.decoder.end_of_stream().map_or(Ok(Polled::Closed), Err),
                Ok(bytes) => {
                    if let Some(frame) = self.decoder.advance(bytes)? {
                        return Ok(Polled::Frame(frame));
                    }
                }
                Err(error) if is_pause(&error) => return Ok(Polled::Idle),
                Err(source) => {
                    return Err(WireError::Io {
                        doing: "reading a frame",
                        source,
                    })
                }
            }
        }
    }

    /// Reads the next frame; `None` if the peer closed the stream between two frames. For streams
    /// without a read timeout.
    pub fn read_frame(&mut self) -> Result<Option<ReceivedFrame>, WireError> {
        loop {
            match self.poll_frame()? {
                Polled::Frame(frame) => return Ok(Some(frame)),
                Polled::Closed => return Ok(None),
                Polled::Idle => {}
            }
        }
    }
}

/// Sends the rest of `cursor`. Returns false if the stream accepts no more for now: call again.
pub fn poll_write(
    stream: &mut impl Write,
    cursor: &mut FrameCursor<'_>,
) -> Result<bool, WireError> {
    while !cursor.is_done() {
        let source = match stream.write_vectored(cursor.remaining()) {
            Ok(0) => io::Error::from(ErrorKind::WriteZero),
            Ok(bytes) => {
                cursor.advance(bytes);
                continue;
            }
            Err(error) if is_pause(&error) => return Ok(false),
            Err(error) => error,
        };
        return Err(WireError::Io {
            doing: "sending a frame",
            source,
        });
    }
    Ok(true)
}

/// Sends a whole frame. For streams without a write timeout.
pub fn write_frame<P: AsRef<[u8]>>(
    stream: &mut impl Write,
    frame: &Frame<P>,
) -> Result<(), WireError> {
    let mut cursor = frame.cursor();
    while !poll_write(stream, &mut cursor)? {}
    Ok(())
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
