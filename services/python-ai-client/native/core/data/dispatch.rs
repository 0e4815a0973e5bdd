//! Decides which batch is requested from which replica, and what becomes of each request.
//!
//! It holds neither a clock nor a socket: the caller passes the time in. A request goes to the
//! connected replica with the fewest requests in flight. When that replica is lost, the request
//! moves to another one; when its reply is late, another replica is asked as well (a hedge). The
//! first reply counts, and the second one must have the same hash.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::lateness::Lateness;
use super::{Batch, BatchKey};
use crate::error::CoreError;
use crate::values::DatasetInfo;

/// Id of the first request of a connection. Batch requests count on from it.
pub(crate) const DATASET_REQUEST: u64 = 1;
/// Limit of requests whose replies have not been collected, which bounds the memory of the batches
/// that wait.
const MAX_AHEAD: usize = 256;
/// A request whose replies are corrupt this often has not been damaged by accident: it fails with
/// that error.
const MAX_CORRUPT_REPLIES: u32 = 3;

/// A request that is queued for one replica, or that the replica has not answered yet.
struct InFlight {
    serial: u64,
    key: BatchKey,
    since: Instant,
    /// `Message.requestId` on this connection; `None` until it is sent.
    id: Option<u64>,
}

/// What is known of one replica.
struct ReplicaSlot {
    address: String,
    /// The way in which it was reached last, if it can be reached in several.
    used: Option<String>,
    connected: bool,
    /// In the order of sending, which is the order of the replies.
    in_flight: VecDeque<InFlight>,
    last_id: u64,
    /// Requests over the life of the client, so that replicas take turns.
    assigned: u64,
    /// Why it is not connected.
    last_error: String,
    /// Whether a person has to act before it can be used: reconnecting alone will not help.
    refused: bool,
}

/// A request that has no reply yet.
struct Request {
    key: BatchKey,
    /// The slots it is in flight on, and since when: none while no replica is connected, two when
    /// it is hedged.
    slots: Vec<(usize, Instant)>,
    corrupt_replies: u32,
}

/// The reply that counted, for comparison with the second one of a hedged request.
struct FirstReply {
    hash: Vec<u8>,
    slot: usize,
}

pub(crate) struct Dispatcher {
    slots: Vec<ReplicaSlot>,
    /// By serial number, which is the order in which the caller made them.
    open: BTreeMap<u64, Request>,
    last_serial: u64,
    /// Answered requests whose second reply is still on its way, by serial number.
    awaiting_duplicate: HashMap<u64, FirstReply>,
    /// Replies that have not been collected. An error is a refusal, or what was wrong with corrupt
    /// replies.
    replies: HashMap<BatchKey, Result<Batch, CoreError>>,
    lateness: Lateness,
    /// What the first replica serves, and its slot. All others must serve the same data.
    dataset: Option<(DatasetInfo, usize)>,
    /// Since when no replica is connected, once one was.
    unreachable_since: Option<Instant>,
    patience: Duration,
    /// The error that ended the client for good.
    closed: Option<Closed>,
}

/// Why a client gives nothing any more.
enum Closed {
    ByProgram(String),
    /// Replicas gave different bytes for the same request.
    ReplicasDiffer(String),
}

impl Dispatcher {
    /// For the replicas at `addresses`. When none has been connected for `patience`, waiting
    /// callers get an error.
    pub(crate) fn new(addresses: &[String], patience: Duration) -> Self {
        let slot = |address: &String| ReplicaSlot {
            address: address.clone(),
            used: None,
            connected: false,
            in_flight: VecDeque::new(),
            last_id: 0,
            assigned: 0,
            last_error: "has not answered yet".to_owned(),
            refused: false,
        };
        Self {
            slots: addresses.iter().map(slot).collect(),
            open: BTreeMap::new(),
            last_serial: 0,
            awaiting_duplicate: HashMap::new(),
            replies: HashMap::new(),
            lateness: Lateness::default(),
            dataset: None,
            unreachable_since: None,
            patience,
            closed: None,
        }
    }

