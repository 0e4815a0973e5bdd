//! Places for connections: a bounded number, of which one address has a part. If none is free, the
//! connection that has been idle longest makes room, so that silent ones keep nobody out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rust_compute_serving::Activity;

/// How many places there are, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub places: usize,
    /// Most places of one address. All local processes are one.
    pub per_address: usize,
    /// A connection that asked for something less than this ago keeps its place.
    pub recent: Duration,
}

/// Clones share the places.
#[derive(Clone)]
pub struct Places(Arc<Shared>);

struct Shared {
    allowance: Allowance,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    by_id: HashMap<u64, Entry>,
    last_id: u64,
}

struct Entry {
    address: Option<IpAddr>,
    activity: Arc<Activity>,
}

/// A place, until dropped.
pub struct Place {
    places: Places,
    id: u64,
    pub activity: Arc<Activity>,
}

impl Places {
    pub fn new(allowance: Allowance) -> Self {
        let taken = Mutex::default();
        Self(Arc::new(Shared { allowance, taken }))
    }

    /// A place for a connection from `address` (none: from this machine), free or taken from an
    /// idle one. None if all connections are in use.
    pub fn take(&self, address: Option<IpAddr>, now: Duration) -> Option<Place> {
        let mut taken = self.lock();
        let from_there = taken
            .by_id
            .values()
            .filter(|other| other.address == address);
        if from_there.count() >= self.0.allowance.per_address {
            self.displace(&mut taken, now, |other| other.address == address)?;
        } else if taken.by_id.len() >= self.0.allowance.places {
            self.displace(&mut taken, now, |_| true)?;
        }
        taken.last_id += 1;
        let (id, activity) = (taken.last_id, Arc::new(Activity::new(now)));
        let entry = Entry {
            address,
            activity: activity.clone(),
        };
        taken.by_id.insert(id, entry);
        let places = self.clone();
        Some(Place {
            places,
            id,
            activity,
        })
    }

    /// Takes the place of the connection that is missed least: one that never asked for anything,
    /// then the one that has been idle longest.
    fn displace(
        &self,
        taken: &mut Taken,
        now: Duration,
        among: impl Fn(&Entry) -> bool,
    ) -> Option<()> {
        let recent = self.0.allowance.recent;
        let idle = |(id, entry): (&u64, &Entry)| {
            let since = entry.activity.idle_since()?;
            let silent = entry.activity.is_silent();
            // However many arrive in a moment, the latest has the time until as many others have.
            let missed = !silent && now.saturating_sub(since) < recent;
            (among(entry) && !missed).then_some((!silent, since, *id))
        };
        let (_, _, id) = taken.by_id.iter().filter_map(idle).min()?;
        taken.by_id.remove(&id)?.activity.displace();
        Some(())
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // The map is whole between statements.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const RECENT: Duration = Duration::from_secs(1);
    const LATER: Duration = Duration::from_secs(60);

    fn places() -> Places {
        Places::new(Allowance {
            places: 4,
            per_address: 2,
            recent: RECENT,
        })
    }

    fn address(number: u8) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)))
    }

    /// Whether the connection was told to end.
    fn is_displaced(place: &Place) -> bool {
        let mut told = Box::pin(place.activity.displaced());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::future::Future::poll(told.as_mut(), &mut context).is_ready()
    }

    #[test]
    fn a_silent_connection_makes_room_and_then_the_one_that_was_idle_longest() {
        let places = places();
        let take = |number, now| places.take(address(number), now).expect("a place");
        let held: Vec<_> = (0..4).map(|number| take(number, Duration::ZERO)).collect();
        for (at, place) in held.iter().enumerate().filter(|(at, _)| *at != 2) {
            place.activity.begin();
            place.activity.rest(Duration::from_secs(9 - at as u64));
        }
        let _new = take(8, LATER);
        assert!(is_displaced(&held[2]));
        let _next = take(9, LATER);
        assert!(is_displaced(&held[3]) && !is_displaced(&held[0]));
    }

    #[test]
    fn many_at_once_that_say_nothing_keep_nobody_out() {
        let places = places();
        let held: Vec<_> = (0..100)
            .map(|at| places.take(address(at), LATER).expect("a place"))
            .collect();
        assert!(held[..96].iter().all(is_displaced));
        assert!(!held[96..].iter().any(is_displaced));
    }

    #[test]
    fn one_address_does_not_take_the_places_of_others() {
        let places = places();
        let other = places.take(address(1), Duration::ZERO).expect("free");
        let held: Vec<_> = (0..50).map(|_| places.take(address(2), LATER)).collect();
        let left = held.iter().flatten().filter(|place| !is_displaced(place));
        assert_eq!(left.count(), 2);
        assert!(!is_displaced(&other));
        let local = places.take(None, LATER);
        assert!(local.is_some() && !is_displaced(&other));
    }

    #[test]
    fn a_connection_that_is_in_use_keeps_its_place() {
        let places = places();
        let held: Vec<_> = (0..4)
            .filter_map(|at| places.take(address(at), LATER))
            .collect();
        for place in &held {
            place.activity.begin();
        }
        assert!(places.take(address(9), LATER * 2).is_none());
        held[0].activity.rest(LATER * 2);
        assert!(places.take(address(9), LATER * 2).is_none());
        assert!(places.take(address(9), LATER * 2 + RECENT).is_some());
        drop(held);
        assert_eq!(places.lock().by_id.len(), 0);
    }
}
