//! Who there is in the sandbox, from the manifests: the node's addresses, a client on its link, a Pod for each endpoint on the node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use rust_ingress_model::Snapshot;
use rust_ingress_model::l4::{NodeFacts, Transport};

/// Pods that are made; a folder may name hundreds.
const MOST_PODS: usize = 16;
/// Where the client answers, as the world outside.
const OUTSIDE: u16 = 8080;
/// The node, as every Pod sees it; no other host can.
const GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// Addresses, and who has them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Network {
    /// The node's and the client's on their link, a pair a family.
    link: Vec<(IpNet, IpNet)>,
    /// The Pods' and the ports that they serve.
    pods: BTreeMap<IpAddr, BTreeSet<u16>>,
}

/// A line to try: from a host, by its place in [`Network::hosts`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Try {
    pub(super) what: &'static str,
    pub(super) host: usize,
    pub(super) url: String,
}

impl Network {
    /// That of a node's manifests.
    pub(super) fn of(snapshot: &Snapshot, node: &NodeFacts) -> anyhow::Result<Self> {
        let mut link: Vec<(IpNet, IpNet)> = Vec::new();
        for address in &node.addresses {
            if link.iter().all(|(own, _)| own.addr().is_ipv4() != address.is_ipv4()) {
                link.push((
                    net(*address),
                    client(*address, snapshot)
                        .with_context(|| format!("the link of {address} has no address left for a client"))?,
                ));
            }
        }
        if link.is_empty() {
            bail!("Node {} has no address; give it one of type InternalIP in status.addresses", node.name);
        }
        let mut pods = BTreeMap::<IpAddr, BTreeSet<u16>>::new();
        let endpoints =
            snapshot.services.values().flat_map(|service| &service.ports).filter(|port| port.transport == Transport::Tcp);
        for endpoint in endpoints.flat_map(|port| &port.endpoints).filter(|endpoint| endpoint.node.as_ref() == Some(&node.name)) {
            if pods.len() < MOST_PODS || pods.contains_key(&endpoint.address.ip()) {
                pods.entry(endpoint.address.ip()).or_default().insert(endpoint.address.port());
            }
        }
        if pods.is_empty() {
            bail!(
                "no Service has a TCP endpoint on node {}; give an EndpointSlice's endpoints nodeName: {}",
                node.name,
                node.name
            );
        }
        Ok(Self { link, pods })
    }

