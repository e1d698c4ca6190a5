//! Gathers facts of this node, from the network namespace and the processes that this program sees.

use std::fs;
use std::io;
use std::path::Path;

use rust_ingress_model::l4::ruleset::TABLE;

use super::{Facts, Interface, chains};
use crate::agent::Agent;

/// The settings that are judged.
const SETTINGS: [&str; 6] = [
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/all/disable_ipv6",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/ipv4/conf/all/rp_filter",
];

impl Facts {
    /// Looks at this node.
    ///
    /// # Errors
    /// The kernel doesn't list its nf_tables chains, which needs CAP_NET_ADMIN.
    pub fn gather() -> io::Result<Self> {
        let read = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).ok();
        let setting = |name: &&str| read(name).map(|value| ((*name).to_owned(), value.trim().to_owned()));
        let mut found = chains::dump()?;
        found.retain(|chain| chain.table != TABLE);
        Ok(Self {
            release: read("kernel/osrelease").unwrap_or_default().trim().to_owned(),
            refused: Agent::check().err().map(|error| error.to_string()),
            settings: SETTINGS.iter().filter_map(setting).collect(),
            interfaces: interfaces().map(|name| (name.clone(), interface(&name))).collect(),
            chains: found,
            legacy_tables: lines("/proc/net/ip_tables_names").chain(lines("/proc/net/ip6_tables_names")).collect(),
            programs: folder("/proc").iter().filter_map(|process| program(process)).collect(),
            ipvs: lines("/proc/net/ip_vs").any(|line| ["TCP", "UDP", "SCTP"].iter().any(|name| line.starts_with(name))),
        })
    }
}

/// What a file or folder that isn't there holds: nothing.
fn lines(path: &str) -> impl Iterator<Item = String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn folder(path: &str) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Interfaces of our network namespace: `/sys` may be mounted in another one.
fn interfaces() -> impl Iterator<Item = String> {
    lines("/proc/self/net/dev").filter_map(|line| line.split_once(':').map(|(name, _)| name.trim().to_owned()))
}

fn interface(name: &str) -> Interface {
    let read = |path: String| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let said = read(format!("/sys/class/net/{name}/uevent"));
    let kind = said.lines().find_map(|line| line.strip_prefix("DEVTYPE=")).unwrap_or_default().to_owned();
    Interface {
        mtu: read(format!("/sys/class/net/{name}/mtu")).parse().unwrap_or_default(),
        rp_filter: read(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter")).parse().unwrap_or_default(),
        kind,
    }
}

/// The name of a process' program; `None` for other entries of `/proc`.
fn program(process: &str) -> Option<String> {
    process.parse::<u32>().ok()?;
    fs::read_to_string(format!("/proc/{process}/comm")).ok().map(|name| name.trim().to_owned())
}
