//! One worker's connection: requests are read ahead, answered on the compute threads, and the answers sent in order.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use pangea_wire::nonblocking::{write_frame, FrameReader};
use pangea_wire::schema::{message, ErrorAction, MessageType};
use pangea_wire::{message_type, FrameDecoder, Limits, Pool, ReceivedFrame, WireError};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};

use crate::serving::batch::Batches;
use crate::serving::reply::{dataset_info, Refusal, Reply};
use crate::serving::request::Request;

/// Requests are small; nobody may send more.
const MAX_REQUEST_BYTES: u64 = 64 << 10;
/// Answers of one connection that may be under way: bounds the memory that one worker can ask for.
const AHEAD: usize = 16;

/// What all connections share.
pub struct Service {
    pub batches: Batches,
    pub pool: Pool,
    pub reply_limits: Limits,
}

/// Serves one connection until the worker closes it, an error ends it, or the service stops. Requests that have come are answered.
pub async fn serve(
    service: Arc<Service>,
    mut stream: TcpStream,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), WireError> {
    let limits = Limits::with_frame_bytes(MAX_REQUEST_BYTES);
    let (reading, mut writing) = stream.split();
    let mut frames = FrameReader::new(reading, FrameDecoder::new(service.pool.clone(), limits));
    let (queue, mut answers) = mpsc::channel::<oneshot::Receiver<Reply>>(AHEAD);
    let timeout = service.reply_limits.progress_timeout;

    let sending = async {
        while let Some(answer) = answers.recv().await {
            // Without an answer (not even a refusal could be made), nothing more can be said in order.
            let Ok(reply) = answer.await else { break };
            metrics::counter!("pangea_compute_sent_bytes_total").increment(reply.len() as u64);
            write_frame(&mut writing, &reply, timeout).await?;
        }
        Ok(())
    };
    // Owns the queue's sending end: that closes when receiving ends, and what is in it is still sent.
    let (shared, reply_limits) = (&service, &service.reply_limits);
    let receiving = async move {
        loop {
            let next = tokio::select! {
                next = frames.read_frame() => next,
                _ = stopping.wait_for(|stop| *stop) => return Ok(()),
            };
            let (answer, pending) = oneshot::channel();
            if queue.send(pending).await.is_err() {
                return Ok(());
            }
            match next {
                Ok(Some(frame)) => compute(shared.clone(), frame, answer),
                Ok(None) => return Ok(()),
                Err(error) => {
                    let refusal = Refusal::new(
                        ErrorAction::Reconnect,
                        MessageType::Unspecified,
                        format!("{error}; the connection is closed"),
                    );
                    if let Ok(reply) = refusal.frame(0, reply_limits) {
                        // The sending side may have ended already.
                        let _ = answer.send(reply);
                    }
                    return Err(error);
                }
            }
        }
    };
    tokio::pin!(sending);
    // Sending ends first only if it cannot go on: then nobody takes answers, and there is no use in waiting for requests.
    let received = tokio::select! {
        received = receiving => received,
        sent = &mut sending => return sent,
    };
    received.and(sending.await)
}

/// Answers a request on the compute threads.
fn compute(service: Arc<Service>, frame: ReceivedFrame, answer: oneshot::Sender<Reply>) {
    rayon::spawn(move || {
        let started = Instant::now();
        if let Some(reply) = reply_to(&service, frame) {
            metrics::histogram!("pangea_compute_reply_seconds")
                .record(started.elapsed().as_secs_f64());
            // A worker that is gone needs no answer.
            let _ = answer.send(reply);
        }
    });
}

/// The answer to a frame. None only if not even a refusal can be encoded.
fn reply_to(service: &Service, frame: ReceivedFrame) -> Option<Reply> {
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
    // A panic on a compute thread would end the process, and with it the connections of all other workers.
    let refusal = match catch_unwind(AssertUnwindSafe(|| answer(service, root, id))) {
        Ok(Ok(reply)) => return Some(reply),
        Ok(Err(refusal)) => refusal,
        Err(_) => Refusal::new(
            ErrorAction::FixRequest,
            root.get_type().unwrap_or(MessageType::Unspecified),
            "the data service has an error that this request triggers; its log tells where, please report it",
        ),
    };
    refuse(id, &refusal, limits)
}

fn refuse(id: u64, refusal: &Refusal, limits: &Limits) -> Option<Reply> {
    metrics::counter!("pangea_compute_refusals_total").increment(1);
    tracing::warn!(reason = refusal.detail, "refused a request");
    refusal
        .frame(id, limits)
        .inspect_err(|error| tracing::error!(%error, "cannot encode a refusal"))
        .ok()
}

fn answer(service: &Service, root: message::Reader<'_>, id: u64) -> Result<Reply, Refusal> {
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
            format!("no memory for the answer now: {error}"),
        ),
        other => wrong(other.to_string()),
    };
    match root.which() {
        Ok(message::DatasetRequest(_)) => {
            dataset_info(id, &service.batches.dataset, &service.reply_limits).map_err(failed)
        }
        Ok(message::BatchRequest(request)) => {
            let request = request.map_err(|error| wrong(format!("malformed message: {error}")))?;
            let request = Request::read(request, &service.batches.dataset).map_err(wrong)?;
            let reply = service
                .batches
                .frame(id, &request, &service.reply_limits)
                .map_err(failed)?;
            metrics::counter!("pangea_compute_batches_total").increment(1);
            metrics::counter!("pangea_compute_samples_total")
                .increment((request.end - request.start) as u64);
            Ok(reply)
        }
        _ => Err(wrong(
            "a data service takes datasetRequest and batchRequest; this is neither".to_owned(),
        )),
    }
}

#[cfg(test)]
#[path = "connection_test.rs"]
mod tests;
