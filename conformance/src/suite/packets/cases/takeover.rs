//! kube-proxy's rules, in both of its modes, taken out of the kernel beside an agent of ours; not without one.

use anyhow::{Result, ensure};
use rust_ingress_model::l4::{L4Settings, Transport};
use rust_ingress_proxy::agent::Agent;
use rust_ingress_proxy::agent::nft::{Taken, TakeoverError};

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, PORT, reached, service};
use crate::suite::packets::rig::{Family, Rig, at};

/// What kube-proxy leaves, in nftables mode and in iptables mode as iptables-nft keeps it: its chains lead to each other; and what others have
/// in the same tables.
const LEFT: &str = "
table ip kube-proxy { map service-ips { type ipv4_addr : verdict; }
    chain services { ip daddr vmap @service-ips
    }
    chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services
    }
}
table ip6 kube-proxy { chain services { }
}
table ip nat {
    chain KUBE-MARK-MASQ { meta mark set meta mark | 0x4000
    }
    chain KUBE-SEP-AAAA { ip saddr 10.244.1.12 jump KUBE-MARK-MASQ
        meta l4proto tcp dnat to 10.244.9.9:99
    }
    chain KUBE-SVC-AAAA { jump KUBE-SEP-AAAA
    }
    chain KUBE-SERVICES { ip daddr 10.96.0.10 tcp dport 80 jump KUBE-SVC-AAAA
    }
    chain KUBE-POSTROUTING { meta mark & 0x4000 == 0x4000 masquerade
    }
    chain MINE { counter
    }
    chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; jump KUBE-SERVICES
        jump MINE
    }
    chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; jump KUBE-POSTROUTING
    }
}
table ip6 mangle { chain KUBE-KUBELET-CANARY { }
    chain KUBE-PROXY-CANARY { }
}
table ip filter { chain KUBE-FIREWALL { ip daddr 127.0.0.0/8 ip saddr != 127.0.0.0/8 drop
    }
    chain INPUT { type filter hook input priority filter; policy accept; jump KUBE-FIREWALL
    }
}
";

/// What is taken of it: two tables, six chains, two rules that lead in.
fn taken() -> Taken {
    Taken { tables: vec!["ip kube-proxy".into(), "ip6 kube-proxy".into()], chains: 6, jumps: 2 }
}

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) {
    report.case("take-over", "kube-proxy's rules stay where no agent of ours carries Services", || alone(rig));
    report.case("take-over", "kube-proxy's rules go beside our agent, and nothing of others does", || beside(rig));
}

fn rules(rig: &Rig) -> Result<String> {
    rig.node.command("nft", &["-s", "list", "ruleset"])
}

fn alone(rig: &Rig) -> Result<()> {
    rig.node.nft(LEFT)?;
    let before = rules(rig)?;
    let refused = |rig: &Rig| rig.node.inside(|| Ok(matches!(Agent::take_over(), Err(TakeoverError::NotOurs))));
    ensure!(refused(rig)?, "taken without an agent");
    let bed = Bed::start(rig, L4Settings::default())?;
    ensure!(refused(rig)?, "taken before the agent's first commit");
    bed.publish(&[service(&["pod2"])])?;
    bed.agent.stop();
    ensure!(refused(rig)?, "taken from tables that an agent left when it ended");
    rig.node.inside(|| Ok(Agent::cleanup()?))?;
    let after = rules(rig)?;
    rig.node.nft("flush ruleset\n")?;
    ensure!(after == before, "before:\n{before}\nafter:\n{after}");
    Ok(())
}

fn beside(rig: &Rig) -> Result<()> {
    rig.node.nft(LEFT)?;
    let bed = Bed::start(rig, L4Settings::default())?;
    bed.publish(&[service(&["pod2"])])?;
    // kube-proxy's rule for this address leads nowhere: ours come first.
    for family in Family::BOTH {
        reached(&rig.pod1, Transport::Tcp, at::cluster_ip(family), PORT, &["pod2"])?;
    }
    let done = rig.node.inside(|| Ok(Agent::take_over()?))?;
    ensure!(done == taken(), "{done:?}");
    ensure!(rig.node.inside(|| Ok(Agent::take_over()?))? == Taken::default(), "something was left for a second time");
    for family in Family::BOTH {
        reached(&rig.pod1, Transport::Tcp, at::cluster_ip(family), PORT, &["pod2"])?;
    }
    let left = rules(rig)?;
    bed.clean()?;
    rig.node.nft("flush ruleset\n")?;
    for gone in ["kube-proxy", "KUBE-SERVICES", "KUBE-SEP", "KUBE-SVC", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-PROXY-CANARY"]
    {
        ensure!(!left.contains(gone), "{gone} is left:\n{left}");
    }
    for stays in ["jump MINE", "jump KUBE-FIREWALL", "chain KUBE-KUBELET-CANARY", "table ip rust-ingress"] {
        ensure!(left.contains(stays), "{stays} is gone:\n{left}");
    }
    Ok(())
}
