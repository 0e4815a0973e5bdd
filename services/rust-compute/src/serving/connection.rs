//! One worker's connection: requests are read ahead, answered, and the replies sent in order, all
//! of it within limits of time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use pangea_wire::nonblocking::{write_frame, FrameReader};
use pangea_wire::schema::{ErrorAction, MessageType};
use pangea_wire::{FrameDecoder, Limits, WireError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};

use crate::activity::Activity;
use crate::announce::Announce;
use crate::answer::{respond, Answered, Peer, Service, MAX_REQUEST_BYTES};
use crate::lending::Lending;
use crate::reply::{Refusal, Reply};

/// Most replies of one connection that are computed or waiting to be sent. Bounds the memory that
/// one worker takes.
const MAX_PENDING: usize = 16;

/// How long a worker may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the connection to the first request: nobody connects to say nothing.
    pub first_request: Duration,
    /// From a request's first byte to its last: requests are small.
    pub request: Duration,
    /// Between requests. A worker that computes longer connects again.
    pub idle: Duration,
    /// Least bytes of a reply that are taken a second, once `Limits::progress_timeout` is over.
    pub reply_bytes_per_second: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_request: Duration::from_secs(10),
            request: Duration::from_secs(10),
            idle: Duration::from_secs(15 * 60),
            reply_bytes_per_second: 64 << 10,
        }
    }
}

/// Serves one connection until the worker closes it, an error ends it, its place is needed, or the
/// service stops. Requests that arrived by then are answered.
pub async fn serve(
    service: Arc<Service>,
    mut stream: TcpStream,
    stopping: watch::Receiver<bool>,
    activity: Arc<Activity>,
) -> Result<(), WireError> {
    let peer = Peer::new(activity, None);
    let (reading, writing) = stream.split();
    converse(service, reading, writing, stopping, Arc::new(peer)).await
}

/// The same over a stream that is encrypted.
pub async fn serve_secured<S: AsyncRead + AsyncWrite + Send + Unpin>(
    service: Arc<Service>,
    stream: S,
    stopping: watch::Receiver<bool>,
    activity: Arc<Activity>,
) -> Result<(), WireError> {
    let peer = Peer::new(activity, None);
    let (reading, writing) = tokio::io::split(stream);
    converse(service, reading, writing, stopping, Arc::new(peer)).await
}

/// The same for a worker on this machine, which batches are lent to.
pub async fn serve_local(
    service: Arc<Service>,
    mut stream: UnixStream,
    stopping: watch::Receiver<bool>,
    activity: Arc<Activity>,
) -> Result<(), WireError> {
    let lending = Lending::new(service.lending_limit.clone());
    let peer = Peer::new(activity, Some(lending));
    let (reading, writing) = stream.split();
    converse(service, reading, writing, stopping, Arc::new(peer)).await
}

async fn converse<R: AsyncRead + Unpin, W: AsyncWrite + Announce + Unpin>(
    service: Arc<Service>,
    reading: R,
    mut writing: W,
    mut stopping: watch::Receiver<bool>,
    peer: Arc<Peer>,
) -> Result<(), WireError> {
    let limits = Limits::with_frame_bytes(MAX_REQUEST_BYTES);
    let mut frames = FrameReader::new(reading, FrameDecoder::new(service.pool.clone(), limits));
    let (queue, mut replies) = mpsc::channel::<oneshot::Receiver<Answered>>(MAX_PENDING);
    let pending = AtomicU64::new(0);

    let sending = async {
        while let Some(next) = replies.recv().await {
            // Without a reply (not even a refusal could be encoded), later replies would be out of
            // order.
            let Ok((new_region, reply)) = next.await else {
                break;
            };
            if let Some(region) = new_region {
                let timeout = service.reply_limits.progress_timeout;
                writing.announce(&region, timeout).await?;
            }
            metrics::counter!("pangea_compute_sent_bytes_total").increment(reply.len() as u64);
            send(&mut writing, &reply, &service).await?;
            if pending.fetch_sub(1, Ordering::Relaxed) == 1 {
                peer.activity.rest((service.now)());
            }
        }
        Ok(())
    };
    // Owns the sending end of the queue, which closes when receiving ends; replies in the queue are
    // still sent.
    let (shared, peer_of, pending_of) = (&service, &peer, &pending);
    let receiving = async move {
        loop {
            let next = tokio::select! {
                next = next_request(&mut frames, &shared.patience, peer_of) => next,
                () = peer_of.activity.displaced() => return Ok(()),
                _ = stopping.wait_for(|stop| *stop) => return Ok(()),
            };
            if matches!(next, Ok(None)) {
                return Ok(());
            }
            let (reply, answered) = oneshot::channel();
            let ahead = pending_of.fetch_add(1, Ordering::Relaxed);
            peer_of.activity.begin();
            if queue.send(answered).await.is_err() {
                return Ok(());
            }
            match next {
                Ok(Some(frame)) => {
                    tokio::spawn(respond(
                        shared.clone(),
                        peer_of.clone(),
                        frame,
                        ahead,
                        reply,
                    ));
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    let refusal = Refusal::new(
                        ErrorAction::Reconnect,
                        MessageType::Unspecified,
                        format!("{error}; the connection is closed"),
                    );
                    if let Ok(frame) = refusal.frame(0, &shared.reply_limits) {
                        // The sending side may have ended already.
                        let _ = reply.send((None, frame));
                    }
                    return Err(error);
                }
            }
        }
    };
    tokio::pin!(sending);
    // Sending ends first only if it fails. Then nobody reads replies, and further requests are of
    // no use.
    let received = tokio::select! {
        received = receiving => received,
        sent = &mut sending => return sent,
    };
    received.and(sending.await)
}

/// The next request; None if the worker has closed the connection.
async fn next_request<R: AsyncRead + Unpin>(
    frames: &mut FrameReader<R>,
    patience: &Patience,
    peer: &Peer,
) -> Result<Option<pangea_wire::ReceivedFrame>, WireError> {
    let (doing, start) = if peer.activity.is_silent() {
        ("waiting for the first request", patience.first_request)
    } else {
        ("waiting for a request", patience.idle)
    };
    in_time(doing, start, frames.wait_for_start()).await?;
    in_time("reading a request", patience.request, frames.read_frame()).await
}

/// Sends a reply, to a worker that takes it at a least rate.
async fn send<W: AsyncWrite + Unpin>(
    writing: &mut W,
    reply: &Reply,
    service: &Service,
) -> Result<(), WireError> {
    let timeout = service.reply_limits.progress_timeout;
    let rate = service.patience.reply_bytes_per_second.max(1);
    let whole = timeout + Duration::from_secs(reply.len() as u64 / rate);
    in_time(
        "sending a reply",
        whole,
        write_frame(writing, reply, timeout),
    )
    .await
}

async fn in_time<T>(
    doing: &'static str,
    timeout: Duration,
    work: impl std::future::Future<Output = Result<T, WireError>>,
) -> Result<T, WireError> {
    let seconds = timeout.as_secs_f64();
    match tokio::time::timeout(timeout, work).await {
        Ok(done) => done,
        Err(_) => Err(WireError::Stalled { doing, seconds }),
    }
}

#[cfg(test)]
#[path = "connection_test.rs"]
mod tests;
