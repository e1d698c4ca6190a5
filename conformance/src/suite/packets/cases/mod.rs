//! What is shown, a file per group.

mod affinity;
mod bytes;
mod change;
mod cluster_ip;
mod elements;
mod external;
mod health;
mod node_port;
mod policy;
mod pool;
mod source;
mod takeover;

use anyhow::Result;

use super::Report;
use super::rig::Rig;

/// Runs all.
pub fn all(report: &mut Report) -> Result<()> {
    bytes::all(report);
    elements::all(report)?;
    let rig = Rig::make()?;
    cluster_ip::all(&rig, report)?;
    node_port::all(&rig, report)?;
    external::all(&rig, report)?;
    pool::all(&rig, report)?;
    policy::all(&rig, report)?;
    affinity::all(&rig, report)?;
    source::all(&rig, report)?;
    change::all(&rig, report)?;
    health::all(&rig, report);
    takeover::all(&rig, report);
    Ok(())
}
