//! Accepting workers: who gets a place, and what a connection is watched for.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use pangea_wire::schema::{ErrorAction, MessageType};
use pangea_wire::WireError;
use rust_compute_serving::{serve, serve_local, Refusal, Sampled, Service};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock;
use crate::local::{LocalListener, Worker};
use crate::places::{Place, Places};
use crate::secure::Secure;

/// How long a stopping service waits until its last replies are sent.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait after the system failed to accept a connection, most likely because there is no
/// file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that are not acknowledged for this long end a connection: the machine is gone.
const MAX_UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// Where workers connect.
pub struct Listeners {
    pub remote: TcpListener,
    pub local: Option<LocalListener>,
    /// Who remote workers must be, if they must be known.
    pub secure: Option<Arc<Secure>>,
}

impl Listeners {
    /// The next worker that connects, in either way.
    async fn next(&self) -> io::Result<Worker> {
        let remote = async {
            let (stream, address) = self.remote.accept().await?;
            Ok(Worker::Remote(stream, address))
        };
        let Some(local) = &self.local else {
            return remote.await;
        };
        tokio::select! {
            worker = remote => worker,
            worker = local.accept() => worker,
        }
    }
}

/// Accepts connections until the service stops, then waits until their last replies are sent.
pub async fn accept(
    service: Arc<Service>,
    listeners: Listeners,
    mut stopping: watch::Receiver<bool>,
    places: Places,
    ready: &AtomicBool,
) {
    let mut connections = JoinSet::new();
    let mut stop = stopping.clone();
    let log = Arc::new(Sampled::default());
    loop {
        let next = tokio::select! {
            next = listeners.next() => next,
            Some(_) = connections.join_next() => continue,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        match next {
            Ok(worker) => match places.take(worker.address(), clock::monotonic()) {
                Some(place) => {
                    let (service, secure) = (service.clone(), listeners.secure.clone());
                    let (stop, log) = (stop.clone(), log.clone());
                    connections.spawn(serve_worker(service, secure, worker, place, stop, log));
                }
                None => turn_away(&service, worker, listeners.secure.is_some(), &log),
            },
            Err(error) => {
                if let Some(left_out) = log.admit(clock::monotonic()) {
                    tracing::warn!(%error, left_out, "cannot accept a connection");
                }
                let _ = tokio::time::timeout(ACCEPT_PAUSE, stop.wait_for(|stop| *stop)).await;
            }
        }
    }
    ready.store(false, Ordering::Relaxed);
    drop(listeners);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, all).await.is_err() {
        tracing::warn!(
            seconds = DRAIN_TIMEOUT.as_secs(),
            "some workers did not read their last replies"
        );
    }
}

async fn serve_worker(
    service: Arc<Service>,
    secure: Option<Arc<Secure>>,
    worker: Worker,
    place: Place,
    stopping: watch::Receiver<bool>,
    log: Arc<Sampled>,
) {
    let connections = metrics::gauge!("pangea_compute_connections");
    connections.increment(1.0);
    let peer = worker.name();
    let activity = place.activity.clone();
    if let Some(left_out) = log.admit(clock::monotonic()) {
        tracing::info!(peer, left_out, "worker connected");
    }
    let served = match worker {
        Worker::Remote(stream, _) => match (watched(&stream), secure) {
            (Ok(()), None) => serve(service, stream, stopping, activity).await,
            (Ok(()), Some(secure)) => {
                secure
                    .serve(service, stream, stopping, activity, &peer)
                    .await
            }
            (Err(source), _) => Err(WireError::Io {
                doing: "preparing a connection",
                source,
            }),
        },
        Worker::Local(stream, _) => serve_local(service, stream, stopping, activity).await,
    };
    if let Some(left_out) = log.admit(clock::monotonic()) {
        match served {
            Ok(()) => tracing::info!(peer, left_out, "worker disconnected"),
            Err(error) => tracing::warn!(peer, %error, left_out, "connection failed"),
        }
    }
    connections.decrement(1.0);
}

/// Detects a worker whose machine vanished without closing: by probes while nothing is sent,
/// otherwise by bytes that are not acknowledged.
fn watched(stream: &TcpStream) -> io::Result<()> {
    // Replies are whole frames, which waiting for a full packet would only delay.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(20))
        .with_interval(Duration::from_secs(10));
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(MAX_UNACKNOWLEDGED))
}

/// Says that there is no place, if that can be said at once, and closes the connection. Over TLS it
/// cannot: who expects a handshake would take the words for those of another program.
fn turn_away(service: &Service, worker: Worker, secure: bool, log: &Sampled) {
    metrics::counter!("pangea_compute_refusals_total").increment(1);
    if let Some(left_out) = log.admit(clock::monotonic()) {
        let peer = worker.name();
        tracing::warn!(
            peer,
            left_out,
            "there is no place for a connection; raise --max-connections or \
            --max-connections-per-address if these are workers"
        );
    }
    let refusal = Refusal::new(
        ErrorAction::RetryLater,
        MessageType::Unspecified,
        "every place for a connection is in use",
    );
    if let Ok(frame) = refusal.frame(0, &service.reply_limits) {
        // Best effort: whoever does not take it learns it from the end of the connection.
        let _ = match worker {
            Worker::Remote(..) if secure => return,
            Worker::Remote(stream, _) => stream.try_write(&frame.to_bytes()),
            Worker::Local(stream, _) => stream.try_write(&frame.to_bytes()),
        };
    }
}
