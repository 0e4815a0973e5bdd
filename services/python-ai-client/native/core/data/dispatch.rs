//! Which batches are asked for, from which replica, and what became of it. No clock, no socket: the times come from the caller.
//!
//! A question belongs to the replica with the fewest open ones. It moves on when that replica is lost, and is asked a second time
//! elsewhere (a hedge) when its answer is late; the first answer counts, and a later one must have the same hash.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::lateness::Lateness;
use super::{Batch, BatchKey};
use crate::error::CoreError;
use crate::values::DatasetInfo;

/// The first request of a connection. Those of batches have the ids after it.
pub(crate) const DATASET_REQUEST: u64 = 1;
/// Most requests without a collected answer: bounds the memory of batches that wait.
const MAX_AHEAD: usize = 256;
/// So many broken answers to one question are no accident.
const MOST_BROKEN: u32 = 3;

/// A question on its way to a replica or at it.
struct Ask {
    serial: u64,
    key: BatchKey,
    at: Instant,
    /// Of the request, once it is being sent.
    request: Option<u64>,
}

/// A replica's place.
struct Seat {
    address: String,
    connected: bool,
    /// In the order of sending, which is that of the answers.
    asks: VecDeque<Ask>,
    last_request: u64,
    /// Over the life of the client, so that replicas take turns.
    asked: u64,
    /// Why it is not connected.
    trouble: String,
    /// Trying again will not mend that by itself.
    refused: bool,
}

struct Question {
    key: BatchKey,
    /// The replicas that have it, and since when.
    seats: Vec<(usize, Instant)>,
    broken: u32,
}

/// What is known of a question whose second answer is still on its way.
struct Settled {
    hash: Vec<u8>,
    seat: usize,
}

pub(crate) struct Book {
    seats: Vec<Seat>,
    /// By serial number, which is the order of asking.
    open: BTreeMap<u64, Question>,
    last_serial: u64,
    settled: HashMap<u64, Settled>,
    /// Not collected yet. Only refusals and broken batches are errors here.
    answers: HashMap<BatchKey, Result<Batch, CoreError>>,
    lateness: Lateness,
    /// What the first replica served, and its place.
    dataset: Option<(DatasetInfo, usize)>,
    unreachable_since: Option<Instant>,
    patience: Duration,
    /// Why there is nothing more to come, once that is so.
    ended: Option<String>,
}

impl Book {
    /// For the replicas at `addresses`. Without any of them for `patience`, questions are answered with an error.
    pub(crate) fn new(addresses: &[String], patience: Duration) -> Self {
        let seat = |address: &String| Seat {
            address: address.clone(),
            connected: false,
            asks: VecDeque::new(),
            last_request: 0,
            asked: 0,
            trouble: "has not answered yet".to_owned(),
            refused: false,
        };
        Self {
            seats: addresses.iter().map(seat).collect(),
            open: BTreeMap::new(),
            last_serial: 0,
            settled: HashMap::new(),
            answers: HashMap::new(),
            lateness: Lateness::default(),
            dataset: None,
            unreachable_since: None,
            patience,
            ended: None,
        }
    }

