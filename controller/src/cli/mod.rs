//! The command line: one file a subcommand. Called by `main`.
//!
//! Exit statuses: 0 done; 1 `check` found an error; 2 the command line or the surroundings are wrong, with a message that
//! says which and what to do.

mod agent;
mod banner;
mod check;
mod completion;
mod flags;
mod log;
mod proxy;
mod report;
mod run;
mod sandbox;
mod signals;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rust_ingress_translate::World;

use crate::builtin::Builtin;
use crate::source::files::Folder;

/// The exit status for a bad command line or surroundings that don't allow a start. clap's own too.
const USAGE: u8 = 2;

#[derive(Parser)]
#[command(name = "rust-ingress", version, about = "An L7 Ingress controller and proxy for Kubernetes, in one program.")]
#[command(propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the Ingresses of a cluster, or of a folder of manifests; changes are live at once
    Run(Box<run::RunArgs>),
    /// Validate a folder of manifests without serving it
    Check(check::CheckArgs),
    /// What the node agent does: what it programs, what becomes of a packet
    Agent(Box<agent::AgentArgs>),
    /// Serve what the process that watches says; `run` starts this by itself
    #[command(hide = true)]
    Proxy(proxy::ProxyArgs),
    /// A host of `run --sandbox`, which starts it by itself
    #[command(hide = true)]
    SandboxHost(sandbox::HostArgs),
    /// Print a completion script for a shell
    Completion(completion::CompletionArgs),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(*args),
        Command::Check(args) => check::check(&args),
        Command::Agent(args) => agent::agent(&args),
        Command::Proxy(args) => proxy::proxy(&args),
        Command::SandboxHost(args) => sandbox::host(&args),
        Command::Completion(args) => completion::completion(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("rust-ingress: {error:#}");
        ExitCode::from(USAGE)
    })
}

/// Takes in what a folder has.
fn read_folder(root: &Path, world: &mut World) -> anyhow::Result<()> {
    require_folder(root)?;
    Folder::new(root, Builtin::NOT_STARTED).scan().changes.into_iter().for_each(|change| world.apply(change));
    Ok(())
}

/// Refuses a folder that isn't there or isn't one.
fn require_folder(root: &Path) -> anyhow::Result<()> {
    let advice = "give --manifests a folder of Kubernetes YAML";
    match std::fs::read_dir(root) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            anyhow::bail!("there is no folder {}; {advice}", root.display())
        }
        Err(error) => anyhow::bail!("can't read the folder {}: {error}; {advice}", root.display()),
    }
}
