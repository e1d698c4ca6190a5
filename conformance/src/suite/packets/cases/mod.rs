//! What is shown, a file per group.

mod affinity;
mod bytes;
mod change;
mod cluster_ip;
mod elements;
mod external;
mod fallback;
mod gateways;
mod health;
mod localhost;
mod node_port;
mod policy;
mod pool;
mod sandbox;
mod source;
mod takeover;

use anyhow::Result;

use super::Report;
use super::rig::Rig;

/// A group's name, and what runs it.
type Group = (&'static str, fn(&Rig, &mut Report) -> Result<()>);

/// Runs the groups whose names contain a text.
pub fn all(report: &mut Report, only: &str) -> Result<()> {
    let groups: [Group; 14] = [
        ("ClusterIP", cluster_ip::all),
        ("NodePort", node_port::all),
        ("NodePort at loopback", localhost::all),
        ("external addresses", external::all),
        ("pools", pool::all),
        ("Gateways", gateways::all),
        ("policies", policy::all),
        ("affinity", affinity::all),
        ("source", source::all),
        ("change", change::all),
        ("health", |rig, report| {
            health::all(rig, report);
            Ok(())
        }),
        ("takeover", |rig, report| {
            takeover::all(rig, report);
            Ok(())
        }),
        ("L7 Services", fallback::all),
        ("sandbox", |_, report| {
            sandbox::all(report);
            Ok(())
        }),
    ];
    if "bytes".contains(only) {
        bytes::all(report);
    }
    if "elements".contains(only) {
        elements::all(report)?;
    }
    let rig = Rig::make()?;
    groups.iter().filter(|(name, _)| name.contains(only)).try_for_each(|(_, run)| run(&rig, report))
}
