//! While something changes: stale UDP flows, drift, restarts.

use std::net::{SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rust_ingress_model::l4::{L4Settings, Transport};

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, NODE_PORT, PORT, reached, service};
use crate::suite::packets::namespace::Namespace;
use crate::suite::packets::rig::{Family, Rig, at};
use crate::suite::packets::talk::{self, Answer};

const UDP: &str = "UDP flows";
const DRIFT: &str = "drift";

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) -> Result<()> {
    let bed = Bed::start(rig, L4Settings::default())?;
    udp(&bed, report);
    drift(&bed, report);
    bed.clean()?;
    report.case("two agents", "the newer has the node, and neither undoes the other's work", || two_agents(rig));
    report.case("restart", "an agent that ends leaves the rules; clean-up leaves nothing", || restart(rig));
    Ok(())
}

/// One socket, whose flow conntrack knows.
fn socket(from: &Namespace, family: Family) -> Result<UdpSocket> {
    let any: SocketAddr = match family {
        Family::V4 => ([0, 0, 0, 0], 0).into(),
        Family::V6 => ([0_u16; 8], 0).into(),
    };
    from.inside(|| Ok(UdpSocket::bind(any)?))
}

fn says(socket: &UdpSocket, to: SocketAddr, expected: Option<&str>) -> Result<()> {
    let answer = talk::over_udp(socket, to)?;
    ensure!(answer.name() == expected, "{to}: {answer:?}, not an answer of {expected:?}");
    Ok(())
}

fn udp(bed: &Bed, report: &mut Report) {
    let rig = bed.rig;
    for (frontend, from) in [("ClusterIP", &rig.pod1), ("node port", &rig.client)] {
        let to = |family| match frontend {
            "ClusterIP" => SocketAddr::new(at::cluster_ip(family), PORT),
            _ => SocketAddr::new(at::node(family), NODE_PORT),
        };
        report.case(UDP, &format!("{frontend}: a flow moves when its Pod goes, also the last one, and comes back"), || {
            for family in Family::BOTH {
                let socket = socket(from, family)?;
                for (pods, expected) in
                    [(&["pod2"][..], Some("pod2")), (&["remote"], Some("remote")), (&[], None), (&["pod2"], Some("pod2"))]
                {
                    bed.publish_as("udp", &[service(pods)])?;
                    says(&socket, to(family), expected)?;
                }
            }
            Ok(())
        });
    }
    report.case(UDP, "a flow stays while its Pod does, whatever others do", || {
        for family in Family::BOTH {
            bed.publish_as("udp", &[service(&["pod2"])])?;
            let socket = socket(&rig.pod1, family)?;
            says(&socket, SocketAddr::new(at::cluster_ip(family), PORT), Some("pod2"))?;
            for pods in [&["pod1", "pod2", "remote"][..], &["remote", "pod2"], &["pod1", "pod2"]] {
                bed.publish_as("udp", &[service(pods)])?;
                says(&socket, SocketAddr::new(at::cluster_ip(family), PORT), Some("pod2"))?;
            }
        }
        Ok(())
    });
    report.case(UDP, "a flow to a node port that was sent before its Service was there finds it", || {
        for family in Family::BOTH {
            bed.publish(&[])?;
            let socket = socket(&rig.client, family)?;
            let to = SocketAddr::new(at::node(family), NODE_PORT);
            ensure!(talk::over_udp(&socket, to)? == Answer::Refused);
            bed.publish(&[service(&["pod2"])])?;
            says(&socket, to, Some("pod2"))?;
        }
        Ok(())
    });
}

fn drift(bed: &Bed, report: &mut Report) {
    let damages = [
        ("all tables flushed", "flush ruleset\n"),
        ("our table deleted", "delete table ip rust-ingress\n"),
        ("a map emptied", "flush map ip rust-ingress services\nflush map ip6 rust-ingress services\n"),
        ("a chain emptied", "flush chain ip rust-ingress prerouting\nflush chain ip6 rust-ingress prerouting\n"),
    ];
    for (name, damage) in damages {
        report.case(DRIFT, &format!("{name}: repaired within a second"), || {
            bed.publish(&[service(&["pod2"])])?;
            let before = bed.agent.counters();
            bed.rig.node.nft(damage)?;
            let begin = Instant::now();
            while bed.agent.counters().drifts == before.drifts {
                ensure!(begin.elapsed() < Duration::from_secs(1), "not noticed");
                sleep(Duration::from_millis(5));
            }
            for family in Family::BOTH {
                reached(&bed.rig.pod1, Transport::Tcp, at::cluster_ip(family), PORT, &["pod2"])?;
            }
            Ok(())
        });
    }
    report.case(DRIFT, "what others do in their own tables, and what the agent does, is none", || {
        let before = bed.agent.counters();
        bed.rig.node.nft("table ip other { set s { type ipv4_addr; }\n}\nadd element ip other s { 10.0.0.1 }\n")?;
        bed.publish(&[service(&["pod1"])])?;
        bed.publish(&[service(&["pod2"])])?;
        sleep(Duration::from_millis(700));
        let after = bed.agent.counters();
        bed.rig.node.nft("delete table ip other\n")?;
        ensure!((after.drifts, after.full_writes) == (before.drifts, before.full_writes), "{before:?}, {after:?}");
        Ok(())
    });
}

fn two_agents(rig: &Rig) -> Result<()> {
    let carries = |pod: &str| {
        let begin = Instant::now();
        while let Err(error) = reached(&rig.pod1, Transport::Tcp, at::cluster_ip(Family::V4), PORT, &[pod]) {
            ensure!(begin.elapsed() < Duration::from_secs(2), "still so after two seconds: {error:#}");
        }
        Ok(())
    };
    let older = Bed::start(rig, L4Settings::default())?;
    older.publish(&[service(&["pod1"])])?;
    let newer = Bed::start(rig, L4Settings::default())?;
    newer.publish(&[service(&["pod2"])])?;
    carries("pod2")?;
    sleep(Duration::from_millis(200));
    let writes = || (older.agent.counters().full_writes, newer.agent.counters().full_writes);
    let before = writes();
    // Which sockets are open is asked of the network namespace of the thread that publishes.
    ensure!(rig.node.inside(|| older.publish(&[service(&["pod1"])])).is_err(), "the older one says that the kernel has its plan");
    newer.publish(&[service(&["pod1", "pod2"])])?;
    newer.publish(&[service(&["pod2"])])?;
    sleep(Duration::from_secs(1));
    ensure!(writes() == before, "they write in turn: {before:?}, {:?}", writes());
    carries("pod2")?;
    rig.node.nft("delete table ip rust-ingress\n")?;
    carries("pod2")?;
    ensure!(older.agent.counters().full_writes == before.0, "the older one repaired what is the newer's");
    newer.agent.stop();
    carries("pod1")?;
    older.clean()
}

fn restart(rig: &Rig) -> Result<()> {
    let bed = Bed::start(rig, L4Settings::default())?;
    bed.publish(&[service(&["pod2"])])?;
    bed.agent.stop();
    reached(&rig.pod1, Transport::Tcp, at::cluster_ip(Family::V4), PORT, &["pod2"])?;
    let bed = Bed::start(rig, L4Settings::default())?;
    bed.clean()?;
    let left = rig.node.command("nft", &["list", "ruleset"])?;
    ensure!(!left.contains("rust-ingress"), "left: {left}");
    Ok(())
}