    /// Ends the client, unless an earlier error already did.
    pub(crate) fn close(&mut self, reason: &str) {
        self.closed
            .get_or_insert_with(|| Closed::ByProgram(reason.to_owned()));
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    pub(crate) fn is_connected(&self, slot: usize) -> bool {
        self.slots[slot].connected
    }

    /// The address of each replica (the one in use, once it was connected), and whether it is
    /// connected.
    pub(crate) fn replicas(&self) -> Vec<(String, bool)> {
        let state = |slot: &ReplicaSlot| {
            let address = slot.used.as_ref().unwrap_or(&slot.address);
            (address.clone(), slot.connected)
        };
        self.slots.iter().map(state).collect()
    }

    /// Whether there are several replicas, so that a late one's requests may go to another.
    pub(crate) fn has_several(&self) -> bool {
        self.slots.len() > 1
    }

    /// A replica was reached at this one of its addresses.
    pub(crate) fn reached(&mut self, slot: usize, address: String) {
        self.slots[slot].used = Some(address);
    }

    /// All addresses, separated by commas.
    pub(crate) fn addresses(&self) -> String {
        let addresses: Vec<_> = self.slots.iter().map(|slot| &*slot.address).collect();
        addresses.join(", ")
    }

    /// The last error of each replica.
    pub(crate) fn last_errors(&self) -> String {
        if let [only] = self.slots.as_slice() {
            return only.last_error.clone();
        }
        let error = |slot: &ReplicaSlot| format!("{}: {}", slot.address, slot.last_error);
        let errors: Vec<_> = self.slots.iter().map(error).collect();
        errors.join("; ")
    }

    /// What is served, once a replica has described it.
    pub(crate) fn dataset(&self) -> Option<&DatasetInfo> {
        self.dataset.as_ref().map(|(info, _)| info)
    }

    /// The error that a waiting caller gets, if waiting longer is useless.
    pub(crate) fn fatal_error(&self, now: Instant) -> Option<CoreError> {
        match &self.closed {
            Some(Closed::ByProgram(reason)) => {
                return Some(CoreError::Closed {
                    address: self.addresses(),
                    reason: reason.clone(),
                })
            }
            Some(Closed::ReplicasDiffer(reason)) => {
                return Some(CoreError::Unusable {
                    addresses: self.addresses(),
                    reason: reason.clone(),
                })
            }
            None => {}
        }
        if self.slots.iter().all(|slot| slot.refused) {
            return Some(CoreError::Unusable {
                addresses: self.addresses(),
                reason: self.last_errors(),
            });
        }
        let since = self.unreachable_since?;
        (now.saturating_duration_since(since) >= self.patience).then(|| CoreError::Unreachable {
            addresses: self.addresses(),
            seconds: self.patience.as_secs_f64(),
            errors: self.last_errors(),
        })
    }

    /// Takes a request, unless it is known already. Returns whether it is new.
    pub(crate) fn request(&mut self, key: BatchKey, now: Instant) -> Result<bool, CoreError> {
        let known = self.replies.contains_key(&key);
        if known || self.open.values().any(|request| request.key == key) {
            return Ok(false);
        }
        if self.open.len() + self.replies.len() >= MAX_AHEAD {
            return Err(CoreError::Argument(format!(
                "{MAX_AHEAD} batches are requested and not collected; collect some before requesting more"
            )));
        }
        self.last_serial += 1;
        let request = Request {
            key,
            slots: Vec::new(),
            corrupt_replies: 0,
        };
        self.open.insert(self.last_serial, request);
        self.assign(self.last_serial, now);
        Ok(true)
    }

    /// The reply, if it has arrived.
    pub(crate) fn collect(&mut self, key: &BatchKey) -> Option<Result<Batch, CoreError>> {
        self.replies.remove(key)
    }

    /// Forgets requests whose replies nobody will collect. One that was sent is still answered, and
    /// the reply dropped.
    pub(crate) fn discard(&mut self, keys: &[BatchKey]) {
        for key in keys {
            self.replies.remove(key);
            let open = self.open.iter().find(|(_, request)| request.key == *key);
            let Some(serial) = open.map(|(serial, _)| *serial) else {
                continue;
            };
            self.open.remove(&serial);
            for slot in &mut self.slots {
                let unsent = |queued: &InFlight| queued.serial == serial && queued.id.is_none();
                slot.in_flight.retain(|queued| !unsent(queued));
            }
        }
    }

    /// Gives an unassigned request to a connected replica, if there is one.
    fn assign(&mut self, serial: u64, now: Instant) {
        let slots = self.slots.iter().enumerate();
        let best = slots
            .filter(|(_, slot)| slot.connected)
            .min_by_key(|(_, slot)| (slot.in_flight.len(), slot.assigned));
        if let Some((slot, _)) = best {
            self.queue(serial, slot, now);
        }
    }

    fn queue(&mut self, serial: u64, slot: usize, now: Instant) {
        let Some(request) = self.open.get_mut(&serial) else {
            return;
        };
        request.slots.push((slot, now));
        let queued = InFlight {
            serial,
            key: request.key,
            since: now,
            id: None,
        };
        self.slots[slot].assigned += 1;
        self.slots[slot].in_flight.push_back(queued);
    }

    /// A replica is connected and can be used. Fails, with the reason, if it serves different data
    /// than the first one did.
    pub(crate) fn connected(
        &mut self,
        slot: usize,
        info: DatasetInfo,
        now: Instant,
    ) -> Result<(), String> {
        let (known, first) = self.dataset.get_or_insert_with(|| (info.clone(), slot));
        if known.hash != info.hash {
            let (of_this, of_first) = (short(&info.hash), short(&known.hash));
            return Err(format!(
                "{} serves the dataset `{}` with hash {of_this}, but {} served `{}` with hash {of_first}: \
                 let all replicas serve the same data, and name only those that do",
                self.slots[slot].address, info.name, self.slots[*first].address, known.name,
            ));
        }
        self.slots[slot].connected = true;
        self.slots[slot].refused = false;
        self.slots[slot].last_id = DATASET_REQUEST;
        self.unreachable_since = None;
        let unassigned = self.open.iter();
        let unassigned = unassigned.filter(|(_, request)| request.slots.is_empty());
        let unassigned: Vec<_> = unassigned.map(|(serial, _)| *serial).collect();
        for serial in unassigned {
            self.assign(serial, now);
        }
        Ok(())
    }

    /// A replica takes no more requests. [`lost`](Self::lost) follows and reassigns what it has.
    pub(crate) fn disconnected(&mut self, slot: usize) {
        self.slots[slot].connected = false;
    }

    /// A connection was lost, or could not be made: its requests move to other replicas. `corrupt`
    /// is the error in the reply to its oldest request, if that is why the connection was closed.
    pub(crate) fn lost(
        &mut self,
        slot: usize,
        error: String,
        refused: bool,
        corrupt: Option<CoreError>,
        now: Instant,
    ) {
        let replica = &mut self.slots[slot];
        (replica.connected, replica.last_error, replica.refused) = (false, error, refused);
        let in_flight = std::mem::take(&mut replica.in_flight);
        if self.dataset.is_some() && self.slots.iter().all(|slot| !slot.connected) {
            self.unreachable_since.get_or_insert(now);
        }
        for lost in &in_flight {
            self.awaiting_duplicate.remove(&lost.serial);
            if let Some(request) = self.open.get_mut(&lost.serial) {
                request.slots.retain(|(other, _)| *other != slot);
            }
        }
        let oldest = in_flight.front().filter(|lost| lost.id.is_some());
        if let (Some(error), Some(oldest)) = (corrupt, oldest) {
            self.record_corrupt_reply(oldest.serial, error);
        }
        for lost in in_flight {
            let open = self.open.get(&lost.serial);
            if open.is_some_and(|request| request.slots.is_empty()) {
                self.assign(lost.serial, now);
            }
        }
    }

    /// Bytes that were damaged in transit are right the next time, so the request is repeated; one
    /// whose replies are always corrupt fails.
    fn record_corrupt_reply(&mut self, serial: u64, error: CoreError) {
        let Some(request) = self.open.get_mut(&serial) else {
            return;
        };
        request.corrupt_replies += 1;
        if request.corrupt_replies >= MAX_CORRUPT_REPLIES && request.slots.is_empty() {
            self.replies.insert(request.key, Err(error));
            self.open.remove(&serial);
        }
    }

    /// The next request to send to a replica: its id and key. If it has no new one, a request that
    /// another replica is late with.
    pub(crate) fn next_to_send(&mut self, slot: usize, now: Instant) -> Option<(u64, BatchKey)> {
        let newest = self.slots[slot].in_flight.back();
        if newest.is_none_or(|request| request.id.is_some()) {
            let (serial, _) = self.hedges(slot).find(|(_, due)| *due <= now)?;
            self.queue(serial, slot, now);
        }
        let replica = &mut self.slots[slot];
        let next = replica
            .in_flight
            .iter_mut()
            .find(|request| request.id.is_none())?;
        replica.last_id += 1;
        next.id = Some(replica.last_id);
        Some((replica.last_id, next.key))
    }

    /// When the next request of another replica becomes late, as things stand.
    pub(crate) fn next_hedge_at(&self, slot: usize) -> Option<Instant> {
        self.hedges(slot).map(|(_, due)| due).min()
    }

    /// The requests that are in flight on one other replica only, and when each becomes late.
    fn hedges(&self, slot: usize) -> impl Iterator<Item = (u64, Instant)> + '_ {
        let patience = self.lateness.patience();
        self.open.iter().filter_map(move |(serial, request)| {
            match (request.slots.as_slice(), patience) {
                ([(other, since)], Some(patience)) if *other != slot => {
                    Some((*serial, *since + patience))
                }
                _ => None,
            }
        })
    }

