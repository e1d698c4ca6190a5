//! What facts of a node mean for the agent. Pure.

use super::{Facts, Finding, Level};

/// The oldest kernel whose nf_tables has all that our rules are made of.
const OLDEST: (u32, u32) = (5, 13);
/// What VXLAN puts before a packet, in bytes, over IPv4.
const VXLAN: u32 = 50;

/// Others whose interfaces, chains or processes show that they do a part of our job: what shows them, what they do, what to
/// leave out.
const OTHERS: [(&str, &str, &str); 5] = [
    (
        "cilium",
        "Cilium",
        "if it replaces kube-proxy (kubeProxyReplacement), leave --l4 out; else leave --egress-snat out where it masquerades",
    ),
    ("speaker", "MetalLB", "it announces load balancer addresses; ours are programmed as they stand, and none is taken from it"),
    (
        "calico-node",
        "Calico",
        "with its eBPF data plane leave --l4 out; where its pools have natOutgoing, leave --egress-snat out",
    ),
    ("kube-router", "kube-router", "leave --l4 out, or start it with --run-service-proxy=false"),
    ("flanneld", "flannel", "where it runs with --ip-masq, leave --egress-snat out"),
];

/// All findings, the same order each time.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![kernel(facts), ruleset(facts)];
    found.extend(forwarding(facts));
    found.extend(firewalls(facts));
    found.extend(kube_proxy(facts));
    found.extend(others(facts));
    found.extend(bridges(facts));
    found.extend(reverse_paths(facts));
    found.extend(overlays(facts));
    found
}

fn good(what: impl Into<String>) -> Finding {
    Finding { level: Level::Good, what: what.into(), advice: String::new() }
}

fn warning(what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { level: Level::Warning, what: what.into(), advice: advice.into() }
}

fn error(what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { level: Level::Error, what: what.into(), advice: advice.into() }
}

fn kernel(facts: &Facts) -> Finding {
    let mut numbers = facts.release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let version = numbers.next().and_then(Result::ok).zip(numbers.next().and_then(Result::ok));
    let (major, minor) = OLDEST;
    match version {
        Some(version) if version >= OLDEST => good(format!("kernel {}", facts.release)),
        Some(_) => error(
            format!("kernel {} is older than {major}.{minor}, the oldest that has all of nf_tables that is used", facts.release),
            "use a newer kernel",
        ),
        None => warning(
            format!("kernel {:?} has no version that can be read", facts.release),
            format!("use {major}.{minor} or later"),
        ),
    }
}

fn ruleset(facts: &Facts) -> Finding {
    match &facts.refused {
        None => good("the kernel takes our nftables rules (tried, not kept)"),
        Some(why) => error(
            format!("the kernel doesn't take our nftables rules: {why}"),
            "run as root or with CAP_NET_ADMIN; else the kernel lacks a part of nf_tables: load its modules (nft_nat, nft_fib_inet, nft_numgen, nft_masq, nft_reject_inet)",
        ),
    }
}

fn forwarding(facts: &Facts) -> Vec<Finding> {
    let is = |name: &str, value: &str| facts.settings.get(name).is_some_and(|now| now == value);
    let no_ipv6 = is("net/ipv6/conf/all/disable_ipv6", "1") || !facts.settings.contains_key("net/ipv6/conf/all/forwarding");
    let judge = |family: &str, name: &str| match is(name, "1") {
        true => good(format!("{family} is forwarded")),
        false => error(
            format!("{family} isn't forwarded: no packet from outside reaches a Pod"),
            format!("sysctl -w {}=1", name.replace('/', ".")),
        ),
    };
    let mut found = vec![judge("IPv4", "net/ipv4/ip_forward")];
    if no_ipv6 {
        found.push(warning("there is no IPv6 on this node", "switch it on where Services have IPv6 addresses"));
    } else {
        found.push(judge("IPv6", "net/ipv6/conf/all/forwarding"));
    }
    found
}

/// Chains of others that drop what no rule of theirs takes, as Docker and firewalls make them.
fn firewalls(facts: &Facts) -> Vec<Finding> {
    let dropping = facts.chains.iter().filter(|chain| chain.drops_forwarded);
    let found = dropping.map(|chain| {
        warning(
            format!("chain {} of table {} drops forwarded packets that no rule of it takes", chain.name, chain.table),
            "let it accept packets from and to Pod addresses, or set its policy to accept",
        )
    });
    found.collect()
}

