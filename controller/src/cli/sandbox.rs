//! `--sandbox`: read what the folder has, and make its network before anything else begins.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use rust_ingress_model::Snapshot;
use rust_ingress_model::l4::NodeFacts;
use rust_ingress_translate::{Origin, Settings, World, translate};

use super::flags::l4::L4Args;
use super::read_folder;
use crate::sandbox::{Sandbox, run_host};

#[derive(Args)]
pub(super) struct HostArgs {
    /// What `ip` is to do in its network namespace
    #[arg(long)]
    lines: String,
    /// Where it answers
    #[arg(long)]
    listen: Vec<SocketAddr>,
}

pub(super) fn host(args: &HostArgs) -> anyhow::Result<ExitCode> {
    run_host(&args.lines, &args.listen)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the sandbox of a folder's node and moves this process into it. The node is the one that the flags name, or the first; its Pods
/// get its address on the way out, as a cluster's do.
pub(super) fn make(root: &Path, l4: &mut L4Args) -> anyhow::Result<Sandbox> {
    let settings = Settings { origin: Origin::Files, l4: true, ..Settings::default() };
    let mut world = World::new(&settings);
    read_folder(root, &mut world)?;
    let dirty = world.take_dirty();
    let (snapshot, _) = translate(&world, &settings, &Snapshot::default(), &dirty);
    let named = |node: &&NodeFacts| l4.node_name.as_deref().is_none_or(|name| *node.name == *name);
    let node = world.nodes().map(AsRef::as_ref).find(named);
    let node = node.with_context(|| match &l4.node_name {
        Some(name) => format!("there is no Node {name:?} in {}; check --node-name", root.display()),
        None => format!("there is no Node in {}; write one, with its addresses and Pod CIDRs", root.display()),
    })?;
    l4.in_sandbox(node);
    Sandbox::make(&snapshot, node)
}
