//! One worker's connection: requests are read ahead, answered on the compute threads, and the
//! replies sent in order.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use pangea_wire::nonblocking::{write_frame, FrameReader};
use pangea_wire::schema::{batch_request, message, ErrorAction, MessageType};
use pangea_wire::{message_type, FrameDecoder, Limits, Pool, ReceivedFrame, WireError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};

use crate::announce::Announce;
use crate::batch::Batches;
use crate::lending::{Lending, LendingLimit, NewRegion};
use crate::reply::{dataset_info, Refusal, Reply};
use crate::request::Request;

/// Largest frame of a worker: requests are small.
const MAX_REQUEST_BYTES: u64 = 64 << 10;
/// Most replies of one connection that are computed or waiting to be sent. Bounds the memory that
/// one worker takes.
const MAX_PENDING: usize = 16;

/// State that all connections share.
pub struct Service {
    pub batches: Batches,
    /// The memory of requests and replies of all connections together.
    pub pool: Pool,
    /// How much of it is lent to workers on this machine.
    pub lending_limit: Arc<LendingLimit>,
    pub reply_limits: Limits,
    /// The clock that replies are timed by: the time since an arbitrary moment.
    pub now: fn() -> Duration,
}

/// A reply, and the region that it is the first one to use.
type Answered = (Option<NewRegion>, Reply);

/// Serves one connection until the worker closes it, an error ends it, or the service stops.
/// Requests that arrived by then are answered.
pub async fn serve(
    service: Arc<Service>,
    mut stream: TcpStream,
    stopping: watch::Receiver<bool>,
) -> Result<(), WireError> {
    let (reading, writing) = stream.split();
    converse(service, reading, writing, stopping, None).await
}

/// The same over a stream that is encrypted.
pub async fn serve_secured<S: AsyncRead + AsyncWrite + Send + Unpin>(
    service: Arc<Service>,
    stream: S,
    stopping: watch::Receiver<bool>,
) -> Result<(), WireError> {
    let (reading, writing) = tokio::io::split(stream);
    converse(service, reading, writing, stopping, None).await
}

/// The same for a worker on this machine, which batches are lent to.
pub async fn serve_local(
    service: Arc<Service>,
    mut stream: UnixStream,
    stopping: watch::Receiver<bool>,
) -> Result<(), WireError> {
    let lending = Arc::new(Lending::new(service.lending_limit.clone()));
    let (reading, writing) = stream.split();
    converse(service, reading, writing, stopping, Some(lending)).await
}

