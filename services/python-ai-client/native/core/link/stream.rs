//! The socket under a connection: TCP, or a Unix socket that may bring descriptors.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use pangea_shared_memory::{receive, send_with, Descriptors};

use super::TICK;

/// A connected socket. Reads and writes wake up each [`TICK`].
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix {
        socket: UnixStream,
        /// What arrived, for whoever reads the announcements. Clones share it.
        descriptors: Arc<Mutex<Descriptors>>,
    },
}

impl Stream {
    pub(crate) fn tcp(socket: TcpStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(TICK))?;
        Ok(Self::Tcp(socket))
    }

    pub(crate) fn unix(socket: UnixStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(TICK))?;
        Ok(Self::Unix {
            socket,
            descriptors: Arc::default(),
        })
    }

    /// Whether memory can be shared with the other side.
    pub(crate) fn shares_memory(&self) -> bool {
        matches!(self, Self::Unix { .. })
    }

    /// Another handle of the same socket.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix {
                socket,
                descriptors,
            } => Self::Unix {
                socket: socket.try_clone()?,
                descriptors: Arc::clone(descriptors),
            },
        })
    }

    pub(crate) fn shut_down(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Self::Unix { socket, .. } => socket.shutdown(Shutdown::Both),
        }
    }

    /// The descriptor of the announcement that was read last.
    pub(crate) fn take_descriptor(&self) -> Option<OwnedFd> {
        let Self::Unix { descriptors, .. } = self else {
            return None;
        };
        let mut arrived = descriptors.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.take()
    }

    /// Sends a part of `slices` with a descriptor; see [`send_with`].
    pub(crate) fn send_with(
        &self,
        slices: &[IoSlice<'_>],
        descriptor: BorrowedFd<'_>,
    ) -> io::Result<usize> {
        match self {
            Self::Unix { socket, .. } => send_with(socket, slices, descriptor),
            Self::Tcp(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "memory cannot be shared over TCP",
            )),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, window: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => (&mut &*socket).read(window),
            Stream::Unix {
                socket,
                descriptors,
            } => {
                let mut arrived = descriptors.lock().unwrap_or_else(PoisonError::into_inner);
                receive(socket, window, &mut arrived)
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, window: &mut [u8]) -> io::Result<usize> {
        (&*self).read(window)
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => (&mut &*socket).write(bytes),
            Stream::Unix { socket, .. } => (&mut &*socket).write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => (&mut &*socket).write_vectored(slices),
            Stream::Unix { socket, .. } => (&mut &*socket).write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
