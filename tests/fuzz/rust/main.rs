//! `FUZZ_TARGET=NAME targets [options and corpora of libFuzzer]`: feeds one reader of foreign bytes
//! with inputs that libFuzzer mutates, and keeps those that reach code or an outcome for the first
//! time.
//!
//! A panic, an abort, an input that takes too long or too much memory ends the process; main.py
//! starts it again.
#![no_main]
#![expect(
    clippy::expect_used,
    reason = "a tool for people, which ends where something unexpected happens"
)]

mod agreement;
mod frames;
mod identities;
mod outcomes;
mod replies;
mod tables;

use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

/// Feeds a reader with an input; describes what it did.
type Target = fn(&[u8]) -> String;

const TARGETS: [(&str, Target); 11] = [
    ("frames", frames::frames),
    ("requests", frames::requests),
    ("csv", tables::csv),
    ("text", tables::text),
    ("gzip", tables::gzip),
    ("spec", tables::spec),
    ("replies", replies::replies),
    ("agreement", agreement::agreement),
    ("messages", frames::messages),
    ("identity", identities::identity),
    ("certificate", identities::certificate),
];

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: choose(),
    |input: &[u8]| {
        let target = TARGET.get().expect("chosen by init");
        outcomes::count(&target(input));
    }
);

fn choose() {
    let named = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let Some((_, target)) = TARGETS.iter().find(|(name, _)| *name == named) else {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("FUZZ_TARGET is {named:?}; it must be one of {names:?}");
        exit(2);
    };
    TARGET.get_or_init(|| *target);
}
