//! The node agent of `run --l4`: started before anything is read, told by the driver, ended with it. Its rules stay.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use rust_ingress_model::l4::NodeFacts;
use rust_ingress_model::{Fault, Snapshot};
use rust_ingress_proxy::agent::address::Addresses;
use rust_ingress_proxy::agent::{Agent, Alive, Options};
use rustix::thread::{CapabilitySet, capabilities};

use crate::cli::flags::l4::L4Args;
use crate::driver::Driver;
use crate::plane::Kernel;

/// What others have to do with the agent.
pub(super) struct Ties {
    /// What it answers for.
    pub(super) addresses: Addresses,
    /// The way to tell the kernel that the proxy is alive.
    pub(super) alive: Alive,
}

/// Starts the agent where the flags ask for one, and lets the driver program this node's kernel through it.
pub(super) fn start(args: &L4Args, driver: &mut Driver) -> anyhow::Result<Option<Ties>> {
    let Some(node) = args.node()? else { return Ok(None) };
    let held = capabilities(None).context("can't ask for this program's capabilities")?;
    if !held.effective.contains(CapabilitySet::NET_ADMIN) {
        bail!(
            "--l4 programs the kernel of this node and needs CAP_NET_ADMIN; run as root, add the capability, or leave --l4 out"
        );
    }
    tracing::info!(node, "Services are programmed into the kernel, in {}", namespace());
    let mut settings = args.settings()?;
    settings.l7_port = settings.l7_port.map(free);
    let agent = Agent::start(Options { settings: settings.clone(), ..Options::default() })?;
    let ties = Ties { addresses: agent.addresses(), alive: agent.alive() };
    driver.program(node.into(), settings, Box::new(agent));
    Ok(Some(ties))
}

/// The port, or, where a predecessor has it that still drains, the next one: the kernel sends to one of them only, and who ends
/// takes nothing with it that is meant for the other.
fn free(port: u16) -> u16 {
    let taken = |port: u16| matches!(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)), Err(error) if error.kind() == ErrorKind::AddrInUse);
    match port.checked_add(1) {
        Some(next) if taken(port) => next,
        _ => port,
    }
}

/// The network namespace of this program, as `ls -l /proc/PID/ns/net` shows it.
fn namespace() -> String {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    match (of("self"), of("1")) {
        (None, _) => "this program's network namespace".into(),
        (Some(own), first) => {
            let whose = if first.as_ref() == Some(&own) { "that of process 1" } else { "not that of process 1" };
            format!("the network namespace {}, {whose}", own.display())
        }
    }
}

impl Kernel for Agent {
    fn publish(&self, snapshot: &Arc<Snapshot>, node: &NodeFacts, triggered: &[SystemTime]) -> Vec<Fault> {
        let faults = Agent::publish(self, snapshot, node);
        if self.is_written() {
            self.programmed(triggered);
        }
        faults
    }
}
