//! The answer to one request: checked at once, then computed on the compute threads in its turn.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use pangea_wire::schema::{batch_request, message, ErrorAction, MessageType};
use pangea_wire::{message_type, Limits, Pool, ReceivedFrame, WireError};
use tokio::sync::oneshot;

use crate::activity::Activity;
use crate::batch::Batches;
use crate::connection::Patience;
use crate::lending::{Lending, LendingLimit, NewRegion};
use crate::order_cache::{Order, Usage};
use crate::reply::{dataset_info, Refusal, Reply};
use crate::request::Request;
use crate::sampled::Sampled;
use crate::turns::Turns;
use crate::wrongs::Wrongs;

/// Largest frame of a worker: requests are small.
pub const MAX_REQUEST_BYTES: u64 = 64 << 10;

/// State that all connections share.
pub struct Service {
    pub batches: Batches,
    /// The memory of requests and replies of all connections together.
    pub pool: Pool,
    /// How much of it is lent to workers on this machine.
    pub lending_limit: Arc<LendingLimit>,
    pub reply_limits: Limits,
    pub patience: Patience,
    /// Batches that are computed at a time: so few that no thread waits for another one for long.
    pub turns: Turns,
    /// Which refusals are logged.
    pub refusals: Sampled,
    /// The clock that replies are timed by: the time since an arbitrary moment.
    pub now: fn() -> Duration,
}

/// What is known of the worker at the other end.
pub struct Peer {
    pub activity: Arc<Activity>,
    /// The memory that it is lent, if it is on this machine.
    lending: Option<Lending>,
    usage: Usage,
    wrongs: Wrongs,
}

impl Peer {
    pub fn new(activity: Arc<Activity>, lending: Option<Lending>) -> Self {
        Self {
            activity,
            lending,
            usage: Usage::default(),
            wrongs: Wrongs::default(),
        }
    }
}

/// A reply, and the region that it is the first one to use.
pub type Answered = (Option<NewRegion>, Reply);

/// What a frame asks for.
enum Asked {
    /// Cheap enough to be answered at once.
    Done(Reply),
    Batch(u64, Request),
}

/// Answers a frame that `ahead` earlier ones of its connection are not answered before. Ends early
/// if nobody waits for the reply any more: the worker has left.
pub async fn respond(
    service: Arc<Service>,
    peer: Arc<Peer>,
    frame: ReceivedFrame,
    ahead: u64,
    mut reply: oneshot::Sender<Answered>,
) {
    let started = (service.now)();
    let answered = tokio::select! {
        biased;
        () = reply.closed() => return,
        answered = answer(&service, &peer, frame, ahead) => answered,
    };
    let seconds = (service.now)().saturating_sub(started).as_secs_f64();
    metrics::histogram!("pangea_compute_reply_seconds").record(seconds);
    if let Some(answered) = answered {
        // Nobody receives it if the worker has left.
        let _ = reply.send(answered);
    }
}

/// None only if not even a refusal can be encoded.
async fn answer(
    service: &Arc<Service>,
    peer: &Arc<Peer>,
    frame: ReceivedFrame,
    ahead: u64,
) -> Option<Answered> {
    // The same id in every case, so that a refusal finds its request.
    let mut id = 0;
    let asked = guarded(|| read(service, peer, frame, &mut id));
    let answered = match asked {
        Ok(Asked::Done(reply)) => Ok((None, reply)),
        Ok(Asked::Batch(id, request)) => batch(service, peer, id, request, ahead).await,
        Err(refusal) => Err(refusal),
    };
    answered
        .or_else(|refusal| refuse(service, id, &bounded(service, peer, refusal)))
        .ok()
}

/// The refusal, or the last one of a connection that sends wrong requests all the time. Whoever is
/// to ask again later has sent no wrong one.
fn bounded(service: &Service, peer: &Peer, refusal: Refusal) -> Refusal {
    if refusal.action == ErrorAction::RetryLater || peer.wrongs.admit((service.now)()) {
        return refusal;
    }
    // Nothing more is read; what was read is still answered.
    peer.activity.displace();
    Refusal {
        action: ErrorAction::Reconnect,
        detail: format!(
            "too many wrong requests, the last one because: {}; the connection is closed",
            refusal.detail
        ),
        ..refusal
    }
}

/// Runs `work`, and turns a panic into a refusal: it must not end the connections of other workers.
fn guarded<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(bug()))
}

