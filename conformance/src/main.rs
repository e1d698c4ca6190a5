//! The conformance tool: benches, the test cluster, suites. `cargo run --release -p rust-ingress-conformance -- --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rust_ingress_conformance::{bench, cluster, image, load, suite};

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
    /// Bring up, use and take away a real Kubernetes on this machine.
    Cluster(cluster::cli::Arguments),
    /// The program's container image.
    Image(image::Arguments),
    /// Send requests until standard input is closed, and print what came of them.
    Load(load::Arguments),
    /// New connections at a steady rate, in whatever namespace; suites start it
    #[command(hide = true)]
    Steady(load::steady::Arguments),
    /// Prove what the program does on the test cluster.
    Suite(suite::Arguments),
}

fn main() -> ExitCode {
    let done = match Tool::parse().command {
        Command::Bench(arguments) => bench::run(&arguments).map(success),
        Command::Cluster(arguments) => cluster::cli::run(&arguments),
        Command::Image(arguments) => image::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Load(arguments) => load::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Steady(arguments) => load::steady::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Suite(arguments) => suite::run(&arguments).map(success),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn success(success: bool) -> ExitCode {
    if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
