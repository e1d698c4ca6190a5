//! `rust-ingress agent`: what the node agent does, seen from the command line. One file a subcommand.

mod check;
mod cleanup;
mod explain;
mod holders;
mod render;
mod source;
mod sysctl;
mod takeover;

use std::process::ExitCode;

use clap::{Args, Subcommand};

#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(super) struct AgentArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print what a node's kernel is programmed with, as nft text
    Render(render::RenderArgs),
    /// Say what a node does with a packet, and why
    Explain(explain::ExplainArgs),
    /// Say what of this node stands in the agent's way, and which other programs do a part of its job
    Check(check::CheckArgs),
    /// Take kube-proxy's rules away, where an agent of ours carries the node's Services
    Takeover,
    /// Take away all that an agent made in the kernel of this node, and nothing else
    Cleanup,
    /// Make the kernel settings that the agent wants; `run --l4` does it too, where it may
    Sysctl,
}

pub(super) fn agent(args: &AgentArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Render(args) => render::render(args),
        Command::Explain(args) => explain::explain(args),
        Command::Check(args) => check::check(args),
        Command::Takeover => takeover::takeover(),
        Command::Cleanup => cleanup::cleanup(),
        Command::Sysctl => sysctl::sysctl(),
    }
}
