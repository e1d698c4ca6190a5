//! What `up` writes down before it makes anything, so that `down` finds all of it after a kill at any point.
//!
//! Everything a cluster leaves on the machine is in one of these: the state folder, network namespaces with recorded names,
//! one cgroup per hierarchy, and a few kernel settings that kubelets change. Processes, Pods and mounts need no list: every
//! process is born in the recorded cgroup, and every mount lives in a mount namespace that ends with its processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::layout::{CGROUP, Node, WAN};
use super::{KubeProxy, Options};

/// Kernel settings, not bound to a namespace, that a kubelet sets to its liking.
const KERNEL: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// The record of one cluster.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Record {
    /// What was asked for.
    pub options: Options,
    /// Whether `up` came to its end.
    pub complete: bool,
    /// Network namespaces that it makes.
    pub namespaces: Vec<String>,
    /// The cgroup that it makes, one path per hierarchy; every process of the cluster is born below the first.
    pub cgroups: Vec<PathBuf>,
    /// Kernel settings as they were.
    pub kernel: BTreeMap<String, String>,
}

impl Record {
    /// What a cluster with these options is going to make, on a machine that has nothing of the kind.
    pub fn plan(options: Options) -> Result<Self> {
        let mut namespaces = vec![WAN.to_owned()];
        namespaces.extend(Node::all(options.nodes).map(Node::namespace));
        let cgroups: Vec<PathBuf> = hierarchies(&fs::read_to_string("/proc/mounts")?).iter().map(|at| at.join(CGROUP)).collect();
        let read = |name: &&str| Some(((*name).to_owned(), fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?));
        let kernel = KERNEL.iter().filter_map(read).collect();
        Ok(Self { options, complete: false, namespaces, cgroups, kernel })
    }

    /// Names of what is there already, which then belongs to somebody else.
    pub fn taken(&self) -> Vec<String> {
        let namespaces = self.namespaces.iter().map(|name| namespace_path(name));
        namespaces
            .chain(self.cgroups.iter().cloned())
            .filter(|path| path.exists())
            .map(|path| path.display().to_string())
            .collect()
    }

    /// The record in a state folder, if there is one.
    pub fn read(state: &Path) -> Result<Option<Self>> {
        let path = file(state);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("{}: can't be read", path.display()))?,
        };
        let record = serde_json::from_str(&text);
        record.map(Some).with_context(|| format!("{}: is not a record of this program", path.display()))
    }

    /// Writes the record; whole or not at all.
    pub fn write(&self, state: &Path) -> Result<()> {
        fs::create_dir_all(state).with_context(|| format!("{}: can't be made", state.display()))?;
        let next = state.join("record.next");
        fs::write(&next, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&next, file(state)).with_context(|| format!("{}: can't be written", file(state).display()))
    }

    /// The cgroup folder whose members are the cluster's processes.
    pub fn members(&self) -> Option<&Path> {
        self.cgroups.first().map(PathBuf::as_path)
    }

    /// One line: what runs, for result files.
    pub fn describe(&self) -> String {
        let Options { nodes, pod_network, kube_proxy } = &self.options;
        let proxy = match kube_proxy {
            KubeProxy::None => "no kube-proxy".to_owned(),
            mode => format!("kube-proxy ({mode})"),
        };
        format!("Kubernetes v{}, {nodes} nodes, Pod network {pod_network}, {proxy}", super::KUBERNETES)
    }
}

/// Where `ip netns` keeps a namespace.
pub fn namespace_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

fn file(state: &Path) -> PathBuf {
    state.join("record.json")
}

/// The mounted cgroup hierarchies, the one that counts members first. `pids` is never moved around by others.
pub fn hierarchies(mounts: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        if let (Some(at), Some("cgroup" | "cgroup2")) = (fields.next(), fields.next())
            && at.starts_with("/sys/fs/cgroup")
        {
            found.push(at.into());
        }
    }
    found.sort_by_key(|at| !at.ends_with("pids"));
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn hierarchies_of_version_1_and_2() {
        let one = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ncgroup /elsewhere/cpu cgroup rw 0 0\n";
        let paths = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"];
        assert_eq!(hierarchies(one), paths.map(PathBuf::from));
        assert_eq!(hierarchies("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"), [PathBuf::from("/sys/fs/cgroup")]);
        assert!(hierarchies("proc /proc proc rw 0 0\n").is_empty());
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), None);
        let options = Options { nodes: 3, ..Options::default() };
        let kernel = BTreeMap::from([("kernel/panic".to_owned(), "0\n".to_owned())]);
        let record = Record { options, complete: true, namespaces: vec![WAN.into()], cgroups: vec!["/c".into()], kernel };
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), Some(record));
        fs::write(file(folder.path()), "{").unwrap();
        assert!(Record::read(folder.path()).unwrap_err().to_string().contains("record.json"));
    }
}
