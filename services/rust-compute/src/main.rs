//! The data service as a process: settings, exit codes, and the one line of an error.

use std::process::ExitCode;

use clap::Parser;
use rust_compute::{health, serve, Settings};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let outcome = if arguments.next().as_deref() == Some("health") {
        health(arguments.next().as_deref().unwrap_or("127.0.0.1:9091"))
    } else {
        // clap prints what is wrong with the arguments and exits with 2.
        serve(&Settings::parse())
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rust-compute: {error:#}");
            ExitCode::FAILURE
        }
    }
}