    /// The oldest request that was sent to a replica and has no reply: the one that its next reply
    /// must answer.
    pub(crate) fn oldest_sent(&self, slot: usize) -> Option<(u64, BatchKey)> {
        let oldest = self.slots[slot].in_flight.front()?;
        Some((oldest.id?, oldest.key))
    }

    /// Takes the reply to the oldest request of a replica.
    pub(crate) fn record_reply(
        &mut self,
        slot: usize,
        reply: Result<Batch, CoreError>,
        now: Instant,
    ) {
        let Some(answered) = self.slots[slot].in_flight.pop_front() else {
            return;
        };
        if reply.is_ok() {
            let took = now.saturating_duration_since(answered.since);
            self.lateness.observe(took);
        }
        if let Some(first) = self.awaiting_duplicate.remove(&answered.serial) {
            self.compare(&first, slot, reply);
            return;
        }
        let Some(request) = self.open.remove(&answered.serial) else {
            return;
        };
        for (other, _) in request.slots {
            if other == slot {
                continue;
            }
            let in_flight = &mut self.slots[other].in_flight;
            in_flight.retain(|hedge| hedge.serial != answered.serial || hedge.id.is_some());
            let sent = in_flight
                .iter()
                .any(|hedge| hedge.serial == answered.serial);
            if let (true, Ok(batch)) = (sent, &reply) {
                let hash = batch.hash.clone();
                let first = FirstReply { hash, slot };
                self.awaiting_duplicate.insert(answered.serial, first);
            }
        }
        self.replies.insert(answered.key, reply);
    }

    /// Checks the second reply of a hedged request. If two replicas differ, nobody can say which
    /// one is right, so nothing that either of them gave is handed out any more.
    fn compare(&mut self, first: &FirstReply, slot: usize, reply: Result<Batch, CoreError>) {
        let Ok(batch) = reply else { return };
        if batch.hash == first.hash {
            return;
        }
        let (one, other) = (&self.slots[first.slot].address, &self.slots[slot].address);
        let (split, epoch, step, shard) =
            (batch.split.name(), batch.epoch, batch.step, batch.shard);
        let reason = format!(
            "{one} and {other} gave different batches for shard {shard} of step {step} of epoch {epoch} ({split}), with the hashes {} \
             and {}: one of them is wrong; rebuild the data from the raw files and stop the replica that serves different bytes",
            short(&first.hash),
            short(&batch.hash),
        );
        self.closed.get_or_insert(Closed::ReplicasDiffer(reason));
        self.replies.clear();
    }
}

/// The start of a hash, as people compare them.
fn short(hash: &[u8]) -> String {
    let digits = hash.iter().take(6).map(|byte| format!("{byte:02x}"));
    digits.collect()
}

#[cfg(test)]
#[path = "dispatch_test.rs"]
mod tests;
