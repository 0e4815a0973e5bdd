//! The pages over TLS, for whoever reaches them from other machines.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, Semaphore};
use tokio_rustls::server::TlsStream;

use crate::secure::{Secure, HANDSHAKE_TIMEOUT};

/// Most handshakes at a time.
const MAX_HANDSHAKES: usize = 64;

type Accepted = (TlsStream<TcpStream>, SocketAddr);

/// Connections whose handshake is done: a slow one does not hold up the others.
pub struct SecurePages {
    address: SocketAddr,
    accepted: mpsc::Receiver<Accepted>,
}

impl SecurePages {
    pub fn new(listener: TcpListener, secure: Arc<Secure>) -> io::Result<Self> {
        let (sender, accepted) = mpsc::channel(1);
        let address = listener.local_addr()?;
        tokio::spawn(shake_hands(listener, secure, sender));
        Ok(Self { address, accepted })
    }
}

async fn shake_hands(mut listener: TcpListener, secure: Arc<Secure>, to: mpsc::Sender<Accepted>) {
    let places = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    while let Ok(place) = places.clone().acquire_owned().await {
        // With a pause after an error: most likely no descriptor is left.
        let (stream, address) = axum::serve::Listener::accept(&mut listener).await;
        let Ok(acceptor) = secure.pages_acceptor() else {
            continue;
        };
        let to = to.clone();
        tokio::spawn(async move {
            let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
            if let Ok(Ok(stream)) = handshake.await {
                // Fails when the service is ending.
                let _ = to.send((stream, address)).await;
            }
            drop(place);
        });
    }
}

impl axum::serve::Listener for SecurePages {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Accepted {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
