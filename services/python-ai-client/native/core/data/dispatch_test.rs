use pangea_wire::{DType, Pool, TensorSpec};

use super::*;
use crate::clock;
use crate::data::{Split, Tensor};
use pangea_content_hash::Method;

const PATIENCE: Duration = Duration::from_secs(60);

fn key(step: u32) -> BatchKey {
    BatchKey {
        split: Split::Train,
        seed: 1,
        epoch: 0,
        step,
        batch_size: 8,
        shard: 0,
        shards: 1,
        min_shard_samples: 0,
        content_hash: Method::Xxh3Tree,
    }
}

fn info(hash: u8) -> DatasetInfo {
    let spec = |name: &str| TensorSpec::new(name, DType::Int64, vec![]).expect("valid");
    DatasetInfo {
        name: "digits".to_owned(),
        hash: vec![hash; 32],
        train_samples: 8,
        held_out_samples: 0,
        classes: 2,
        features: spec("features"),
        labels: spec("labels"),
        columns: Vec::new(),
        class_names: Vec::new(),
        vocabulary: Vec::new(),
    }
}

fn batch(step: u32, hash: u8) -> Batch {
    let tensor = || Tensor {
        spec: TensorSpec::new("", DType::Int64, vec![0]).expect("valid"),
        memory: Pool::new(0, 0).buffer(0).expect("nothing").into(),
    };
    Batch {
        split: Split::Train,
        epoch: 0,
        step,
        shard: 0,
        epoch_steps: 1,
        sample_ids: tensor(),
        features: tensor(),
        labels: tensor(),
        hash: vec![hash; 32],
    }
}

/// A dispatcher with replicas that are all connected, and a clock.
struct Bench {
    dispatcher: Dispatcher,
    now: Instant,
}

impl Bench {
    fn with(replicas: usize) -> Self {
        let addresses: Vec<_> = (0..replicas).map(|slot| format!("host{slot}:1")).collect();
        let mut bench = Self {
            dispatcher: Dispatcher::new(&addresses, PATIENCE),
            now: clock::now(),
        };
        (0..replicas).for_each(|slot| bench.connect(slot));
        bench
    }

