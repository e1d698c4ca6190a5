//! Load from a process of its own: `conformance load` sends HTTP/1.1 requests until its standard input is closed, then prints
//! what it saw as JSON. Suites start it inside the network namespace that clients are in ([`Load`]).
//!
//! Half of the clients keep their connection, half open a new one for each request, since a rollout hurts the two differently.

mod client;
mod outcome;
pub mod steady;

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tokio::task::JoinSet;

use client::{Client, Target};
pub use outcome::Outcome;
use outcome::Tally;

/// What to send, and how much of it.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Where to connect: addresses of nodes; clients are spread over them
    #[arg(long, required = true, value_delimiter = ',')]
    pub to: Vec<SocketAddr>,
    /// The request's Host
    #[arg(long)]
    pub host: String,
    /// The request's path
    #[arg(long, default_value = "/")]
    pub path: String,
    /// Clients that keep their connection
    #[arg(long, default_value_t = 8)]
    pub kept: usize,
    /// Clients that open a connection for each request
    #[arg(long, default_value_t = 4)]
    pub fresh: usize,
    /// Milliseconds between an answer and the client's next request
    #[arg(long, default_value_t = 10)]
    pub pause: u64,
    /// Seconds after which the load ends even when nobody says so
    #[arg(long, default_value_t = 900)]
    pub limit: u64,
}

/// Runs the load of `conformance load`, and prints its outcome.
///
/// # Errors
/// No runtime, or standard output is closed.
pub fn run(arguments: &Arguments) -> Result<()> {
    let over = Arc::new(AtomicBool::new(false));
    let told = over.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Relaxed);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(send(arguments, over));
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

async fn send(arguments: &Arguments, over: Arc<AtomicBool>) -> Outcome {
    let tally = Arc::new(Tally::new());
    let mut clients = JoinSet::new();
    let addresses = arguments.to.iter().cycle();
    for (number, address) in addresses.take(arguments.kept + arguments.fresh).enumerate() {
        let target = Target { address: *address, host: arguments.host.clone(), path: arguments.path.clone() };
        let pause = Duration::from_millis(arguments.pause);
        let client = Client::new(target, number >= arguments.kept, pause, tally.clone(), over.clone());
        clients.spawn(client.run());
    }
    let ended = async { while clients.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(arguments.limit), ended).await;
    tally.outcome()
}

/// A load that runs beside a suite.
pub struct Load(Child);

impl Load {
    /// Starts it; `command` runs this program, in whatever namespace.
    ///
    /// # Errors
    /// The process can't be started.
    pub fn start(mut command: Command, arguments: &Arguments) -> Result<Self> {
        let to = arguments.to.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        command.args(["load", "--to", &to, "--host", &arguments.host, "--path", &arguments.path]);
        let numbers = [
            ("--kept", arguments.kept as u64),
            ("--fresh", arguments.fresh as u64),
            ("--pause", arguments.pause),
            ("--limit", arguments.limit),
        ];
        for (flag, number) in numbers {
            command.args([flag, &number.to_string()]);
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting the load")?;
        Ok(Self(child))
    }

    /// Ends it, and gives what it saw.
    ///
    /// # Errors
    /// The process failed, or sent nothing at all.
    pub fn stop(mut self) -> Result<Outcome> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().context("waiting for the load")?;
        ensure!(output.status.success(), "the load ended with {}", output.status);
        let outcome: Outcome = serde_json::from_slice(&output.stdout).context("reading what the load printed")?;
        ensure!(outcome.answers + outcome.failed > 0, "the load sent no request");
        Ok(outcome)
    }
}