    /// Nothing more will come.
    pub(crate) fn end(&mut self, reason: String) {
        self.ended.get_or_insert(reason);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    pub(crate) fn is_connected(&self, seat: usize) -> bool {
        self.seats[seat].connected
    }

    /// The addresses, each with whether it can be asked now.
    pub(crate) fn replicas(&self) -> Vec<(String, bool)> {
        let state = |seat: &Seat| (seat.address.clone(), seat.connected);
        self.seats.iter().map(state).collect()
    }

    /// All addresses.
    pub(crate) fn addresses(&self) -> String {
        let addresses: Vec<_> = self.seats.iter().map(|seat| &*seat.address).collect();
        addresses.join(", ")
    }

    /// What keeps each replica from being used.
    pub(crate) fn troubles(&self) -> String {
        if let [only] = self.seats.as_slice() {
            return only.trouble.clone();
        }
        let trouble = |seat: &Seat| format!("{}: {}", seat.address, seat.trouble);
        let troubles: Vec<_> = self.seats.iter().map(trouble).collect();
        troubles.join("; ")
    }

    /// What is served, once a replica has said so.
    pub(crate) fn dataset(&self) -> Option<&DatasetInfo> {
        self.dataset.as_ref().map(|(info, _)| info)
    }

    /// Why waiting is of no use, if that is so.
    pub(crate) fn hopeless(&self, now: Instant) -> Option<CoreError> {
        if let Some(reason) = &self.ended {
            return Some(CoreError::Lost {
                address: self.addresses(),
                reason: reason.clone(),
            });
        }
        if self.seats.iter().all(|seat| seat.refused) {
            return Some(CoreError::Lost {
                address: self.addresses(),
                reason: self.troubles(),
            });
        }
        let since = self.unreachable_since?;
        (now.saturating_duration_since(since) >= self.patience).then(|| CoreError::Unreachable {
            addresses: self.addresses(),
            seconds: self.patience.as_secs_f64(),
            troubles: self.troubles(),
        })
    }

    /// Notes a question, unless it is there already.
    pub(crate) fn ask(&mut self, key: BatchKey, now: Instant) -> Result<(), CoreError> {
        let known = self.open.values().any(|question| question.key == key);
        if known || self.answers.contains_key(&key) {
            return Ok(());
        }
        if self.open.len() + self.answers.len() >= MAX_AHEAD {
            return Err(CoreError::Argument(format!(
                "{MAX_AHEAD} batches were asked for and not collected: collect some before asking for more"
            )));
        }
        self.last_serial += 1;
        let question = Question {
            key,
            seats: Vec::new(),
            broken: 0,
        };
        self.open.insert(self.last_serial, question);
        self.assign(self.last_serial, now);
        Ok(())
    }

    /// The answer, if it is there.
    pub(crate) fn collect(&mut self, key: &BatchKey) -> Option<Result<Batch, CoreError>> {
        self.answers.remove(key)
    }

    /// Gives an open question that nobody has to a connected replica, if there is one.
    fn assign(&mut self, serial: u64, now: Instant) {
        let seats = self.seats.iter().enumerate();
        let best = seats
            .filter(|(_, seat)| seat.connected)
            .min_by_key(|(_, seat)| (seat.asks.len(), seat.asked));
        if let Some((seat, _)) = best {
            self.give(serial, seat, now);
        }
    }

    fn give(&mut self, serial: u64, seat: usize, now: Instant) {
        let Some(question) = self.open.get_mut(&serial) else {
            return;
        };
        question.seats.push((seat, now));
        let ask = Ask {
            serial,
            key: question.key,
            at: now,
            request: None,
        };
        self.seats[seat].asked += 1;
        self.seats[seat].asks.push_back(ask);
    }

    /// A replica can be asked from now on. Refused, with the reason, if it serves other data than the first one did.
    pub(crate) fn connected(
        &mut self,
        seat: usize,
        info: DatasetInfo,
        now: Instant,
    ) -> Result<(), String> {
        let (known, first) = self.dataset.get_or_insert_with(|| (info.clone(), seat));
        if known.hash != info.hash {
            let (of_this, of_first) = (short(&info.hash), short(&known.hash));
            return Err(format!(
                "{} serves the dataset `{}` with hash {of_this}, but {} served `{}` with hash {of_first}: \
                 let all replicas serve the same data, and name only those that do",
                self.seats[seat].address, info.name, self.seats[*first].address, known.name,
            ));
        }
        self.seats[seat].connected = true;
        self.seats[seat].refused = false;
        self.seats[seat].last_request = DATASET_REQUEST;
        self.unreachable_since = None;
        let homeless = self.open.iter();
        let homeless = homeless.filter(|(_, question)| question.seats.is_empty());
        let homeless: Vec<_> = homeless.map(|(serial, _)| *serial).collect();
        for serial in homeless {
            self.assign(serial, now);
        }
        Ok(())
    }

    /// A replica cannot be asked any more. [`lost`](Self::lost) says what to do about it.
    pub(crate) fn disconnected(&mut self, seat: usize) {
        self.seats[seat].connected = false;
    }

    /// What a replica was asked is lost, or it could not be reached; others get its questions. `broken` says what was wrong with
    /// the answer to its oldest one.
    pub(crate) fn lost(
        &mut self,
        seat: usize,
        trouble: String,
        refused: bool,
        broken: Option<CoreError>,
        now: Instant,
    ) {
        let place = &mut self.seats[seat];
        (place.connected, place.trouble, place.refused) = (false, trouble, refused);
        let asks = std::mem::take(&mut place.asks);
        if self.dataset.is_some() && self.seats.iter().all(|seat| !seat.connected) {
            self.unreachable_since.get_or_insert(now);
        }
        for ask in &asks {
            self.settled.remove(&ask.serial);
            if let Some(question) = self.open.get_mut(&ask.serial) {
                question.seats.retain(|(other, _)| *other != seat);
            }
        }
        let oldest = asks.front().filter(|ask| ask.request.is_some());
        if let (Some(error), Some(ask)) = (broken, oldest) {
            self.blame(ask.serial, error);
        }
        for ask in asks {
            let open = self.open.get(&ask.serial);
            if open.is_some_and(|question| question.seats.is_empty()) {
                self.assign(ask.serial, now);
            }
        }
    }

    /// Bytes that were damaged on their way are right the next time; a question whose answers are always broken is given up.
    fn blame(&mut self, serial: u64, error: CoreError) {
        let Some(question) = self.open.get_mut(&serial) else {
            return;
        };
        question.broken += 1;
        if question.broken >= MOST_BROKEN && question.seats.is_empty() {
            self.answers.insert(question.key, Err(error));
            self.open.remove(&serial);
        }
    }

    /// The next request to send to a replica: its id and key. If nothing is new, a question that another replica is late with.
    pub(crate) fn next(&mut self, seat: usize, now: Instant) -> Option<(u64, BatchKey)> {
        if self.seats[seat]
            .asks
            .back()
            .is_none_or(|ask| ask.request.is_some())
        {
            let (serial, _) = self.hedges(seat).find(|(_, due)| *due <= now)?;
            self.give(serial, seat, now);
        }
        let place = &mut self.seats[seat];
        let ask = place.asks.iter_mut().find(|ask| ask.request.is_none())?;
        place.last_request += 1;
        ask.request = Some(place.last_request);
        Some((place.last_request, ask.key))
    }

    /// When the next question of another replica becomes late, as things stand.
    pub(crate) fn next_late(&self, seat: usize) -> Option<Instant> {
        self.hedges(seat).map(|(_, due)| due).min()
    }

    /// The questions that only one other replica has, with when they are late.
    fn hedges(&self, seat: usize) -> impl Iterator<Item = (u64, Instant)> + '_ {
        let patience = self.lateness.patience();
        self.open.iter().filter_map(move |(serial, question)| {
            match (question.seats.as_slice(), patience) {
                ([(other, at)], Some(patience)) if *other != seat => {
                    Some((*serial, *at + patience))
                }
                _ => None,
            }
        })
    }

