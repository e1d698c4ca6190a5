//! The program's processes inside Pods, found by the network they are in, and ended as a crash would.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Cluster, Place};

/// Which of the program's two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::suite) enum Part {
    /// `rust-ingress run`
    Parent,
    /// `rust-ingress proxy`
    Child,
}

/// The process of a node's Pod.
pub(in crate::suite) fn find(cluster: &Cluster, node: u8, part: Part) -> Result<Pid> {
    let network = cluster.run(Place::Network(node), &["readlink", "/proc/self/ns/net"])?;
    let wanted = match part {
        Part::Parent => "run",
        Part::Child => "proxy",
    };
    let is_wanted = |pid: &i32| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}"));
        let ours = link("exe").is_ok_and(|exe| exe.file_name().is_some_and(|name| name == "rust-ingress"));
        ours && command.split('\0').nth(1) == Some(wanted)
            && link("ns/net").is_ok_and(|there| there.as_os_str() == network.trim())
    };
    let mut all = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let found = all.find(is_wanted);
    found.and_then(Pid::from_raw).with_context(|| format!("no rust-ingress {wanted} runs on node{node}"))
}

/// Ends one with SIGKILL, and waits until there is another; how long that took.
pub(super) fn kill_and_wait(cluster: &Cluster, node: u8, part: Part, patience: Duration) -> Result<Duration> {
    let old = find(cluster, node, part)?;
    kill_process(old, Signal::KILL)?;
    let begin = Instant::now();
    loop {
        match find(cluster, node, part) {
            Ok(new) if new != old => return Ok(begin.elapsed()),
            _ => ensure!(begin.elapsed() < patience, "no new {part:?} on node{node} after {patience:?}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
