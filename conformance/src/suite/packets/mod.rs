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

use anyhow::{Result, ensure};
use clap::Args;

use super::Report;
use crate::cluster::process::output;

/// Nothing to choose.
#[derive(Debug, Args)]
pub struct Arguments {}

/// Runs the suite.
pub fn run(_: &Arguments) -> Result<Report> {
    ensure!(rustix::process::geteuid().is_root(), "suite packets makes network namespaces; run it as root");
    let nft = output(std::process::Command::new("nft").arg("--version"))?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut report = Report::new("packets", format!("network namespaces, kernel {}, {}", kernel.trim(), nft.trim()));
    cases::all(&mut report)?;
    Ok(report)
}
