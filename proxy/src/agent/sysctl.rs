//! Kernel settings that make Services work as people expect.

use std::fs;
use std::io;
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

    /// Makes this setting, unless it is so already.
    ///
    /// # Errors
    /// It can't be written: in a container that isn't privileged, all of `/proc/sys` can't be.
    pub fn set(&self) -> io::Result<()> {
        let Self { name, value } = self;
        let path: PathBuf = ["/proc/sys", name].iter().collect();
        if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
            return Ok(());
        }
        fs::write(&path, value)
    }
}

/// Makes settings; what can't be made is said, and does no harm.
pub(super) fn apply(sysctls: &[Sysctl]) {
    for sysctl in sysctls {
        if let Err(error) = sysctl.set() {
            let Sysctl { name, value } = sysctl;
            tracing::warn!(%error, "/proc/sys/{name} can't be set to {value}; set it on the node: rust-ingress agent sysctl");
        }
    }
}