fn bug() -> Refusal {
    Refusal::new(
        ErrorAction::FixRequest,
        MessageType::Unspecified,
        "this request triggers a bug in the data service; its log says where, please report it",
    )
}

fn refuse(service: &Service, id: u64, refusal: &Refusal) -> Result<Answered, WireError> {
    metrics::counter!("pangea_compute_refusals_total").increment(1);
    if let Some(left_out) = service.refusals.admit((service.now)()) {
        tracing::warn!(reason = refusal.detail, left_out, "refused a request");
    }
    let frame = refusal.frame(id, &service.reply_limits);
    let frame = frame.inspect_err(|error| tracing::error!(%error, "cannot encode a refusal"))?;
    Ok((None, frame))
}

/// Reads and checks a request, which costs little.
fn read(
    service: &Service,
    peer: &Peer,
    frame: ReceivedFrame,
    id: &mut u64,
) -> Result<Asked, Refusal> {
    let unreadable =
        |detail: String| Refusal::new(ErrorAction::FixRequest, MessageType::Unspecified, detail);
    let malformed = |error: capnp::Error| unreadable(format!("malformed message: {error}"));
    let reader = frame.into_reader(&Limits::with_frame_bytes(MAX_REQUEST_BYTES));
    let root = reader
        .get_root::<message::Reader<'_>>()
        .map_err(malformed)?;
    *id = root.get_request_id();
    let kind = message_type(root).map_err(|error| unreadable(error.to_string()))?;
    let wrong = |detail: String| Refusal::new(ErrorAction::FixRequest, kind, detail);
    match root.which() {
        Ok(message::DatasetRequest(_)) => {
            let info = dataset_info(*id, &service.batches.dataset, &service.reply_limits);
            Ok(Asked::Done(info.map_err(|error| failed(kind, error))?))
        }
        Ok(message::BatchRequest(request)) => {
            let request = request.map_err(|error| wrong(format!("malformed message: {error}")))?;
            // First: what was released is free, whatever is wrong with the rest of the request.
            release(peer.lending.as_ref(), request).map_err(wrong)?;
            let request = Request::read(request, &service.batches.dataset)
                .map_err(|error| wrong(error.to_string()))?;
            Ok(Asked::Batch(*id, request))
        }
        _ => Err(wrong(
            "a data service takes datasetRequest and batchRequest; this is neither".to_owned(),
        )),
    }
}

fn failed(kind: MessageType, error: WireError) -> Refusal {
    let (action, detail) = match error {
        WireError::OutOfMemory { .. } | WireError::LimitExceeded { .. } => {
            let detail = format!("there is not enough memory for the reply now: {error}");
            (ErrorAction::RetryLater, detail)
        }
        other => (ErrorAction::FixRequest, other.to_string()),
    };
    Refusal::new(action, kind, detail)
}

/// Makes a batch, on the compute threads unless it is small. The connection that waits for the
/// fewest goes first.
async fn batch(
    service: &Arc<Service>,
    peer: &Arc<Peer>,
    id: u64,
    request: Request,
    ahead: u64,
) -> Result<Answered, Refusal> {
    let failed = |error| failed(MessageType::BatchRequest, error);
    let order = service.batches.order(&request, &peer.usage).await;
    let order = order.map_err(failed)?;
    let turn = service.turns.take(ahead).await;
    if service.batches.is_small(&request) {
        let _turn = turn;
        return guarded(|| make(service, peer, id, &request, order).map_err(failed));
    }
    let (sender, made) = oneshot::channel();
    let (service, peer) = (service.clone(), peer.clone());
    rayon::spawn(move || {
        let _turn = turn;
        // The worker may have left while this was waiting.
        if !sender.is_closed() {
            let made = guarded(|| make(&service, &peer, id, &request, order).map_err(failed));
            let _ = sender.send(made);
        }
    });
    made.await.unwrap_or_else(|_| Err(bug()))
}

fn make(
    service: &Service,
    peer: &Peer,
    id: u64,
    request: &Request,
    order: Option<Arc<Order>>,
) -> Result<Answered, WireError> {
    let ids = order.as_deref().map_or(&[][..], |order| order);
    let (limits, lending) = (&service.reply_limits, peer.lending.as_ref());
    let batch = service.batches.answer(id, request, limits, ids, lending)?;
    metrics::counter!("pangea_compute_batches_total").increment(1);
    let samples = (request.end - request.start) as u64;
    metrics::counter!("pangea_compute_samples_total").increment(samples);
    Ok((batch.new_region, batch.frame))
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
