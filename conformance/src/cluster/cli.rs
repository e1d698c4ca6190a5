//! The tool's `cluster` commands.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};

use super::programs::{self, Programs};
use super::{Cluster, Options, Place, Stock};

/// What to do with the test cluster.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring up a real Kubernetes in network namespaces; builds it first when the cache doesn't have it.
    Up(Options),
    /// Build into the cache what cluster and suites need; without names, all of it (25 minutes on 2 cores when nothing is there).
    Build {
        /// Programs, such as kubectl, gateway.test, e2e.test.
        programs: Vec<String>,
    },
    /// Take it away: processes, namespaces, mounts, cgroups, files. Also after a start that was killed.
    Down,
    /// What runs, and whether all of it does; exit status 1 when something doesn't.
    Status,
    /// `kubectl` as administrator.
    Kubectl {
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Load an image into every node: an OCI or docker archive, or one of echo, e2e, mesh, which are made here.
    LoadImage {
        /// The archive's path, or the name.
        image: String,
    },
    /// Run a command in a place of the cluster's network: `exec wan -- curl http://192.0.2.11/`.
    Exec {
        /// `wan`, or a node's name.
        place: String,
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Stop one of its processes, as `status` names it.
    Stop {
        /// The name.
        process: String,
        /// By SIGKILL at once, not by SIGTERM first.
        #[arg(long)]
        kill: bool,
    },
    /// Start again what was stopped.
    Start {
        /// The name.
        process: String,
    },
}

/// Runs a command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::Up(options) => {
            let cluster = Cluster::up(options)?;
            println!("kubeconfig: {}", cluster.kubeconfig().display());
            println!("kubectl:    cargo run -p rust-ingress-conformance -- cluster kubectl -- get pods -A");
        }
        Command::Build { programs: named } => {
            let named: Vec<&str> = named.iter().map(String::as_str).collect();
            Programs::cached()?.need_all(if named.is_empty() { programs::all() } else { named }.as_slice())?;
        }
        Command::Down => {
            let begin = Instant::now();
            match Cluster::down()? {
                true => println!("taken away in {:.1} s", begin.elapsed().as_secs_f64()),
                false => println!("no cluster was up"),
            }
        }
        Command::Status => return status(),
        Command::Kubectl { arguments } => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            return exit(&mut Cluster::open()?.kubectl_command(&arguments)?);
        }
        Command::LoadImage { image } => {
            let cluster = Cluster::open()?;
            match Stock::from_str(image, false) {
                Ok(stock) => cluster.load_stock(&[stock])?,
                Err(_) => cluster.load_image(&PathBuf::from(image))?,
            }
        }
        Command::Exec { place, command } => {
            let cluster = Cluster::open()?;
            let node = || cluster.nodes().find(|node| node.name() == *place).map(|node| Place::Network(node.0));
            let place = if place == "wan" { Some(Place::Wan) } else { node() };
            let place = place.with_context(|| "the place must be wan or a node's name, such as node1")?;
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            return exit(&mut cluster.command(place, &command)?);
        }
        Command::Stop { process, kill } => Cluster::open()?.stop(process, *kill)?,
        Command::Start { process } => Cluster::open()?.start(process)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn exit(command: &mut std::process::Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("{} can't be run", command.get_program().display()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn status() -> Result<ExitCode> {
    let cluster = Cluster::open()?;
    let (kubeconfig, logs) = (cluster.kubeconfig(), cluster.folder().join("logs"));
    let mut text = format!("{}\nkubeconfig: {}\nlogs: {}\n", cluster.describe(), kubeconfig.display(), logs.display());
    let mut whole = true;
    for name in cluster.processes.names() {
        let found = cluster.processes.find(&name)?;
        whole &= found.is_some();
        let state = found.map_or("not running".to_owned(), |found| format!("process {}", found.pid));
        let _ = writeln!(text, "  {name:<20} {state}");
    }
    for node in cluster.nodes() {
        let _ = writeln!(text, "  {:<8} {:<10} {:<14} {} {}", node.name(), node.namespace(), node.v4(), node.v6(), node.zone());
    }
    match cluster.kubectl(&["get", "nodes,pods", "-A", "-o", "wide"]) {
        Ok(listed) => text += &listed,
        Err(error) => {
            whole = false;
            let _ = writeln!(text, "{error:#}");
        }
    }
    // Whoever reads may have seen enough: `cluster status | head`.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
