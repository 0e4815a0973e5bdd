use pangea_wire::{DType, Pool, TensorSpec};

use super::*;
use crate::data::{Split, Tensor};

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
        memory: Pool::new(0, 0).buffer(0).expect("nothing"),
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

/// A book with replicas that are all connected, and a clock.
struct Desk {
    book: Book,
    now: Instant,
}

impl Desk {
    fn with(replicas: usize) -> Self {
        let addresses: Vec<_> = (0..replicas).map(|seat| format!("host{seat}:1")).collect();
        let mut desk = Self {
            book: Book::new(&addresses, PATIENCE),
            now: Instant::now(),
        };
        (0..replicas).for_each(|seat| desk.connect(seat));
        desk
    }

    fn connect(&mut self, seat: usize) {
        let connected = self.book.connected(seat, info(9), self.now);
        connected.expect("the same data");
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn ask(&mut self, step: u32) {
        self.book.ask(key(step), self.now).expect("within bounds");
    }

    /// The step that is sent to a replica now.
    fn send(&mut self, seat: usize) -> Option<u32> {
        self.book.next(seat, self.now).map(|(_, key)| key.step)
    }

    fn settle(&mut self, seat: usize, hash: u8) {
        let (_, key) = self.book.oldest(seat).expect("asked");
        let answer = Ok(batch(key.step, hash));
        self.book.settle(seat, answer, self.now);
    }

    fn lose(&mut self, seat: usize, broken: Option<CoreError>) {
        self.book.disconnected(seat);
        let trouble = "gone".to_owned();
        self.book.lost(seat, trouble, false, broken, self.now);
    }

    fn collect(&mut self, step: u32) -> Option<Result<Batch, CoreError>> {
        self.book.collect(&key(step))
    }

    /// Eight answers of 100 ms each from replica 0: later than that is late.
    fn warm_up(&mut self) {
        for step in 1000..1008 {
            let seats = self.book.seats.len();
            self.ask(step);
            self.pass(100);
            for seat in 0..seats {
                if self.send(seat).is_some() {
                    self.settle(seat, 0);
                }
            }
            self.collect(step).expect("answered").expect("a batch");
        }
    }
}

#[test]
fn replicas_take_turns() {
    let mut desk = Desk::with(2);
    (0..6).for_each(|step| desk.ask(step));
    assert_eq!(desk.send(0), Some(0));
    assert_eq!(desk.send(1), Some(1));
    assert_eq!(desk.send(0), Some(2));
    // Replica 1 answered more, so that it is asked next.
    assert_eq!(desk.send(1), Some(3));
    desk.settle(1, 0);
    desk.ask(6);
    assert_eq!(desk.send(1), Some(5));
    assert_eq!(desk.send(1), Some(6));
    assert_eq!(desk.send(1), None);
}

#[test]
fn a_late_question_is_asked_once_more_elsewhere() {
    let mut desk = Desk::with(2);
    desk.warm_up();
    desk.ask(0);
    assert_eq!(desk.send(0), Some(0));
    let due = desk.book.next_late(1).expect("one is open");
    assert_eq!(due - desk.now, Duration::from_millis(100));
    assert_eq!(desk.book.next_late(0), None, "it is asked already");
    desk.pass(99);
    assert_eq!(desk.send(1), None);
    desk.pass(1);
    assert_eq!(desk.send(1), Some(0));
    desk.pass(1000);
    assert_eq!(
        (desk.send(0), desk.send(1)),
        (None, None),
        "twice is enough"
    );

    desk.settle(1, 7);
    assert_eq!(
        desk.collect(0).expect("there").expect("a batch").hash,
        [7; 32]
    );
    // The other answer is the same: nothing happens.
    desk.settle(0, 7);
    assert!(desk.collect(0).is_none() && desk.book.hopeless(desk.now).is_none());
    assert!(desk.book.settled.is_empty());
}

#[test]
fn a_hedge_is_not_sent_after_the_answer() {
    let mut desk = Desk::with(2);
    desk.warm_up();
    desk.ask(0);
    assert_eq!(desk.send(0), Some(0));
    desk.settle(0, 7);
    desk.pass(1000);
    assert_eq!(desk.send(1), None);
}

#[test]
fn answers_that_differ_end_everything() {
    let mut desk = Desk::with(2);
    desk.warm_up();
    desk.ask(0);
    assert_eq!(desk.send(0), Some(0));
    desk.pass(200);
    assert_eq!(desk.send(1), Some(0));
    desk.settle(0, 7);
    desk.settle(1, 8);
    let error = desk.book.hopeless(desk.now).expect("over").to_string();
    assert!(
        error.contains("host0:1 and host1:1 gave different batches for shard 0 of step 0"),
        "{error}"
    );
    assert!(error.contains("070707070707 and 080808080808"), "{error}");
    assert!(desk.collect(0).is_none(), "neither is given out");
}

#[test]
fn a_lost_replica_leaves_its_questions_to_the_others() {
    let mut desk = Desk::with(2);
    (0..4).for_each(|step| desk.ask(step));
    assert_eq!(desk.send(0), Some(0));
    desk.lose(0, None);
    let sent: Vec<_> = std::iter::from_fn(|| desk.send(1)).collect();
    assert_eq!(sent, [1, 3, 0, 2]);
    // None is left: they wait, in their order, for whoever comes first.
    desk.lose(1, None);
    desk.connect(0);
    let sent: Vec<_> = std::iter::from_fn(|| desk.send(0)).collect();
    assert_eq!(sent, [0, 1, 2, 3]);
}

#[test]
fn a_hedge_that_is_lost_can_be_asked_again() {
    let mut desk = Desk::with(2);
    desk.warm_up();
    desk.ask(0);
    assert_eq!(desk.send(0), Some(0));
    desk.pass(200);
    assert_eq!(desk.send(1), Some(0));
    desk.lose(1, None);
    desk.connect(1);
    assert_eq!(desk.send(1), Some(0));
    desk.settle(1, 7);
    // The first one, which would have been compared, is lost too: it owes nothing when it is back.
    desk.lose(0, None);
    assert!(desk.book.settled.is_empty());
    assert!(desk.collect(0).expect("there").is_ok());
}

#[test]
fn a_question_with_broken_answers_is_given_up() {
    let mut desk = Desk::with(1);
    let broken = || CoreError::Argument("broken".to_owned());
    desk.ask(0);
    desk.ask(1);
    for _ in 0..2 {
        assert_eq!(desk.send(0), Some(0));
        desk.lose(0, Some(broken()));
        assert!(desk.collect(0).is_none());
        desk.connect(0);
    }
    assert_eq!(desk.send(0), Some(0));
    desk.lose(0, Some(broken()));
    assert!(desk.collect(0).expect("given up").is_err());
    desk.connect(0);
    assert_eq!(desk.send(0), Some(1), "the next one is not to blame");
}

#[test]
fn without_any_replica_there_is_an_end_to_waiting() {
    let mut desk = Desk::with(2);
    desk.ask(0);
    desk.lose(0, None);
    desk.pass(600_000);
    desk.lose(1, None);
    desk.pass(59_999);
    assert!(desk.book.hopeless(desk.now).is_none());
    desk.pass(1);
    let error = desk.book.hopeless(desk.now).expect("too long").to_string();
    assert!(
        error.contains("no data service was reachable for 60 s at host0:1, host1:1 (host0:1: gone; host1:1: gone)"),
        "{error}"
    );
    desk.connect(1);
    assert!(desk.book.hopeless(desk.now).is_none());
    assert_eq!(desk.send(1), Some(0), "and the question is still there");
}

#[test]
fn the_number_of_questions_is_bounded() {
    let mut desk = Desk::with(1);
    (0..256).for_each(|step| desk.ask(step));
    assert!(desk.book.ask(key(0), desk.now).is_ok(), "known");
    assert!(desk.book.ask(key(256), desk.now).is_err());
    assert_eq!(desk.send(0), Some(0));
    desk.settle(0, 0);
    assert!(
        desk.book.ask(key(256), desk.now).is_err(),
        "not collected yet"
    );
    desk.collect(0).expect("there").expect("a batch");
    assert!(desk.book.ask(key(256), desk.now).is_ok());
}
