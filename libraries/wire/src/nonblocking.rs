//! Frames over tokio: a thin shell that bounds every pause inside a frame.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::{Frame, FrameDecoder, ReceivedFrame, WireError};

/// Small frames take one system call; larger reads bypass this buffer and go straight to their
/// segment.
const READ_AHEAD: usize = 4096;

/// Reads frames from a stream.
pub struct FrameReader<R> {
    stream: BufReader<R>,
    decoder: FrameDecoder,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(stream: R, decoder: FrameDecoder) -> Self {
        Self {
            stream: BufReader::with_capacity(READ_AHEAD, stream),
            decoder,
        }
    }

    pub fn decoder(&self) -> &FrameDecoder {
        &self.decoder
    }

    /// Waits until the first byte of the next frame is here, or the end of the stream, so that the
    /// pause before a frame and the time that it takes can have limits of their own. Cancel-safe.
    pub async fn wait_for_start(&mut self) -> Result<(), WireError> {
        if self.decoder.is_between_frames() {
            let waiting = self.stream.fill_buf().await;
            waiting.map_err(|source| WireError::Io {
                doing: "reading a frame",
                source,
            })?;
        }
        Ok(())
    }

    /// The next frame; `None` if the peer closed the stream between two frames. Waits indefinitely
    /// for a frame to start, and at most the progress timeout for each further byte of it.
    /// Cancel-safe: call again to continue.
    pub async fn read_frame(&mut self) -> Result<Option<ReceivedFrame>, WireError> {
        loop {
            let started = !self.decoder.is_between_frames();
            let timeout = self.decoder.limits().progress_timeout;
            let window = self.decoder.unfilled()?;
            let reading = self.stream.read(window);
            let result = if started {
                in_time("reading a frame", timeout, reading).await?
            } else {
                reading.await
            };
            let bytes = result.map_err(|source| WireError::Io {
                doing: "reading a frame",
                source,
            })?;
            if bytes == 0 {
                return self.decoder.end_of_stream().map_or(Ok(None), Err);
            }
            if let Some(frame) = self.decoder.advance(bytes)? {
                return Ok(Some(frame));
            }
        }
    }
}

/// Sends a whole frame with vectored writes, each of which must make progress within
/// `progress_timeout`.
pub async fn write_frame<W, P>(
    stream: &mut W,
    frame: &Frame<P>,
    progress_timeout: Duration,
) -> Result<(), WireError>
where
    W: AsyncWrite + Unpin,
    P: AsRef<[u8]>,
{
    let mut cursor = frame.cursor();
    while !cursor.is_done() {
        let writing = stream.write_vectored(cursor.remaining());
        let source = match in_time("sending a frame", progress_timeout, writing).await? {
            Ok(0) => io::Error::from(ErrorKind::WriteZero),
            Ok(bytes) => {
                cursor.advance(bytes);
                continue;
            }
            Err(error) => error,
        };
        return Err(WireError::Io {
            doing: "sending a frame",
            source,
        });
    }
    // A stream that encrypts may have accepted more than the socket below it has.
    let flushed = in_time("sending a frame", progress_timeout, stream.flush()).await?;
    flushed.map_err(|source| WireError::Io {
        doing: "sending a frame",
        source,
    })
}

async fn in_time<T>(
    doing: &'static str,
    timeout: Duration,
    work: impl Future<Output = T>,
) -> Result<T, WireError> {
    tokio::time::timeout(timeout, work)
        .await
        .map_err(|_| WireError::Stalled {
            doing,
            seconds: timeout.as_secs_f64(),
        })
}