    /// The oldest request that a replica has not answered.
    pub(crate) fn oldest(&self, seat: usize) -> Option<(u64, BatchKey)> {
        let ask = self.seats[seat].asks.front()?;
        Some((ask.request?, ask.key))
    }

    /// Files the answer to the oldest request of a replica.
    pub(crate) fn settle(&mut self, seat: usize, answer: Result<Batch, CoreError>, now: Instant) {
        let Some(ask) = self.seats[seat].asks.pop_front() else {
            return;
        };
        if answer.is_ok() {
            self.lateness.observe(now.saturating_duration_since(ask.at));
        }
        if let Some(first) = self.settled.remove(&ask.serial) {
            self.compare(&first, seat, answer);
            return;
        }
        let Some(question) = self.open.remove(&ask.serial) else {
            return;
        };
        for (other, _) in question.seats {
            if other == seat {
                continue;
            }
            let asks = &mut self.seats[other].asks;
            asks.retain(|other| other.serial != ask.serial || other.request.is_some());
            let sent = asks.iter().any(|other| other.serial == ask.serial);
            if let (true, Ok(batch)) = (sent, &answer) {
                let hash = batch.hash.clone();
                self.settled.insert(ask.serial, Settled { hash, seat });
            }
        }
        self.answers.insert(ask.key, answer);
    }

    /// Two replicas that differ cannot be told apart, so that nothing they gave is handed out any more.
    fn compare(&mut self, first: &Settled, seat: usize, answer: Result<Batch, CoreError>) {
        let Ok(batch) = answer else { return };
        if batch.hash == first.hash {
            return;
        }
        let (one, other) = (&self.seats[first.seat].address, &self.seats[seat].address);
        let (split, epoch, step, shard) =
            (batch.split.name(), batch.epoch, batch.step, batch.shard);
        self.ended.get_or_insert(format!(
            "{one} and {other} gave different batches for shard {shard} of step {step} of epoch {epoch} ({split}), with the hashes {} \
             and {}: one of them is wrong, take the data from the raw files again and stop what serves other bytes",
            short(&first.hash),
            short(&batch.hash),
        ));
        self.answers.clear();
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
