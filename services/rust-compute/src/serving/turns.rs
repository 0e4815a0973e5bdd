//! Turns at work that only a few may do at a time. Whoever has asked for the least goes first, so a
//! peer that asks for a lot waits behind those that ask for little, and not they behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A limit on how much is done at a time. Clones share it.
#[derive(Clone)]
pub struct Turns(Arc<Mutex<State>>);

struct State {
    free: usize,
    /// By cost, and in the order of arrival among equals.
    waiting: BTreeMap<(u64, u64), oneshot::Sender<Turn>>,
    arrivals: u64,
}

/// The right to work, until dropped.
pub struct Turn(Option<Turns>);

impl Turns {
    pub fn new(at_a_time: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: at_a_time.max(1),
            waiting: BTreeMap::new(),
            arrivals: 0,
        })))
    }

    /// Waits for a turn, behind everybody with a lower `cost`. Whoever stops waiting loses its
    /// place and nothing else.
    pub async fn take(&self, cost: u64) -> Turn {
        let next = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Turn(Some(self.clone()));
            }
            let (sender, receiver) = oneshot::channel();
            let place = (cost, state.arrivals);
            state.arrivals += 1;
            state.waiting.insert(place, sender);
            receiver
        };
        // A sender is only dropped after it was used.
        next.await.unwrap_or(Turn(None))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a turn to the next one that still waits.
    fn pass_on(&self) {
        let mut state = self.lock();
        let mut turn = Turn(Some(self.clone()));
        while let Some((_, sender)) = state.waiting.pop_first() {
            match sender.send(turn) {
                Ok(()) => return,
                // It no longer waits.
                Err(refused) => turn = refused,
            }
        }
        // Not passed on again.
        turn.0 = None;
        state.free += 1;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls once: whether the future is ready.
    fn ready<T>(
        future: &mut std::pin::Pin<Box<impl std::future::Future<Output = T>>>,
    ) -> Option<T> {
        let waker = std::task::Waker::noop();
        match future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker))
        {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn the_cheapest_goes_first_and_equals_in_order_of_arrival() {
        let turns = Turns::new(1);
        let first = ready(&mut Box::pin(turns.take(9))).expect("free");
        let mut dear = Box::pin(turns.take(7));
        let mut cheap = Box::pin(turns.take(1));
        let mut later = Box::pin(turns.take(1));
        assert!(ready(&mut dear).is_none() && ready(&mut cheap).is_none());
        assert!(ready(&mut later).is_none());
        drop(first);
        assert!(ready(&mut dear).is_none() && ready(&mut later).is_none());
        drop(ready(&mut cheap).expect("its turn"));
        assert!(ready(&mut dear).is_none());
        drop(ready(&mut later).expect("its turn"));
        assert!(ready(&mut dear).is_some());
    }

    #[test]
    fn who_leaves_takes_no_turn_away() {
        let turns = Turns::new(1);
        let first = ready(&mut Box::pin(turns.take(0))).expect("free");
        let mut gone = Box::pin(turns.take(0));
        let mut given = Box::pin(turns.take(1));
        let mut last = Box::pin(turns.take(2));
        assert!(ready(&mut gone).is_none() && ready(&mut given).is_none());
        assert!(ready(&mut last).is_none());
        drop(gone);
        drop(first);
        // It has its turn, and leaves without having looked.
        drop(given);
        assert!(ready(&mut last).is_some());
        assert!(ready(&mut Box::pin(turns.take(0))).is_some());
    }
}