    fn connect(&mut self, slot: usize) {
        let connected = self.dispatcher.connected(slot, info(9), self.now);
        connected.expect("the same data");
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn request(&mut self, step: u32) {
        self.dispatcher
            .request(key(step), self.now)
            .expect("within bounds");
    }

    /// The step that is sent to a replica now.
    fn send(&mut self, slot: usize) -> Option<u32> {
        self.dispatcher
            .next_to_send(slot, self.now)
            .map(|(_, key)| key.step)
    }

    fn reply(&mut self, slot: usize, hash: u8) {
        let (_, key) = self.dispatcher.oldest_sent(slot).expect("requested");
        let reply = Ok(batch(key.step, hash));
        self.dispatcher.record_reply(slot, reply, self.now);
    }

    fn lose(&mut self, slot: usize, corrupt: Option<CoreError>) {
        self.dispatcher.disconnected(slot);
        let error = "gone".to_owned();
        self.dispatcher.lost(slot, error, false, corrupt, self.now);
    }

    fn collect(&mut self, step: u32) -> Option<Result<Batch, CoreError>> {
        self.dispatcher.collect(&key(step))
    }

    /// Eight replies of 100 ms each: later than that is late.
    fn warm_up(&mut self) {
        for step in 1000..1008 {
            let slots = self.dispatcher.slots.len();
            self.request(step);
            self.pass(100);
            for slot in 0..slots {
                if self.send(slot).is_some() {
                    self.reply(slot, 0);
                }
            }
            self.collect(step).expect("answered").expect("a batch");
        }
    }
}

#[test]
fn replicas_take_turns() {
    let mut bench = Bench::with(2);
    (0..6).for_each(|step| bench.request(step));
    assert_eq!(bench.send(0), Some(0));
    assert_eq!(bench.send(1), Some(1));
    assert_eq!(bench.send(0), Some(2));
    // Replica 1 has fewer requests in flight, so it gets the next one.
    assert_eq!(bench.send(1), Some(3));
    bench.reply(1, 0);
    bench.request(6);
    assert_eq!(bench.send(1), Some(5));
    assert_eq!(bench.send(1), Some(6));
    assert_eq!(bench.send(1), None);
}

#[test]
fn a_late_request_is_hedged_once() {
    let mut bench = Bench::with(2);
    bench.warm_up();
    bench.request(0);
    assert_eq!(bench.send(0), Some(0));
    let due = bench.dispatcher.next_hedge_at(1).expect("one is open");
    assert_eq!(due - bench.now, Duration::from_millis(100));
    assert_eq!(
        bench.dispatcher.next_hedge_at(0),
        None,
        "it has the request already"
    );
    bench.pass(99);
    assert_eq!(bench.send(1), None);
    bench.pass(1);
    assert_eq!(bench.send(1), Some(0));
    bench.pass(1000);
    assert_eq!(
        (bench.send(0), bench.send(1)),
        (None, None),
        "one hedge is enough"
    );

    bench.reply(1, 7);
    assert_eq!(
        bench.collect(0).expect("there").expect("a batch").hash,
        [7; 32]
    );
    // The second reply is the same: nothing happens.
    bench.reply(0, 7);
    assert!(bench.collect(0).is_none() && bench.dispatcher.fatal_error(bench.now).is_none());
    assert!(bench.dispatcher.awaiting_duplicate.is_empty());
}

#[test]
fn a_hedge_is_not_sent_after_the_reply() {
    let mut bench = Bench::with(2);
    bench.warm_up();
    bench.request(0);
    assert_eq!(bench.send(0), Some(0));
    bench.reply(0, 7);
    bench.pass(1000);
    assert_eq!(bench.send(1), None);
}

/// What is discarded is not sent, or its reply is dropped; it may be requested again.
#[test]
fn discarded_requests_leave_no_trace() {
    let mut bench = Bench::with(1);
    (0..3).for_each(|step| bench.request(step));
    assert_eq!(bench.send(0), Some(0));
    assert_eq!(bench.send(0), Some(1));
    bench.reply(0, 7);
    // One has arrived, one was sent, one was not.
    bench.dispatcher.discard(&[key(0), key(1), key(2), key(3)]);
    assert_eq!(bench.send(0), None);
    bench.reply(0, 7);
    for step in 0..3 {
        assert!(bench.collect(step).is_none());
    }
    bench.request(1);
    assert_eq!(bench.send(0), Some(1));
    bench.reply(0, 7);
    assert!(bench.collect(1).is_some_and(|batch| batch.is_ok()));
}

#[test]
fn replies_that_differ_close_the_client() {
    let mut bench = Bench::with(2);
    bench.warm_up();
    bench.request(0);
    assert_eq!(bench.send(0), Some(0));
    bench.pass(200);
    assert_eq!(bench.send(1), Some(0));
    bench.reply(0, 7);
    bench.reply(1, 8);
    let error = bench
        .dispatcher
        .fatal_error(bench.now)
        .expect("over")
        .to_string();
    assert!(
        error.contains("host0:1 and host1:1 gave different batches for shard 0 of step 0"),
        "{error}"
    );
    assert!(error.contains("070707070707 and 080808080808"), "{error}");
    assert!(bench.collect(0).is_none(), "neither is handed out");
}

#[test]
fn requests_of_a_lost_replica_move_to_the_others() {
    let mut bench = Bench::with(2);
    (0..4).for_each(|step| bench.request(step));
    assert_eq!(bench.send(0), Some(0));
    bench.lose(0, None);
    let sent: Vec<_> = std::iter::from_fn(|| bench.send(1)).collect();
    assert_eq!(sent, [1, 3, 0, 2]);
    // No replica is left: the requests wait, in their order, for the first that connects.
    bench.lose(1, None);
    bench.connect(0);
    let sent: Vec<_> = std::iter::from_fn(|| bench.send(0)).collect();
    assert_eq!(sent, [0, 1, 2, 3]);
}

#[test]
fn a_lost_hedge_can_be_sent_again() {
    let mut bench = Bench::with(2);
    bench.warm_up();
    bench.request(0);
    assert_eq!(bench.send(0), Some(0));
    bench.pass(200);
    assert_eq!(bench.send(1), Some(0));
    bench.lose(1, None);
    bench.connect(1);
    assert_eq!(bench.send(1), Some(0));
    bench.reply(1, 7);
    // The first one, whose reply would have been compared, is lost too: it owes nothing when it is
    // back.
    bench.lose(0, None);
    assert!(bench.dispatcher.awaiting_duplicate.is_empty());
    assert!(bench.collect(0).expect("there").is_ok());
}

#[test]
fn a_request_with_corrupt_replies_fails() {
    let mut bench = Bench::with(1);
    let corrupt = || CoreError::Argument("corrupt".to_owned());
    bench.request(0);
    bench.request(1);
    for _ in 0..2 {
        assert_eq!(bench.send(0), Some(0));
        bench.lose(0, Some(corrupt()));
        assert!(bench.collect(0).is_none());
        bench.connect(0);
    }
    assert_eq!(bench.send(0), Some(0));
    bench.lose(0, Some(corrupt()));
    assert!(bench.collect(0).expect("failed").is_err());
    bench.connect(0);
    assert_eq!(bench.send(0), Some(1), "the next request is not affected");
}

#[test]
fn waiting_without_any_replica_is_bounded() {
    let mut bench = Bench::with(2);
    bench.request(0);
    bench.lose(0, None);
    bench.pass(600_000);
    bench.lose(1, None);
    bench.pass(59_999);
    assert!(bench.dispatcher.fatal_error(bench.now).is_none());
    bench.pass(1);
    let error = bench
        .dispatcher
        .fatal_error(bench.now)
        .expect("too long")
        .to_string();
    assert!(
        error.contains("no data service was reachable for 60 s at host0:1, host1:1 (host0:1: gone; host1:1: gone)"),
        "{error}"
    );
    bench.connect(1);
    assert!(bench.dispatcher.fatal_error(bench.now).is_none());
    assert_eq!(bench.send(1), Some(0), "the request is still there");
}

#[test]
fn the_number_of_requests_is_bounded() {
    let mut bench = Bench::with(1);
    (0..256).for_each(|step| bench.request(step));
    assert!(bench.dispatcher.request(key(0), bench.now).is_ok(), "known");
    assert!(bench.dispatcher.request(key(256), bench.now).is_err());
    assert_eq!(bench.send(0), Some(0));
    bench.reply(0, 0);
    assert!(
        bench.dispatcher.request(key(256), bench.now).is_err(),
        "not collected yet"
    );
    bench.collect(0).expect("there").expect("a batch");
    assert!(bench.dispatcher.request(key(256), bench.now).is_ok());
}
