//! `suite packets`: the node agent against a real kernel, with real packets, in network namespaces of its own.
//!
//! No cluster takes part: a client, a node, two Pods and a Pod behind another node are namespaces, and what they are told to carry
//! is given to the agent as the driver gives it.

mod bed;
mod cases;
mod dumped;
pub(crate) mod namespace;
mod rig;
mod talk;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rust_ingress_proxy::agent::nft::{digests, specimen};

use super::Report;
use crate::cluster::process::output;

/// What to do beside it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write the bytes that were compared with nft's into the proxy's tests, which then need no root to hold on to them
    #[arg(long)]
    record: bool,
}

/// Runs the suite.
pub fn run(arguments: &Arguments) -> Result<Report> {
    ensure!(rustix::process::geteuid().is_root(), "suite packets makes network namespaces; run it as root");
    let nft = output(std::process::Command::new("nft").arg("--version"))?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut report = Report::new("packets", format!("network namespaces, kernel {}, {}", kernel.trim(), nft.trim()));
    cases::all(&mut report)?;
    if arguments.record {
        ensure!(report.passed(), "not all cases passed: nothing is recorded");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/tests/agent_bytes.txt");
        std::fs::write(&path, digests(&specimen())).with_context(|| format!("{}: can't be written", path.display()))?;
    }
    Ok(report)
}
