//! The data service as a process: commands, exit codes, and the one line of an error.
#![expect(clippy::print_stdout, reason = "`describe` answers on stdout")]

use std::process::ExitCode;

use clap::Parser;
use rust_compute_process::{describe, health, run_child, serve, Settings, COMMAND};

/// An empty variable is as good as none, as in the other programs.
fn forget_empty_variables() {
    for (name, value) in std::env::vars_os() {
        if value.is_empty() && name.to_string_lossy().starts_with("PANGEA_") {
            std::env::remove_var(name);
        }
    }
}

fn main() -> ExitCode {
    forget_empty_variables();
    let mut arguments = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned());
    let outcome = match arguments.next().as_deref() {
        Some("health") => health(arguments.next().as_deref().unwrap_or("127.0.0.1:9091")),
        Some("describe") => describe(arguments.next().as_deref().unwrap_or_default())
            .map(|description| println!("{description}")),
        // How this program starts itself to read a file.
        Some(COMMAND) => run_child(&mut arguments),
        // clap prints what is wrong with the arguments and exits with 2.
        _ => serve(&Settings::parse()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rust-compute: {error:#}");
            ExitCode::FAILURE
        }
    }
}
