//! Workers on this machine: a Unix socket that only processes of this user connect to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result};
use pangea_shared_memory::{peer_is_same_user, SocketFile};
use tokio::net::{TcpStream, UnixListener, UnixStream};

/// A worker that has connected.
pub enum Worker {
    Remote(TcpStream, SocketAddr),
    /// With its process id, where the system knows it.
    Local(UnixStream, Option<i32>),
}

impl Worker {
    /// None for all processes of this machine that come through the socket.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Remote(_, address) => Some(address.ip().to_canonical()),
            Self::Local(..) => None,
        }
    }

    /// How the log names it.
    pub fn name(&self) -> String {
        match self {
            Self::Remote(_, address) => address.to_string(),
            Self::Local(_, Some(process)) => format!("process {process} on this machine"),
            Self::Local(_, None) => "a process on this machine".to_owned(),
        }
    }
}

/// A listening socket, whose file is removed with it.
pub struct LocalListener {
    listener: UnixListener,
    _file: SocketFile,
}

impl LocalListener {
    pub fn bind(path: &Path) -> Result<Self> {
        let listen = || {
            let (listener, file) = pangea_shared_memory::listen(path)?;
            listener.set_nonblocking(true)?;
            let listener = UnixListener::from_std(listener)?;
            Ok::<_, io::Error>(Self {
                listener,
                _file: file,
            })
        };
        listen().with_context(|| format!("cannot listen at --socket {}", path.display()))
    }

    /// The next worker of this user.
    pub async fn accept(&self) -> io::Result<Worker> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            // The file's mode keeps others out; not root, and not whoever changed it.
            if peer_is_same_user(&stream)? {
                let process = stream.peer_cred()?.pid();
                return Ok(Worker::Local(stream, process));
            }
            tracing::warn!("a process of another user connected to --socket; it was disconnected");
        }
    }
}
