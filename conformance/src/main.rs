//! The conformance tool: benches today, suites as they come. `cargo run --release -p rust-ingress-conformance -- --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rust_ingress_conformance::bench;

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
}

fn main() -> ExitCode {
    let Command::Bench(arguments) = Tool::parse().command;
    match bench::run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
