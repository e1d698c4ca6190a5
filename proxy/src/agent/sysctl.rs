//! Kernel settings that make Services work as people expect.

use std::fs;
use std::path::PathBuf;

/// One setting: its name below `/proc/sys`, with slashes, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// For example `net/netfilter/nf_conntrack_tcp_be_liberal`.
    pub name: String,
    /// The value.
    pub value: String,
}

impl Sysctl {
    /// What the agent sets unless told not to.
    ///
    /// - Packets outside of TCP's window are let through: taken for invalid, they aren't translated back, and the client ends the
    ///   connection with a reset (kubernetes/kubernetes#74839).
    /// - A connection whose client is done and whose server isn't lives for an hour, not a minute: as kube-proxy has it.
    pub fn usual() -> Vec<Self> {
        let sysctl = |name: &str, value: &str| Self { name: format!("net/netfilter/{name}"), value: value.to_owned() };
        vec![sysctl("nf_conntrack_tcp_be_liberal", "1"), sysctl("nf_conntrack_tcp_timeout_close_wait", "3600")]
    }
}

/// Makes settings; what can't be made is said, and does no harm.
pub(super) fn apply(sysctls: &[Sysctl]) {
    for Sysctl { name, value } in sysctls {
        let path: PathBuf = ["/proc/sys", name].iter().collect();
        if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
            continue;
        }
        if let Err(error) = fs::write(&path, value) {
            tracing::warn!(%error, "{} can't be set to {value}; set it on the node", path.display());
        }
    }
}
