//! The flags of `run` that are about the node agent: Services in the kernel of this node, in place of kube-proxy.

use std::str::FromStr;

use anyhow::bail;
use clap::{ArgAction, Args};
use ipnet::IpNet;
use rust_ingress_model::Name;
use rust_ingress_model::l4::{EgressSnat, L4Settings, LocalPods, LoopbackPorts, NodeFacts, NodePortAddresses};

use super::cluster::dns_name;
use super::network;

/// Which node, and how it carries Services.
#[derive(Args)]
#[command(next_help_heading = "Services in the kernel of this node (in place of kube-proxy; needs root or CAP_NET_ADMIN)")]
pub(in crate::cli) struct L4Args {
    /// Carry Services on this node: ClusterIPs, NodePorts, load balancer and external addresses
    #[arg(long, conflicts_with = "watch_namespace")]
    l4: bool,
    /// That alone: no listeners, and no Ingresses
    #[arg(long, conflicts_with_all = ["http", "https", "watch_namespace"])]
    pub(in crate::cli) l4_only: bool,
    /// This node, as its Node object is called [default: the environment's NODE_NAME, else this machine's name]
    #[arg(long, value_name = "NAME", value_parser = dns_name)]
    pub(in crate::cli) node_name: Option<String>,
    /// In network namespaces of this program's own, with a client, the folder's node and its Pods: a trial that touches nothing of this
    /// machine's network
    #[arg(long, requires = "manifests")]
    pub(in crate::cli) sandbox: bool,
    #[command(flatten)]
    pub(in crate::cli) carry: CarryArgs,
}

/// How a node carries Services. `agent render` and `agent explain` have the same flags, and say what they lead to.
#[derive(Args)]
#[command(next_help_heading = "How Services are carried")]
pub(in crate::cli) struct CarryArgs {
    /// Where NodePorts are served: on the node's primary addresses, or on all of its addresses in these networks
    #[arg(long, value_name = "primary|CIDR,…", default_value = "primary")]
    nodeport_addresses: NodePorts,
    /// Serve them at 127.0.0.1 and ::1 as well, to programs of the node itself, TCP
    #[arg(long, value_name = "true|false", default_value_t = true, action = ArgAction::Set)]
    localhost_nodeports: bool,
    /// The Pod addresses of the whole cluster
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',', value_parser = network)]
    cluster_cidr: Vec<IpNet>,
    /// Whose source is kept on the way to a Service: Pods in the node's Pod CIDRs, in those of the cluster, or behind these
    /// interfaces [default: cluster-cidr where --cluster-cidr is given, else node-cidr]
    #[arg(long, value_name = "node-cidr|cluster-cidr|interface:PREFIX,…")]
    local_pods: Option<Pods>,
    /// Give every connection to a Service the node's address
    #[arg(long)]
    masquerade_all: bool,
    /// Where the proxy takes the traffic of Services with the annotation rust-ingress.dev/l7; refused to who asks there otherwise
    #[arg(long, value_name = "PORT", default_value_t = 9903, value_parser = clap::value_parser!(u16).range(1..))]
    l7_port: u16,
    /// Give connections from Pods of this node to the outside the node's address
    #[arg(long)]
    egress_snat: bool,
    /// Where Pods keep their own address outside [default: --cluster-cidr]
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',', value_parser = network, requires = "egress_snat")]
    non_masquerade_cidrs: Vec<IpNet>,
    /// The node's address towards 169.254.0.0/16 too
    #[arg(long, requires = "egress_snat")]
    masq_link_local: bool,
    /// The node's address towards fe80::/10 too
    #[arg(long, requires = "egress_snat")]
    masq_link_local_ipv6: bool,
    /// Source ports of these connections at random
    #[arg(long, requires = "egress_snat")]
    random_fully: bool,
    /// Source ports of these connections
    #[arg(long, value_name = "FIRST-LAST", requires = "egress_snat", value_parser = ports)]
    to_ports: Option<(u16, u16)>,
}

/// Where connections to NodePorts at loopback addresses are taken, if nobody has these ports.
const LOOPBACK: LoopbackPorts = LoopbackPorts { v4: 9905, v6: Some(9905) };

