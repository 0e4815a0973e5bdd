//! `targets TARGET --seconds N --seed S --corpus DIR --findings DIR`: feeds a reader with mutated
//! inputs, and keeps those after which it behaves as it never did before.
//!
//! What counts as new is the outcome that a target describes: which error, with its numbers left
//! out, or the shape of what was read. It needs no instrumented build, so the same compiler and
//! flags are tested as are shipped.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a tool for people, which ends where something unexpected happens"
)]

mod frames;
mod mutate;
mod replies;
mod tables;

use std::collections::HashSet;
use std::fs;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::mutate::Mutator;

/// Feeds a reader with an input; describes what it did.
type Target = fn(&[u8]) -> String;

const TARGETS: [(&str, Target); 7] = [
    ("frames", frames::frames),
    ("requests", frames::requests),
    ("csv", tables::csv),
    ("text", tables::text),
    ("gzip", tables::gzip),
    ("spec", tables::spec),
    ("replies", replies::replies),
];

/// Largest input.
const MAX_BYTES: usize = 1 << 16;
/// Inputs that are kept: beyond that, a new outcome is counted only.
const MAX_KEPT: usize = 4096;
/// An input of this size that takes longer costs more than its share.
const SLOW: Duration = Duration::from_secs(5);

struct Arguments {
    target: String,
    seconds: u64,
    seed: u64,
    corpus: PathBuf,
    findings: PathBuf,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Option<Self> {
        let mut arguments = Self {
            target: given.next()?,
            seconds: 10,
            seed: 0,
            corpus: PathBuf::new(),
            findings: std::env::temp_dir(),
        };
        while let (Some(name), Some(value)) = (given.next(), given.next()) {
            match name.as_str() {
                "--seconds" => arguments.seconds = value.parse().ok()?,
                "--seed" => arguments.seed = value.parse().ok()?,
                "--corpus" => arguments.corpus = value.into(),
                "--findings" => arguments.findings = value.into(),
                _ => return None,
            }
        }
        Some(arguments)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse(std::env::args().skip(1));
    let named = |arguments: &Arguments| {
        let target = TARGETS.iter().find(|(name, _)| *name == arguments.target);
        target.map(|(_, target)| *target)
    };
    let Some((target, arguments)) = arguments.and_then(|given| Some((named(&given)?, given)))
    else {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("targets TARGET [--seconds N] [--seed S] [--corpus DIR] [--findings DIR]: TARGET is one of {names:?}");
        return ExitCode::FAILURE;
    };
    let report = fuzz(target, &arguments);
    println!(
        "{{\"target\": \"{}\", \"executions\": {}, \"outcomes\": {}, \"findings\": {}}}",
        arguments.target, report.executions, report.outcomes, report.findings
    );
    if report.findings == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[derive(Default)]
struct Report {
    executions: u64,
    outcomes: usize,
    findings: u64,
}

fn fuzz(target: Target, arguments: &Arguments) -> Report {
    let mut kept = seeds(&arguments.corpus);
    let mut mutator = Mutator::new(arguments.seed);
    let mut outcomes = HashSet::new();
    let mut report = Report::default();
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    // The corpus itself first: what was found once stays found.
    let mut untried = kept.clone();
    // Overwritten by each input, so that one that ends the process is not lost.
    let current = arguments
        .findings
        .join(format!("{}.current", arguments.target));
    while Instant::now() < end || !untried.is_empty() {
        let mut input = untried.pop().unwrap_or_else(|| mutator.mutated(&kept));
        input.truncate(MAX_BYTES);
        fs::write(&current, &input).expect("a writable folder");
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&input)));
        let slow = started.elapsed() > SLOW;
        report.executions += 1;
        match outcome {
            Ok(outcome) if !slow => {
                if outcomes.insert(without_numbers(&outcome)) && kept.len() < MAX_KEPT {
                    kept.push(input);
                }
            }
            _ => {
                report.findings += 1;
                let name = format!("{}-{}", arguments.target, report.findings);
                fs::write(arguments.findings.join(name), &input).expect("a writable folder");
            }
        }
    }
    // The last input is not a finding.
    let _ = fs::remove_file(&current);
    report.outcomes = outcomes.len();
    report
}

/// The files of a corpus; an empty input if there are none.
fn seeds(corpus: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = fs::read_dir(corpus)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    let mut seeds: Vec<Vec<u8>> = files.iter().flat_map(fs::read).collect();
    seeds.push(Vec::new());
    seeds
}

/// Every number becomes one digit: "line 7" and "line 8" are the same outcome.
fn without_numbers(outcome: &str) -> String {
    let mut text = String::with_capacity(outcome.len());
    for char in outcome.chars().take(400) {
        if !char.is_ascii_digit() {
            text.push(char);
        } else if !text.ends_with('0') {
            text.push('0');
        }
    }
    text
}
