//! Addresses of pools: who answers for them on the link, with ARP and NDP, and that they stand nowhere.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rust_ingress::builtin::Builtin;
use rust_ingress::source::files::Folder;
use rust_ingress_model::Snapshot;
use rust_ingress_model::l4::{L4Service, L4Settings, Transport};
use rust_ingress_proxy::agent::{Agent, Options};
use rust_ingress_translate::{Settings, World, translate};

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, PORT, each, reached, service};
use crate::suite::packets::lan::Lan;
use crate::suite::packets::rig::{Family, Rig, at};

const GROUP: &str = "addresses of pools";
/// Longer than a test takes.
const LONG: Duration = Duration::from_mins(5);
/// After this everybody has been told of a takeover, and answers can be counted.
const TOLD: Duration = Duration::from_millis(1300);

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) -> Result<()> {
    let before = state(rig)?;
    let bed = Bed::start(rig, L4Settings::default())?;
    report.case(GROUP, "the only node answers: traffic from its link reaches a Pod", || {
        let addresses = Family::BOTH.map(at::pooled).to_vec();
        bed.publish(&[L4Service { load_balancer_ips: addresses, pooled: true, ..service(&["remote"]) }])?;
        sleep(TOLD);
        each(|family, transport| reached(&rig.client, transport, at::pooled(family), PORT, &["remote"]).map(drop))
    });
    report.case(GROUP, "addr, link, route and rule of the node are as before it began", || as_before(rig, &before));
    bed.clean()?;
    report.case(GROUP, "and after clean-up", || as_before(rig, &before));
    example(rig, report)?;
    on_a_link(report)
}

/// `rust-ingress run --manifests examples/bare-metal --l4-only --node-name node1`, but for the process: its folder, through the
/// source, translation and the agent of the node that the example means.
fn example(rig: &Rig, report: &mut Report) -> Result<()> {
    let agent = rig.node.inside(|| Ok(Agent::start(Options::default())?))?;
    report.case(GROUP, "examples/bare-metal from the link, and its ClusterIP from the node", || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bare-metal");
        let settings = Settings { l4: true, ..Settings::default() };
        let mut world = World::new(&settings);
        let builtin = Builtin { echo: ([127, 0, 0, 1], 9).into() };
        Folder::new(&folder, builtin).scan().changes.into_iter().for_each(|change| world.apply(change));
        let dirty = world.take_dirty();
        let (snapshot, _) = translate(&world, &settings, &Snapshot::default(), &dirty);
        // What `rust-ingress check --manifests examples/bare-metal` says.
        ensure!(snapshot.faults().next().is_none(), "faults: {:?}", snapshot.faults().collect::<Vec<_>>());
        let node = world.node("node1").context("node1")?;
        let faults = agent.publish(&snapshot, node);
        ensure!(faults.is_empty(), "faults: {faults:?}");
        sleep(TOLD);
        // curl http://192.0.2.240/
        reached(&rig.client, Transport::Tcp, "192.0.2.240".parse()?, 80, &["pod1", "pod2"])?;
        // curl http://10.96.0.80/
        reached(&rig.node, Transport::Tcp, "10.96.0.80".parse()?, 80, &["pod1", "pod2"]).map(drop)
    });
    agent.stop();
    rig.node.inside(|| Ok(Agent::cleanup()?))
}

/// What an agent could have put into the kernel.
fn state(rig: &Rig) -> Result<Vec<String>> {
    let show = |what: &[&str]| rig.node.command("ip", what);
    [
        &["addr"][..],
        &["link"],
        &["route", "show", "table", "all"],
        &["-6", "route", "show", "table", "all"],
        &["rule"],
        &["-6", "rule"],
    ]
    .into_iter()
    .map(show)
    .collect()
}

fn as_before(rig: &Rig, before: &[String]) -> Result<()> {
    let now = state(rig)?;
    let other = before.iter().zip(&now).find(|(before, now)| before != now);
    ensure!(other.is_none(), "before and now: {other:?}");
    Ok(())
}

/// Wants this many answers to a question of the client, and it to know then that this node has the address.
fn asked(lan: &Lan, address: &str, answers: u64, node: Option<usize>) -> Result<()> {
    let (count, at) = lan.ask(address)?;
    let expected = node.map(|node| lan.mac(node)).transpose()?;
    ensure!((count, &at) == (answers, &expected), "{address}: {count} answers, it is at {at:?}; not {answers}, {expected:?}");
    Ok(())
}

fn both(check: impl Fn(&str) -> Result<()>) -> Result<()> {
    Family::BOTH.into_iter().try_for_each(|family| check(&at::pooled(family).to_string()))
}

fn on_a_link(report: &mut Report) -> Result<()> {
    let lan = Lan::make()?;
    report.case(GROUP, "of two nodes that hold none, none answers", || both(|address| asked(&lan, address, 0, None)));
    report.case(GROUP, "the one that holds it answers, and nobody else", || {
        lan.hold(0, LONG);
        sleep(TOLD);
        both(|address| asked(&lan, address, 1, Some(0)))
    });
    report.case(GROUP, "a client that checks what it knows is answered", || {
        both(|address| {
            lan.client.command("ip", &["neigh", "change", address, "dev", "eth0", "nud", "probe"])?;
            sleep(Duration::from_millis(500));
            let (_, state) = lan.neighbour(address)?;
            ensure!(state == "REACHABLE", "{address} is {state}, not REACHABLE");
            Ok(())
        })
    });
    report.case(GROUP, "who takes it over tells everybody: clients change without asking", || {
        let begin = Instant::now();
        lan.release(0);
        lan.hold(1, LONG);
        let expected = Some(lan.mac(1)?);
        both(|address| {
            while lan.neighbour(address)?.0 != expected {
                ensure!(begin.elapsed() < Duration::from_secs(1), "{address}: still at the old node after 1 s");
                sleep(Duration::from_millis(10));
            }
            Ok(())
        })?;
        sleep(TOLD);
        both(|address| asked(&lan, address, 1, Some(1)))
    });
    report.case(GROUP, "one whose time has run out goes on until another takes over", || {
        lan.hold(1, Duration::ZERO);
        both(|address| asked(&lan, address, 1, Some(1)))?;
        lan.hold(0, LONG);
        sleep(TOLD);
        ensure!(lan.nodes[1].1.addresses().held().is_empty(), "the one whose time has run out still holds it");
        both(|address| asked(&lan, address, 1, Some(0)))
    });
    report.case(GROUP, "one whose time has not run out stays, whoever says otherwise", || {
        lan.hold(1, LONG);
        sleep(TOLD);
        ensure!(lan.nodes[0].1.addresses().held().len() == 2, "it gave way");
        lan.release(1);
        both(|address| asked(&lan, address, 1, Some(0)))
    });
    report.case(GROUP, "for a ClusterIP nobody answers", || {
        lan.client.ip("route add 10.96.0.0/16 dev eth0\nroute add fd00:96::/112 dev eth0\n")?;
        Family::BOTH.into_iter().try_for_each(|family| asked(&lan, &at::cluster_ip(family).to_string(), 0, None))
    });
    Ok(())
}
