//! `suite packets`: the node agent against a real kernel, with real packets, in network namespaces of its own.
//!
//! No cluster takes part: a client, a node, two Pods and a Pod behind another node are namespaces, and what they are told to carry
//! is given to the agent as the driver gives it. Who isn't root runs it in a user namespace, in which the kernel lets everybody make
//! network namespaces.

mod bed;
mod cases;
mod dumped;
mod lan;
pub(crate) mod namespace;
mod program;
mod rig;
mod talk;
mod web;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rust_ingress_proxy::agent::nft::{digests, specimen};

use super::{Ran, Report};
use crate::cluster::process::output;

/// What to do beside it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write the bytes that were compared with nft's into the proxy's tests, which then need no root to hold on to them
    #[arg(long)]
    record: bool,
    /// Run the groups whose names contain this alone
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// What makes a place in which `ip netns` works: it keeps its names below /run.
const PLACE: &str = "mount -t tmpfs tmpfs /run && mkdir /run/netns && exec \"$0\" \"$@\"";

/// Runs the suite: here as root, else in a user namespace.
pub(super) fn run(arguments: &Arguments) -> Result<Ran> {
    if rustix::process::geteuid().is_root() {
        return here(arguments).map(Ran::Here);
    }
    let tool = std::env::current_exe()?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "--net", "--fork", "--kill-child", "sh", "-c", PLACE]).arg(tool);
    let status = unshare.args(std::env::args().skip(1)).status();
    let status = status.context("unshare can't be run; run the suite as root, or install util-linux")?;
    // 1 is a suite that ran and failed, as for any other.
    ensure!(
        status.code().is_some_and(|code| code <= 1),
        "the suite can't run in a user namespace ({status}); run it as root, or allow user namespaces (sysctl user.max_user_namespaces)"
    );
    Ok(Ran::Elsewhere(status.success()))
}

fn here(arguments: &Arguments) -> Result<Report> {
    let nft = output(Command::new("nft").arg("--version"))?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut report = Report::new("packets", format!("network namespaces, kernel {}, {}", kernel.trim(), nft.trim()));
    cases::all(&mut report, arguments.only.as_deref().unwrap_or_default())?;
    if arguments.record {
        ensure!(report.passed() && arguments.only.is_none(), "not all cases ran and passed: nothing is recorded");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/tests/agent_bytes.txt");
        std::fs::write(&path, digests(&specimen())).with_context(|| format!("{}: can't be written", path.display()))?;
    }
    Ok(report)
}
