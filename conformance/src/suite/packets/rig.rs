//! The rig: an outside client, a node, two Pods on it, and a Pod behind another node; veth pairs and routes as a CNI makes them.
//!
//! Nothing of it has a way out of the machine: the node's default route ends at the client.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use rust_ingress_model::l4::Transport;

use super::namespace::Namespace;
use super::talk;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn of(self, v4: &str, v6: &str) -> IpAddr {
        let text = match self {
            Self::V4 => v4,
            Self::V6 => v6,
        };
        text.parse().unwrap_or_else(|_| unreachable!("{text} is written here"))
    }
}

/// Addresses of the rig, by what has them.
pub mod at {
    use super::{Family, IpAddr};

    /// The client outside.
    pub fn client(family: Family) -> IpAddr {
        family.of("192.0.2.2", "2001:db8::2")
    }
    /// The node, on the client's side: its primary address.
    pub fn node(family: Family) -> IpAddr {
        family.of("192.0.2.1", "2001:db8::1")
    }
    /// The node, on the side of the Pod behind another node.
    pub fn node_inner(family: Family) -> IpAddr {
        family.of("198.51.100.1", "2001:db8:1::1")
    }
    /// The node, as its Pods see it.
    pub fn gateway(family: Family) -> IpAddr {
        family.of("10.244.1.1", "fd00:244:1::1")
    }
    /// The node's first Pod.
    pub fn pod1(family: Family) -> IpAddr {
        family.of("10.244.1.11", "fd00:244:1::11")
    }
    /// The node's second Pod.
    pub fn pod2(family: Family) -> IpAddr {
        family.of("10.244.1.12", "fd00:244:1::12")
    }
    /// The Pod behind another node.
    pub fn remote(family: Family) -> IpAddr {
        family.of("10.244.2.11", "fd00:244:2::11")
    }
    /// A ClusterIP.
    pub fn cluster_ip(family: Family) -> IpAddr {
        family.of("10.96.0.10", "fd00:96::10")
    }
    /// A ClusterIP that no Service has.
    pub fn unallocated(family: Family) -> IpAddr {
        family.of("10.96.9.9", "fd00:96::909")
    }
    /// A load balancer's address.
    pub fn load_balancer(family: Family) -> IpAddr {
        family.of("203.0.113.10", "2001:db8:2::10")
    }
    /// An address of a pool, in the network of the client's link.
    pub fn pooled(family: Family) -> IpAddr {
        family.of("192.0.2.240", "2001:db8::240")
    }
    /// An external IP.
    pub fn external(family: Family) -> IpAddr {
        family.of("203.0.113.20", "2001:db8:2::20")
    }
}

/// Where something is, by family.
type At = fn(Family) -> IpAddr;

/// The namespaces.
#[derive(Debug)]
pub struct Rig {
    /// Outside.
    pub client: Namespace,
    /// The node whose kernel is programmed.
    pub node: Namespace,
    /// A Pod on it.
    pub pod1: Namespace,
    /// Another one.
    pub pod2: Namespace,
    /// A Pod of another node.
    pub remote: Namespace,
}

impl Rig {
    /// Makes it, with a server on each but the node.
    pub fn make() -> Result<Self> {
        let rig = Self {
            client: Namespace::make("client")?,
            node: Namespace::make("node")?,
            pod1: Namespace::make("pod1")?,
            pod2: Namespace::make("pod2")?,
            remote: Namespace::make("remote")?,
        };
        rig.node.command("sysctl", &["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])?;
        rig.node.ip("link set lo up\n")?;
        rig.cable(&rig.client, "wan", ("192.0.2.1/24", "2001:db8::1/64"), ("192.0.2.2/24", "2001:db8::2/64"))?;
        rig.client.ip("route add default via 192.0.2.1\nroute add ::/0 via 2001:db8::1\n")?;
        rig.node.ip("route add default via 192.0.2.2\nroute add ::/0 via 2001:db8::2\n")?;
        rig.cable(&rig.remote, "lan", ("198.51.100.1/24", "2001:db8:1::1/64"), ("198.51.100.2/24", "2001:db8:1::2/64"))?;
        rig.remote.ip("addr add 10.244.2.11/32 dev eth0\naddr add fd00:244:2::11/128 dev eth0 nodad\n\
             route add default via 198.51.100.1 src 10.244.2.11\nroute add ::/0 via 2001:db8:1::1 src fd00:244:2::11\n")?;
        rig.node.ip("route add 10.244.2.0/24 via 198.51.100.2\nroute add fd00:244:2::/64 via 2001:db8:1::2\n")?;
        rig.pod(&rig.pod1, "pod1", "11")?;
        rig.pod(&rig.pod2, "pod2", "12")?;
        let servers: [(&Namespace, &'static str, At); 4] = [
            (&rig.client, "client", at::client),
            (&rig.pod1, "pod1", at::pod1),
            (&rig.pod2, "pod2", at::pod2),
            (&rig.remote, "remote", at::remote),
        ];
        for (namespace, name, at) in servers {
            talk::serve(namespace, name, &Family::BOTH.map(|family| SocketAddr::new(at(family), talk::PORT)))?;
            rig.wait_for(name, at)?;
        }
        Ok(rig)
    }

    /// Links take a moment to carry IPv6, and a first packet that is lost is tried again after longer than a test waits.
    fn wait_for(&self, name: &str, at: At) -> Result<()> {
        const TRIES: usize = 20;
        for family in Family::BOTH {
            for from in [&self.client, &self.node, &self.pod1, &self.pod2, &self.remote] {
                let reached = |_| {
                    let answer = talk::ask(from, Transport::Tcp, SocketAddr::new(at(family), talk::PORT));
                    answer.is_ok_and(|answer| answer.name() == Some(name))
                };
                ensure!((0..TRIES).any(reached), "{name} can't be reached from {} in the rig itself", from.name());
            }
        }
        Ok(())
    }

    /// A veth pair from the node to another namespace, with addresses on both ends.
    fn cable(&self, to: &Namespace, name: &str, here: (&str, &str), there: (&str, &str)) -> Result<()> {
        self.node.ip(&format!(
            "link add {name} type veth peer name eth0 netns {}\naddr add {} dev {name}\naddr add {} dev {name} nodad\nlink set {name} up\n",
            to.name(),
            here.0,
            here.1
        ))?;
        to.ip(&format!("link set lo up\naddr add {} dev eth0\naddr add {} dev eth0 nodad\nlink set eth0 up\n", there.0, there.1))
    }

    /// A Pod's cable: its addresses are hosts behind it, the node is the next hop.
    fn pod(&self, pod: &Namespace, name: &str, host: &str) -> Result<()> {
        let (v4, v6) = (format!("10.244.1.{host}"), format!("fd00:244:1::{host}"));
        self.cable(pod, name, ("10.244.1.1/32", "fd00:244:1::1/128"), (&format!("{v4}/32"), &format!("{v6}/128")))?;
        self.node.ip(&format!("route add {v4}/32 dev {name}\nroute add {v6}/128 dev {name}\n"))?;
        pod.ip("route add 10.244.1.1/32 dev eth0\nroute add default via 10.244.1.1\n\
             route add fd00:244:1::1/128 dev eth0\nroute add ::/0 via fd00:244:1::1\n")
    }
}
