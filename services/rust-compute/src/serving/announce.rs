//! Announcing memory: a frame whose descriptor travels with its first byte.

use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::time::Duration;

use pangea_shared_memory::send_with;
use pangea_wire::WireError;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, WriteHalf};
use tokio::net::{tcp, unix};

use crate::lending::NewRegion;

/// The sending side of a connection that memory may be announced on.
pub trait Announce {
    /// Sends the announcement and its descriptor within `timeout`.
    fn announce(
        &mut self,
        region: &NewRegion,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), WireError>> + Send;
}

impl Announce for unix::WriteHalf<'_> {
    async fn announce(&mut self, region: &NewRegion, timeout: Duration) -> Result<(), WireError> {
        let frame = region.announcement.to_frame()?.to_bytes();
        let sending = async {
            let sent = start(self, &frame, region).await?;
            self.write_all(&frame[sent..]).await
        };
        let doing = "announcing shared memory";
        match tokio::time::timeout(timeout, sending).await {
            Ok(sent) => sent.map_err(|source| WireError::Io { doing, source }),
            Err(_) => Err(WireError::Stalled {
                doing,
                seconds: timeout.as_secs_f64(),
            }),
        }
    }
}

/// Sends the first bytes, with the descriptor.
async fn start(
    stream: &unix::WriteHalf<'_>,
    frame: &[u8],
    region: &NewRegion,
) -> io::Result<usize> {
    let socket = stream.as_ref();
    loop {
        socket.writable().await?;
        let sent = socket.try_io(Interest::WRITABLE, || {
            send_with(socket, &[IoSlice::new(frame)], region.descriptor.as_fd())
        });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent,
        }
    }
}

/// Nothing is lent over TCP, so there is nothing to announce.
impl Announce for tcp::WriteHalf<'_> {
    async fn announce(&mut self, _: &NewRegion, _: Duration) -> Result<(), WireError> {
        Err(unsupported())
    }
}

/// The same where TLS is in between.
impl<S: AsyncRead + AsyncWrite + Send> Announce for WriteHalf<S> {
    async fn announce(&mut self, _: &NewRegion, _: Duration) -> Result<(), WireError> {
        Err(unsupported())
    }
}

fn unsupported() -> WireError {
    WireError::Io {
        doing: "announcing shared memory",
        source: io::Error::from(io::ErrorKind::Unsupported),
    }
}