/// `--nodeport-addresses`
#[derive(Clone)]
struct NodePorts(NodePortAddresses);

/// `--local-pods`
#[derive(Clone)]
enum Pods {
    NodeCidr,
    ClusterCidr,
    Interfaces(Vec<Name>),
}

impl L4Args {
    /// As a cluster's nodes are set up: whose the node is, and egress SNAT for its Pods.
    pub(in crate::cli) fn in_sandbox(&mut self, node: &NodeFacts) {
        self.node_name = Some(node.name.to_string());
        if self.carry.cluster_cidr.is_empty() {
            self.carry.cluster_cidr.clone_from(&node.pod_cidrs);
        }
        self.carry.egress_snat |= !self.carry.cluster_cidr.is_empty();
    }

    /// Whether an agent is to run.
    pub(in crate::cli) fn on(&self) -> bool {
        self.l4 || self.l4_only
    }

    /// The node that it runs on. `None`: there is no agent.
    pub(in crate::cli) fn node(&self) -> anyhow::Result<Option<String>> {
        if !self.on() {
            return Ok(None);
        }
        let environment = || std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
        let name = self.node_name.clone().or_else(environment).unwrap_or_else(|| super::status::host().to_lowercase());
        match dns_name(&name) {
            Ok(name) => Ok(Some(name)),
            Err(why) => bail!("{name:?} can't be the name of this node: {why}; give --node-name NAME"),
        }
    }

    /// How it is set up.
    pub(in crate::cli) fn settings(&self) -> anyhow::Result<L4Settings> {
        let settings = self.carry.settings()?;
        Ok(L4Settings { l7_port: settings.l7_port.filter(|_| !self.l4_only), ..settings })
    }
}

impl CarryArgs {
    /// The agent's settings, with a proxy beside it.
    pub(in crate::cli) fn settings(&self) -> anyhow::Result<L4Settings> {
        let local_pods = match &self.local_pods {
            None if self.cluster_cidr.is_empty() => LocalPods::NodeCidrs,
            Some(Pods::NodeCidr) => LocalPods::NodeCidrs,
            Some(Pods::ClusterCidr) if self.cluster_cidr.is_empty() => {
                bail!("--local-pods cluster-cidr needs --cluster-cidr CIDR")
            }
            None | Some(Pods::ClusterCidr) => LocalPods::Cidrs(self.cluster_cidr.clone()),
            Some(Pods::Interfaces(prefixes)) => LocalPods::Interfaces(prefixes.clone()),
        };
        let non_masquerade =
            if self.non_masquerade_cidrs.is_empty() { self.cluster_cidr.clone() } else { self.non_masquerade_cidrs.clone() };
        if self.egress_snat && non_masquerade.is_empty() {
            bail!(
                "--egress-snat would hide Pods from each other; say where their own addresses are kept, with --cluster-cidr CIDR"
            );
        }
        let egress = EgressSnat {
            non_masquerade,
            link_local: self.masq_link_local,
            link_local_ipv6: self.masq_link_local_ipv6,
            random_fully: self.random_fully,
            to_ports: self.to_ports,
        };
        Ok(L4Settings {
            node_port_addresses: self.nodeport_addresses.0.clone(),
            local_pods,
            masquerade_all: self.masquerade_all,
            l7_port: Some(self.l7_port),
            loopback: self.localhost_nodeports.then_some(LOOPBACK),
            egress: self.egress_snat.then_some(egress),
        })
    }
}

impl FromStr for NodePorts {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "primary" {
            return Ok(Self(NodePortAddresses::Primary));
        }
        text.split(',').map(network).collect::<Result<_, _>>().map(|networks| Self(NodePortAddresses::Cidrs(networks)))
    }
}

