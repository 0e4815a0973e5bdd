//! TLS for workers on other machines: who they are, and whether they still may take part.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use pangea_identity::{Role, Watched};
use pangea_wire::nonblocking::write_frame;
use pangea_wire::schema::{ErrorAction, MessageType};
use pangea_wire::{Limits, WireError};
use rust_compute_serving::{serve_secured, Activity, Refusal, Sampled, Service};
use rustls::pki_types::CertificateDer;
use tokio::io::{copy, sink, AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;
use tokio_rustls::TlsAcceptor;

use crate::clock;

/// How long a peer may take to say who it is.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a refused peer may take to read why.
const LINGER: Duration = Duration::from_secs(1);
/// How often the files of the identity are looked at.
const REFRESH: Duration = Duration::from_secs(1);
/// The first byte of a connection over TLS. No frame begins with it: it would have more segments
/// than are allowed.
const HANDSHAKE_RECORD: u8 = 0x16;

/// The identity of this process, while it runs.
pub struct Secure {
    watched: Watched,
    /// Counts how often the files have changed.
    changes: watch::Sender<u64>,
    /// Which refusals are logged.
    refusals: Sampled,
}

impl Secure {
    /// Reads the directory. From then on, changes of its files are noticed.
    pub fn open(dir: &Path) -> Result<Arc<Self>> {
        let watched = Watched::open(dir.to_owned(), Role::Data)
            .with_context(|| format!("--identity {}", dir.display()))?;
        let secure = Arc::new(Self {
            watched,
            changes: watch::Sender::new(0),
            refusals: Sampled::default(),
        });
        tokio::spawn(keep_fresh(Arc::clone(&secure)));
        Ok(secure)
    }

    /// The encrypted connection of somebody who wants a page, which everybody may read.
    pub async fn accept_page(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let config = self.watched.current().pages_config().ok()?;
        TlsAcceptor::from(config).accept(stream).await.ok()
    }

    /// Serves a connection once its worker has shown a certificate.
    pub async fn serve(
        &self,
        service: Arc<Service>,
        stream: TcpStream,
        stopping: watch::Receiver<bool>,
        activity: Arc<Activity>,
        peer: &str,
    ) -> Result<(), WireError> {
        // Before the certificate is looked at: whatever changes after that is noticed.
        let mut changes = self.changes.subscribe();
        let introducing = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.introduce(stream));
        let introduced = tokio::select! {
            introduced = introducing => introduced,
            () = activity.displaced() => return Ok(()),
        };
        let Some(stream) = introduced.map_err(|_| WireError::Stalled {
            doing: "waiting for the worker's certificate",
            seconds: HANDSHAKE_TIMEOUT.as_secs_f64(),
        })?
        else {
            return Ok(());
        };
        let chain = chain_of(&stream);
        tokio::select! {
            served = serve_secured(service, stream, stopping, activity) => served,
            () = self.revoked(&mut changes, &chain) => {
                tracing::warn!(peer, "the worker's certificate was revoked; its connection is closed");
                Ok(())
            }
        }
    }

    /// The encrypted connection of a worker; `None` for a peer that was refused.
    async fn introduce(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let mut first = [0];
        if !matches!(stream.peek(&mut first).await, Ok(1)) {
            return None; // It has left.
        }
        if first[0] != HANDSHAKE_RECORD {
            self.refuse(
                stream,
                "the data service speaks TLS only; give this worker an identity \
                (--identity DIR, or PANGEA_IDENTITY)",
            )
            .await;
            return None;
        }
        let identity = self.watched.current();
        let config = identity.workers_config().inspect_err(|error| {
            tracing::error!(%error, "the identity cannot be used");
        });
        let accepting = TlsAcceptor::from(config.ok()?).accept(stream);
        let stream = match accepting.into_fallible().await {
            Ok(stream) => stream,
            Err((error, stream)) => {
                if let Some(left_out) = self.refusals.admit(clock::monotonic()) {
                    tracing::warn!(%error, left_out, "a connection was refused");
                }
                linger(stream).await;
                return None;
            }
        };
        let chain = chain_of(&stream);
        let known = chain.first().ok_or_else(|| "no certificate".to_owned());
        let refusal = match known.and_then(|certificate| identity.recognize(certificate)) {
            Ok(name) if name.role == Role::Worker => return Some(stream),
            Ok(name) => format!(
                "the certificate {name} has role {}; only workers are served: use a certificate \
                of role worker",
                name.role
            ),
            Err(reason) => reason,
        };
        self.refuse(stream, &refusal).await;
        None
    }

    /// Says why a peer is not served, and ends the connection.
    async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, reason: &str) {
        if let Some(left_out) = self.refusals.admit(clock::monotonic()) {
            tracing::warn!(reason, left_out, "a connection was refused");
        }
        let refusal = Refusal::new(ErrorAction::Stop, MessageType::Unspecified, reason);
        if let Ok(frame) = refusal.frame(0, &Limits::default()) {
            // It may have left.
            let _ = write_frame(&mut stream, &frame, LINGER).await;
        }
        linger(stream).await;
    }

    /// Returns when a certificate is no longer admitted.
    async fn revoked(&self, changes: &mut watch::Receiver<u64>, chain: &[CertificateDer<'_>]) {
        while changes.changed().await.is_ok() {
            if self.watched.current().is_revoked(chain) {
                return;
            }
        }
        std::future::pending().await
    }
}

async fn keep_fresh(secure: Arc<Secure>) {
    let mut complaint = String::new();
    loop {
        tokio::time::sleep(REFRESH).await;
        match secure.watched.refresh() {
            Ok(false) => {}
            Ok(true) => {
                complaint.clear();
                tracing::info!("the identity was read again");
                secure.changes.send_modify(|count| *count += 1);
            }
            Err(error) if error.to_string() == complaint => {}
            Err(error) => {
                tracing::warn!(%error, "the identity has changed and cannot be used; the old one stays in use");
                complaint = error.to_string();
            }
        }
    }
}

fn chain_of(stream: &TlsStream<TcpStream>) -> Vec<CertificateDer<'static>> {
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().unwrap_or_default();
    chain.iter().map(|one| one.clone().into_owned()).collect()
}

/// Lets a peer read what was sent: a connection that is closed over unread bytes loses it.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let reading = async {
        let _ = stream.shutdown().await;
        let _ = copy(&mut stream, &mut sink()).await;
    };
    let _ = tokio::time::timeout(LINGER, reading).await;
}