async fn converse<R: AsyncRead + Unpin, W: AsyncWrite + Announce + Unpin>(
    service: Arc<Service>,
    reading: R,
    mut writing: W,
    mut stopping: watch::Receiver<bool>,
    lending: Option<Arc<Lending>>,
) -> Result<(), WireError> {
    let limits = Limits::with_frame_bytes(MAX_REQUEST_BYTES);
    let mut frames = FrameReader::new(reading, FrameDecoder::new(service.pool.clone(), limits));
    let (queue, mut replies) = mpsc::channel::<oneshot::Receiver<Answered>>(MAX_PENDING);
    let timeout = service.reply_limits.progress_timeout;

    let sending = async {
        while let Some(pending) = replies.recv().await {
            // Without a reply (not even a refusal could be encoded), later replies would be out of
            // order.
            let Ok((new_region, reply)) = pending.await else {
                break;
            };
            if let Some(region) = new_region {
                writing.announce(&region, timeout).await?;
            }
            metrics::counter!("pangea_compute_sent_bytes_total").increment(reply.len() as u64);
            write_frame(&mut writing, &reply, timeout).await?;
        }
        Ok(())
    };
    // Owns the sending end of the queue, which closes when receiving ends; replies in the queue are
    // still sent.
    let (shared, reply_limits) = (&service, &service.reply_limits);
    let receiving = async move {
        loop {
            let next = tokio::select! {
                next = frames.read_frame() => next,
                _ = stopping.wait_for(|stop| *stop) => return Ok(()),
            };
            let (reply, pending) = oneshot::channel();
            if queue.send(pending).await.is_err() {
                return Ok(());
            }
            match next {
                Ok(Some(frame)) => compute(shared.clone(), lending.clone(), frame, reply),
                Ok(None) => return Ok(()),
                Err(error) => {
                    let refusal = Refusal::new(
                        ErrorAction::Reconnect,
                        MessageType::Unspecified,
                        format!("{error}; the connection is closed"),
                    );
                    if let Ok(frame) = refusal.frame(0, reply_limits) {
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

/// Answers a request on the compute threads.
fn compute(
    service: Arc<Service>,
    lending: Option<Arc<Lending>>,
    frame: ReceivedFrame,
    sender: oneshot::Sender<Answered>,
) {
    rayon::spawn(move || {
        let started = (service.now)();
        if let Some(reply) = reply_to(&service, lending.as_deref(), frame) {
            metrics::histogram!("pangea_compute_reply_seconds")
                .record((service.now)().saturating_sub(started).as_secs_f64());
            // Nobody receives it if the worker has left.
            let _ = sender.send(reply);
        }
    });
}

/// The reply to a frame. None only if not even a refusal can be encoded.
fn reply_to(
    service: &Service,
    lending: Option<&Lending>,
    frame: ReceivedFrame,
) -> Option<Answered> {
    let limits = &service.reply_limits;
    let reader = frame.into_reader(&Limits::with_frame_bytes(MAX_REQUEST_BYTES));
    let root = match reader.get_root::<message::Reader<'_>>() {
        Ok(root) => root,
        Err(error) => {
            let detail = format!("malformed message: {error}");
            return refuse(
                0,
                &Refusal::new(ErrorAction::FixRequest, MessageType::Unspecified, detail),
                limits,
            );
        }
    };
    let id = root.get_request_id();
    // A panic on a compute thread would abort the process, and with it the connections of all other
    // workers.
    let refusal = match catch_unwind(AssertUnwindSafe(|| answer(service, lending, root, id))) {
        Ok(Ok(reply)) => return Some(reply),
        Ok(Err(refusal)) => refusal,
        Err(_) => Refusal::new(
            ErrorAction::FixRequest,
            root.get_type().unwrap_or(MessageType::Unspecified),
            "this request triggers a bug in the data service; its log says where, please report it",
        ),
    };
    refuse(id, &refusal, limits)
}

fn refuse(id: u64, refusal: &Refusal, limits: &Limits) -> Option<Answered> {
    metrics::counter!("pangea_compute_refusals_total").increment(1);
    tracing::warn!(reason = refusal.detail, "refused a request");
    refusal
        .frame(id, limits)
        .inspect_err(|error| tracing::error!(%error, "cannot encode a refusal"))
        .ok()
        .map(|frame| (None, frame))
}

fn answer(
    service: &Service,
    lending: Option<&Lending>,
    root: message::Reader<'_>,
    id: u64,
) -> Result<Answered, Refusal> {
    let kind = message_type(root).map_err(|error| {
        Refusal::new(
            ErrorAction::FixRequest,
            MessageType::Unspecified,
            error.to_string(),
        )
    })?;
    let wrong = |detail: String| Refusal::new(ErrorAction::FixRequest, kind, detail);
    let failed = |error: WireError| match error {
        WireError::OutOfMemory { .. } | WireError::LimitExceeded { .. } => Refusal::new(
            ErrorAction::RetryLater,
            kind,
            format!("there is not enough memory for the reply now: {error}"),
        ),
        other => wrong(other.to_string()),
    };
    match root.which() {
        Ok(message::DatasetRequest(_)) => {
            let info = dataset_info(id, &service.batches.dataset, &service.reply_limits);
            Ok((None, info.map_err(failed)?))
        }
        Ok(message::BatchRequest(request)) => {
            let request = request.map_err(|error| wrong(format!("malformed message: {error}")))?;
            // First: what was released is free, whatever is wrong with the rest of the request.
            release(lending, request).map_err(wrong)?;
            let request = Request::read(request, &service.batches.dataset)
                .map_err(|error| wrong(error.to_string()))?;
            let batch = service
                .batches
                .answer(id, &request, &service.reply_limits, lending)
                .map_err(failed)?;
            metrics::counter!("pangea_compute_batches_total").increment(1);
            metrics::counter!("pangea_compute_samples_total")
                .increment((request.end - request.start) as u64);
            Ok((batch.new_region, batch.frame))
        }
        _ => Err(wrong(
            "a data service takes datasetRequest and batchRequest; this is neither".to_owned(),
        )),
    }
}

/// Takes back the regions that the worker no longer reads.
fn release(lending: Option<&Lending>, request: batch_request::Reader<'_>) -> Result<(), String> {
    let released = request.get_released();
    let released = released.map_err(|error| format!("malformed message: {error}"))?;
    if released.is_empty() {
        return Ok(());
    }
    let unknown = |id| format!("region {id} is released, but this worker was not lent it");
    match lending {
        Some(lending) => lending.release(released).map_err(unknown),
        None => Err("memory is lent over Unix sockets only, and something is released".to_owned()),
    }
}

#[cfg(test)]
#[path = "connection_test.rs"]
mod tests;