impl FromStr for Pods {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // A name is at most 15 bytes (IFNAMSIZ); a prefix is shorter, or there is nothing behind it.
        let name =
            |text: &str| !text.is_empty() && text.len() < 16 && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        match (text, text.strip_prefix("interface:")) {
            ("node-cidr", _) => Ok(Self::NodeCidr),
            ("cluster-cidr", _) => Ok(Self::ClusterCidr),
            (_, Some(list)) if list.split(',').all(name) => Ok(Self::Interfaces(list.split(',').map(Name::from).collect())),
            (_, Some(_)) => Err("expected the beginnings of interface names after interface:, such as cali".into()),
            _ => Err("expected node-cidr, cluster-cidr or interface:PREFIX".into()),
        }
    }
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let range = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    range.filter(|(first, last)| *first > 0 && first <= last).ok_or_else(|| "expected two ports, such as 1024-65535".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Sample {
        #[command(flatten)]
        l4: L4Args,
        #[arg(long)]
        watch_namespace: Vec<String>,
        #[arg(long)]
        http: Vec<String>,
        #[arg(long)]
        https: Vec<String>,
        #[arg(long)]
        manifests: Option<String>,
    }

    fn settings(flags: &str) -> Result<L4Settings, String> {
        let parsed = Sample::try_parse_from(["x"].into_iter().chain(flags.split_whitespace()));
        parsed.map_err(|error| error.to_string())?.l4.settings().map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_nothing_but_the_node_s_own_is_assumed() {
        let alone = L4Settings { loopback: Some(LOOPBACK), ..L4Settings::default() };
        assert_eq!(settings("--l4"), Ok(L4Settings { l7_port: Some(9903), ..alone.clone() }));
        assert_eq!(settings("--l4-only"), Ok(alone), "no proxy");
        assert_eq!(settings("--l4-only --localhost-nodeports false"), Ok(L4Settings::default()));
    }

    #[test]
    fn flags_become_settings() {
        let all = "--l4 --nodeport-addresses 192.0.2.0/24,2001:db8::/32 --local-pods interface:cali,veth --egress-snat \
                   --cluster-cidr 10.244.0.0/16,fd00::/48 --to-ports 1024-2048 --random-fully";
        let settings = settings(all).unwrap_or_else(|error| panic!("{error}"));
        let NodePortAddresses::Cidrs(networks) = settings.node_port_addresses else { panic!("not networks") };
        assert_eq!(networks.len(), 2);
        assert_eq!(settings.local_pods, LocalPods::Interfaces(vec!["cali".into(), "veth".into()]));
        let egress = settings.egress.unwrap_or_default();
        assert_eq!((egress.non_masquerade.len(), egress.to_ports, egress.random_fully), (2, Some((1024, 2048)), true));
    }

    #[test]
    fn pods_are_known_by_the_range_of_the_cluster_where_it_is_given() {
        let cluster = LocalPods::Cidrs(vec!["10.244.0.0/16".parse().unwrap_or_else(|_| panic!("a network"))]);
        for (flags, expected) in [
            ("--l4 --cluster-cidr 10.244.0.0/16", cluster),
            ("--l4 --cluster-cidr 10.244.0.0/16 --local-pods node-cidr", LocalPods::NodeCidrs),
        ] {
            assert_eq!(settings(flags).map(|settings| settings.local_pods), Ok(expected), "{flags}");
        }
    }

    #[test]
    fn what_would_break_pods_is_refused() {
        for (flags, expected) in [
            ("--l4 --egress-snat", "--cluster-cidr"),
            ("--l4 --local-pods cluster-cidr", "--cluster-cidr"),
            ("--l4 --local-pods interface:", "interface:"),
            ("--l4 --local-pods pods", "node-cidr"),
            ("--l4 --to-ports 1-2", "--egress-snat"),
            ("--l4 --egress-snat --cluster-cidr 10.0.0.0/8 --to-ports 2-1", "two ports"),
            ("--l4 --nodeport-addresses all", "CIDR"),
            ("--l4 --node-name A_b", "--node-name"),
            ("--l4 --watch-namespace a", "--watch-namespace"),
            ("--l4-only --http a", "--http"),
        ] {
            let said = settings(flags).err().unwrap_or_else(|| panic!("{flags}: taken"));
            assert!(said.contains(expected), "{flags}: {said}");
        }
    }
}