fn kube_proxy(facts: &Facts) -> Vec<Finding> {
    let runs = facts.programs.contains("kube-proxy");
    let chain = |name: &str| facts.chains.iter().any(|chain| chain.name == name);
    let nftables = facts.chains.iter().any(|chain| chain.table == "kube-proxy");
    let mode = match () {
        () if nftables => Some("nftables"),
        () if facts.ipvs => Some("ipvs"),
        () if chain("KUBE-SERVICES") || chain("KUBE-SVC") => Some("iptables"),
        () => None,
    };
    let who = if runs { "kube-proxy runs" } else { "kube-proxy has left its rules, and doesn't run" };
    match (mode, runs) {
        (Some("ipvs"), _) => vec![error(
            format!("{who}, mode ipvs: its addresses stand on an interface, so our rules would see only a part of the packets"),
            "remove kube-proxy and its addresses (kube-proxy --cleanup) before the agent starts",
        )],
        (Some(mode), true) => vec![warning(
            format!("{who}, mode {mode}: ours come first, so both may run; new Services are programmed twice"),
            "stop it once the agent runs on every node, then `rust-ingress agent takeover` there; or leave --l4 out",
        )],
        (Some(mode), false) => {
            vec![warning(
                format!("{who}, mode {mode}: ours come first"),
                "`rust-ingress agent takeover`, with our agent at work, takes them away",
            )]
        }
        (None, true) if facts.legacy_tables.contains("nat") => vec![warning(
            format!("{who}, and the old iptables has a nat table: its mode can't be seen"),
            "ours come first; remove it once the agent runs on every node, or leave --l4 out",
        )],
        (None, true) => vec![warning(format!("{who}, in a mode that can't be seen from here"), "remove it, or leave --l4 out")],
        (None, false) => vec![good("no kube-proxy")],
    }
}

fn others(facts: &Facts) -> Vec<Finding> {
    let shows = |sign: &str| {
        let begins = |name: &String| name.starts_with(sign);
        facts.programs.iter().any(begins) || facts.interfaces.keys().any(begins)
    };
    let mut found: Vec<Finding> = OTHERS
        .iter()
        .filter(|(sign, ..)| shows(sign))
        .map(|(_, name, advice)| warning(format!("{name} is on this node"), *advice))
        .collect();
    let masquerades = ["IP-MASQ-AGENT", "FLANNEL-POSTRTG", "cali-nat-outgoing"];
    for chain in facts.chains.iter().filter(|chain| masquerades.contains(&chain.name.as_str())) {
        let what = format!("chain {} of table {} gives Pods the node's address towards the outside", chain.name, chain.table);
        found.push(warning(what, "leave --egress-snat out, or switch theirs off"));
    }
    found
}

/// Replies between Pods of one bridge cross no router: without this setting they come back with the Pod's own address.
fn bridges(facts: &Facts) -> Vec<Finding> {
    let bridge = facts.interfaces.iter().find(|(_, interface)| interface.kind == "bridge");
    let Some((bridge, _)) = bridge else { return Vec::new() };
    let on = |name: &str| facts.settings.get(name).is_some_and(|value| value == "1");
    if on("net/bridge/bridge-nf-call-iptables") && on("net/bridge/bridge-nf-call-ip6tables") {
        return vec![good(format!("packets on bridges such as {bridge} are seen by netfilter"))];
    }
    vec![warning(
        format!(
            "packets between Pods on the bridge {bridge} aren't seen by netfilter: a Service fails where client and endpoint are on one bridge"
        ),
        "modprobe br_netfilter; sysctl -w net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1",
    )]
}

/// The larger of an interface's own value and that of `all` holds (Documentation/networking/ip-sysctl).
fn reverse_paths(facts: &Facts) -> Vec<Finding> {
    let all: u8 = facts.settings.get("net/ipv4/conf/all/rp_filter").and_then(|value| value.parse().ok()).unwrap_or_default();
    let strict = facts.interfaces.iter().filter(|(name, interface)| *name != "lo" && interface.rp_filter.max(all) == 1);
    let names: Vec<&str> = strict.map(|(name, _)| name.as_str()).collect();
    if names.is_empty() {
        return vec![good("no strict reverse path filter")];
    }
    vec![warning(
        format!(
            "strict reverse path filter on {}: with several uplinks it drops answers that come in elsewhere",
            names.join(", ")
        ),
        "sysctl -w net.ipv4.conf.all.rp_filter=2, unless each network has one way only",
    )]
}

