//! `run --manifests DIR --l4 --sandbox`: this program's own network namespaces, with a client, the folder's node and its Pods, so that
//! Services can be tried on a laptop and nothing of it is touched.
//!
//! This process moves into a namespace of its own and is the node; a child per Pod and one for the client make theirs. They
//! end with this process, and the namespaces with them. `network` says who there is, `host` is a child's life.

mod host;
mod network;

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use rust_ingress_model::Snapshot;
use rust_ingress_model::l4::NodeFacts;
use rustix::process::{getegid, geteuid};

pub use host::run as run_host;
use network::Network;

use crate::child::this_program;

/// What a host says when its namespace is there, and when it serves.
const MADE: &str = "made";
const SERVING: &str = "serving";

/// The namespaces, for as long as this lives.
#[derive(Debug)]
pub struct Sandbox {
    network: Network,
    hosts: Vec<Host>,
    /// Without root all of it is in a user namespace, which who enters has to name too.
    own_user: bool,
    tries: Vec<network::Try>,
}

#[derive(Debug)]
struct Host {
    child: Child,
    out: BufReader<ChildStdout>,
    /// It ends when this is closed.
    input: ChildStdin,
}

impl Sandbox {
    /// Moves this process, which must have no other thread, into the node's namespace, and makes the others.
    ///
    /// # Errors
    /// What is missing: the right to make namespaces, the program `ip`, or an address in the manifests.
    pub fn make(snapshot: &Snapshot, node: &NodeFacts) -> anyhow::Result<Self> {
        let network = Network::of(snapshot, node)?;
        let tries = network.tries(snapshot, node);
        let own_user = !geteuid().is_root();
        enter(own_user)?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("forwarding can't be turned on in the sandbox")?;
        let _without_ipv6 = fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
        host::ip("link set lo up\n")?;
        let mut hosts = Vec::new();
        for (interface, own, listen) in network.hosts() {
            let mut host = Host::start(&own, &listen)?;
            let pid = host.child.id();
            host::ip(&format!("link add {interface} type veth peer name eth0 netns {pid}\nlink set {interface} up\n"))?;
            host.say("configure")?;
            hosts.push(host);
        }
        host::ip(&network.node_lines())?;
        hosts.iter_mut().try_for_each(|host| host.hear(SERVING))?;
        Ok(Self { network, hosts, own_user, tries })
    }
}

/// Moves this process into namespaces of its own.
fn enter(own_user: bool) -> anyhow::Result<()> {
    if !own_user {
        return unshare(CloneFlags::CLONE_NEWNET).context("--sandbox can't make a network namespace");
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .context("--sandbox can't make a user namespace; run it as root, or allow user namespaces to everybody (sysctl user.max_user_namespaces)")?;
    for (file, text) in
        [("setgroups", "deny".to_owned()), ("uid_map", format!("0 {user} 1")), ("gid_map", format!("0 {group} 1"))]
    {
        fs::write(format!("/proc/self/{file}"), text).with_context(|| format!("--sandbox can't write /proc/self/{file}"))?;
    }
    Ok(())
}

impl Host {
    fn start(lines: &str, listen: &[SocketAddr]) -> anyhow::Result<Self> {
        let mut command = Command::new(this_program());
        command.arg("sandbox-host").arg("--lines").arg(lines);
        for address in listen {
            command.arg("--listen").arg(address.to_string());
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("a host of the sandbox can't be started")?;
        let (Some(input), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("a host of the sandbox has no pipes")
        };
        let mut host = Self { child, out: BufReader::new(out), input };
        host.hear(MADE)?;
        Ok(host)
    }

    fn say(&mut self, word: &str) -> anyhow::Result<()> {
        writeln!(self.input, "{word}").context("a host of the sandbox has ended; it says above why")
    }

    fn hear(&mut self, word: &str) -> anyhow::Result<()> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        ensure!(line.trim() == word, "a host of the sandbox has ended; it says above why");
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for Host { mut child, input, .. } in self.hosts.drain(..) {
            drop(input);
            // It ends by itself now.
            let _ended = child.wait();
        }
    }
}

/// What `run` prints: who there is, and lines to try.
impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let enter = |index: usize| {
            let pid = self.hosts.get(index).map_or(0, |host| host.child.id());
            let user = if self.own_user { " -U --preserve-credentials" } else { "" };
            format!("nsenter -t {pid}{user} -n")
        };
        writeln!(f, "sandbox, all of the above in it; this machine's own network is as it was:")?;
        for (index, who) in self.network.names().enumerate() {
            let mut line = String::new();
            write!(line, "  {who}")?;
            writeln!(f, "{line:<40} {} ip addr", enter(index))?;
        }
        writeln!(f, "try in the sandbox:")?;
        for network::Try { what, host, url } in &self.tries {
            writeln!(f, "  {what:<13} {} curl -sS {url}", enter(*host))?;
        }
        Ok(())
    }
}