    /// The client, then the Pods: the node's interface to it, what `ip` has to do there, and where it listens.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (String, String, Vec<SocketAddr>)> {
        let client = (
            "client".to_owned(),
            self.client_lines(),
            self.link.iter().map(|(_, own)| SocketAddr::new(own.addr(), OUTSIDE)).collect(),
        );
        let pods = self.pods.iter().enumerate().map(|(index, (address, ports))| {
            (format!("pod{index}"), pod_lines(*address), ports.iter().map(|port| SocketAddr::new(*address, *port)).collect())
        });
        std::iter::once(client).chain(pods)
    }

    /// The same, in words.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let addresses: Vec<String> = self.link.iter().map(|(_, own)| own.addr().to_string()).collect();
        std::iter::once(format!("client  {}", addresses.join(", ")))
            .chain(self.pods.keys().map(|address| format!("Pod     {address}")))
    }

    fn client_lines(&self) -> String {
        let mut lines = "link set lo up\nlink set eth0 up\n".to_owned();
        for (node, own) in &self.link {
            let _infallible = write!(
                lines,
                "addr add {own} dev eth0{}\nroute add {} via {}\n",
                nodad(own.addr()),
                all(own.addr()),
                node.addr()
            );
        }
        lines
    }

    /// What `ip` has to do on the node when all interfaces are there. The way out ends at the client.
    pub(super) fn node_lines(&self) -> String {
        let mut lines = String::new();
        for (own, client) in &self.link {
            let _infallible = write!(
                lines,
                "addr add {own} dev client{}\nroute add {} via {}\n",
                nodad(own.addr()),
                all(own.addr()),
                client.addr()
            );
        }
        for (index, address) in self.pods.keys().enumerate() {
            let (gateway, host) = (gateway(*address), IpNet::from(*address));
            let source = self.link.iter().map(|(own, _)| own.addr()).find(|own| own.is_ipv4() == address.is_ipv4());
            let source = source.map(|source| format!(" src {source}")).unwrap_or_default();
            let _infallible = write!(
                lines,
                "addr add {} dev pod{index} scope link{}\nroute add {host} dev pod{index}{source}\n",
                IpNet::from(gateway),
                nodad(gateway)
            );
        }
        lines
    }

    /// A line of each kind that the folder has something for.
    pub(super) fn tries(&self, snapshot: &Snapshot, node: &NodeFacts) -> Vec<Try> {
        const CLIENT: usize = 0;
        const POD: usize = 1;
        let url = |address: IpAddr, port: u16| match port {
            80 => format!("http://{}/", bracketed(address)),
            _ => format!("http://{}/", SocketAddr::new(address, port)),
        };
        let ports = || snapshot.services.values().flat_map(|service| service.ports.iter().map(move |port| (&**service, port)));
        let tcp = || ports().filter(|(_, port)| port.transport == Transport::Tcp && !port.endpoints.is_empty());
        let at = |address: Option<&IpAddr>, port: u16| Some(url(*address?, port));
        let primary = node.addresses.first();
        let outside = self.link.first().map(|(_, client)| url(client.addr(), OUTSIDE));
        let tries = [
            ("ClusterIP", POD, tcp().find_map(|(service, port)| at(service.cluster_ips.first(), port.port))),
            ("NodePort", CLIENT, tcp().find_map(|(_, port)| at(primary, port.node_port?))),
            ("LoadBalancer", CLIENT, tcp().find_map(|(service, port)| at(service.load_balancer_ips.first(), port.port))),
            ("egress", POD, outside),
        ];
        tries.into_iter().filter_map(|(what, host, url)| Some(Try { what, host, url: url? })).collect()
    }
}

/// An address in its link's network.
fn net(address: IpAddr) -> IpNet {
    IpNet::new(address, if address.is_ipv4() { 24 } else { 64 }).unwrap_or_else(|_| address.into())
}

/// The last address of the link that neither the node nor a pool has.
fn client(node: IpAddr, snapshot: &Snapshot) -> Option<IpNet> {
    let free = |address: &IpAddr| *address != node && !snapshot.pools.values().any(|pool| pool.contains(*address));
    let host = |last: u8| match node {
        IpAddr::V4(node) => IpAddr::V4((u32::from(node) & !0xff | u32::from(last)).into()),
        IpAddr::V6(node) => IpAddr::V6((u128::from(node) & !u128::from(u64::MAX) | u128::from(last)).into()),
    };
    (1..=254).rev().map(host).find(free).map(net)
}

fn pod_lines(address: IpAddr) -> String {
    let (gateway, own) = (gateway(address), IpNet::from(address));
    let to_gateway = if address.is_ipv4() { format!("route add {gateway} dev eth0\n") } else { String::new() };
    format!(
        "link set lo up\nlink set eth0 up\naddr add {own} dev eth0{}\n{to_gateway}route add {} via {gateway} dev eth0\n",
        nodad(address),
        all(address)
    )
}

fn gateway(address: IpAddr) -> IpAddr {
    if address.is_ipv4() { GATEWAY_V4 } else { GATEWAY_V6 }
}

/// Every destination of the family.
fn all(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "0.0.0.0/0" } else { "::/0" }
}

/// Usable at once: nobody else is on the link.
fn nodad(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "" } else { " nodad" }
}

fn bracketed(address: IpAddr) -> String {
    if address.is_ipv4() { address.to_string() } else { format!("[{address}]") }
}