fn overlays(facts: &Facts) -> Vec<Finding> {
    let carries = |kind: &str| kind != "vxlan" && kind != "bridge" && kind != "wireguard";
    let uplinks = facts.interfaces.iter().filter(|(name, interface)| *name != "lo" && carries(&interface.kind));
    let Some(widest) = uplinks.map(|(_, interface)| interface.mtu).max() else { return Vec::new() };
    let too_wide = |mtu: u32| mtu.saturating_add(VXLAN) > widest;
    let overlays = facts.interfaces.iter().filter(|(_, interface)| interface.kind == "vxlan" && too_wide(interface.mtu));
    let found = overlays.map(|(name, interface)| {
        warning(
            format!(
                "{name} has an MTU of {}, and the widest interface below it {widest}: large packets between nodes are lost",
                interface.mtu
            ),
            format!("give it an MTU of at most {}", widest.saturating_sub(VXLAN)),
        )
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Chain, Interface};
    use super::*;

    /// A node on which all is well.
    fn node() -> Facts {
        let settings = [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/bridge/bridge-nf-call-iptables", "1"),
            ("net/bridge/bridge-nf-call-ip6tables", "1"),
        ];
        let interface = |name: &str, mtu, kind: &str| (name.to_owned(), Interface { mtu, rp_filter: 0, kind: kind.to_owned() });
        Facts {
            release: "6.18.44-generic".into(),
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            interfaces: [interface("lo", 65_536, ""), interface("eth0", 1500, ""), interface("cni0", 1450, "bridge")].into(),
            ..Facts::default()
        }
    }

    /// What isn't good, of a node that was changed.
    fn bad(change: impl FnOnce(&mut Facts)) -> Vec<(Level, String)> {
        let mut facts = node();
        change(&mut facts);
        let found = findings(&facts).into_iter().filter(|finding| finding.level != Level::Good);
        found.map(|Finding { level, what, advice }| (level, format!("{what}; {advice}"))).collect()
    }

    fn chain(table: &str, name: &str) -> Chain {
        Chain { family: 2, table: table.into(), name: name.into(), drops_forwarded: false }
    }

    #[test]
    fn a_node_on_which_all_is_well_has_no_finding() {
        assert_eq!(bad(|_| {}), []);
    }

    #[test]
    fn each_thing_in_the_way_is_found_alone() {
        type Case = (fn(&mut Facts), Level, &'static str);
        let cases: [Case; 17] = [
            (|facts| facts.release = "5.10.0".into(), Level::Error, "older than 5.13"),
            (|facts| facts.release = String::new(), Level::Warning, "no version"),
            (|facts| facts.refused = Some("chain x: EPERM".into()), Level::Error, "EPERM"),
            (
                |facts| drop(facts.settings.insert("net/ipv4/ip_forward".into(), "0".into())),
                Level::Error,
                "net.ipv4.ip_forward=1",
            ),
            (|facts| drop(facts.settings.insert("net/ipv6/conf/all/forwarding".into(), "0".into())), Level::Error, "IPv6"),
            (|facts| drop(facts.settings.remove("net/ipv6/conf/all/forwarding")), Level::Warning, "no IPv6"),
            (|facts| drop(facts.settings.remove("net/bridge/bridge-nf-call-iptables")), Level::Warning, "br_netfilter"),
            (|facts| drop(facts.settings.insert("net/ipv4/conf/all/rp_filter".into(), "1".into())), Level::Warning, "eth0"),
            (|facts| facts.chains.push(Chain { drops_forwarded: true, ..chain("filter", "FORWARD") }), Level::Warning, "FORWARD"),
            (|facts| facts.chains.push(chain("kube-proxy", "services")), Level::Warning, "mode nftables"),
            (|facts| facts.chains.push(chain("nat", "KUBE-SERVICES")), Level::Warning, "mode iptables"),
            (|facts| facts.ipvs = true, Level::Error, "mode ipvs"),
            (|facts| facts.programs.extend(["kube-proxy".to_owned()]), Level::Warning, "kube-proxy runs"),
            (|facts| facts.programs.extend(["speaker".to_owned()]), Level::Warning, "MetalLB"),
            (|facts| drop(facts.interfaces.insert("cilium_host".into(), Interface::default())), Level::Warning, "Cilium"),
            (|facts| facts.chains.push(chain("nat", "IP-MASQ-AGENT")), Level::Warning, "--egress-snat"),
            (
                |facts| {
                    let overlay = Interface { mtu: 1500, rp_filter: 0, kind: "vxlan".into() };
                    facts.interfaces.insert("flannel.1".into(), overlay);
                },
                Level::Warning,
                "at most 1450",
            ),
        ];
        for (change, level, words) in cases {
            let found = bad(change);
            let [(found_level, text)] = found.as_slice() else { panic!("{words}: {found:?}") };
            assert!(*found_level == level && text.contains(words), "{words}: {found:?}");
        }
    }
}
