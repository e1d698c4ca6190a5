//! The conformance tool: benches today, suites as they come. `cargo run --release -p rust-ingress-conformance -- --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rust_ingress_conformance::{bench, load};

/// The allocator of the program, so that what is measured in this process is what is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Suites, rigs and benches of rust-ingress.
#[derive(Parser)]
struct Tool {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, beside nginx and HAProxy where they do the same.
    Bench(bench::Arguments),
    /// Send requests until standard input is closed, and print what came of them.
    Load(load::Arguments),
}

fn main() -> ExitCode {
    let done = match Tool::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Load(arguments) => load::run(&arguments).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
