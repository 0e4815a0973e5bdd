//! The data service as a process: settings, exit codes, and the one line of an error.

use std::process::ExitCode;

use clap::Parser;
use rust_compute::{serve, Settings};

fn main() -> ExitCode {
    // clap prints what is wrong with the arguments and exits with 2.
    let settings = Settings::parse();
    match serve(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rust-compute: {error:#}");
            ExitCode::FAILURE
        }
    }
}
