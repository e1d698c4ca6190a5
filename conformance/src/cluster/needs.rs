//! What a machine must have before a cluster can be brought up; each thing that is missing is named with what to do about it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{KubeProxy, Options, record};

/// Programs, and the Debian package that has each.
const PROGRAMS: [(&str, &str); 10] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
    ("sysctl", "procps"),
    ("conntrack", "conntrack"),
];
/// CNI plugins, all of one Debian package.
const PLUGINS: [&str; 5] = ["bridge", "host-local", "loopback", "portmap", "ptp"];

/// Checks them all and names all that are missing.
pub fn check(options: &Options) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "a cluster needs root, for network namespaces, mounts and cgroups: run this command as root"
    );
    let mut programs = PROGRAMS.to_vec();
    match options.kube_proxy {
        KubeProxy::None => {}
        KubeProxy::Nftables => programs.push(("nft", "nftables")),
        KubeProxy::Iptables => programs.extend([("iptables", "iptables"), ("ip6tables", "iptables")]),
    }
    let mut packages: Vec<&str> = programs.iter().filter(|(program, _)| !present(program)).map(|(_, package)| *package).collect();
    if PLUGINS.iter().any(|plugin| !Path::new("/usr/lib/cni").join(plugin).exists()) {
        packages.push("containernetworking-plugins");
    }
    packages.sort_unstable();
    packages.dedup();
    ensure!(packages.is_empty(), "missing: {0}. Install with: apt-get install --no-install-recommends {0}", packages.join(" "));
    namespaces()?;
    writable_cgroups()
}

fn present(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn namespaces() -> Result<()> {
    let tried = Command::new("unshare").args(["--net", "--mount", "true"]).stderr(Stdio::piped()).output()?;
    let words = String::from_utf8_lossy(&tried.stderr);
    ensure!(
        tried.status.success(),
        "this process may not make namespaces ({}): a container must be privileged for it",
        words.trim()
    );
    Ok(())
}

fn writable_cgroups() -> Result<()> {
    let hierarchies = record::hierarchies(&fs::read_to_string("/proc/mounts")?);
    ensure!(
        !hierarchies.is_empty(),
        "no cgroup hierarchy is mounted under /sys/fs/cgroup, and kubelets can't run Pods without: mount it (a container needs \
         --privileged --cgroupns=host)"
    );
    for hierarchy in hierarchies {
        let folder = hierarchy.join("rust-ingress-probe");
        let made = fs::create_dir(&folder).and_then(|()| fs::remove_dir(&folder));
        made.with_context(|| {
            format!("{}: cgroups can't be made there, and kubelets can't run Pods without", hierarchy.display())
        })?;
    }
    Ok(())
}
