//! ClientIP session affinity.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rust_ingress_model::l4::{L4Service, L4Settings, Transport};

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, NODE_PORT, PORT, each, reached, service};
use crate::suite::packets::rig::{Rig, at};

const GROUP: &str = "affinity";
const PODS: [&str; 3] = ["pod1", "pod2", "remote"];
/// That three endpoints at random give the same so often in a row happens once in 10^9 times.
const TRIES: usize = 20;

fn sticky(pods: &[&str], seconds: u32) -> L4Service {
    L4Service { affinity_s: Some(seconds), ..service(pods) }
}

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) -> Result<()> {
    let bed = Bed::start(rig, L4Settings::default())?;
    report.case(GROUP, "a client stays with its Pod, by ClusterIP and by node port", || {
        bed.publish(&[sticky(&PODS, 600)])?;
        each(|family, transport| {
            stays(rig, transport, at::cluster_ip(family), PORT)?;
            stays(rig, transport, at::node(family), NODE_PORT).map(drop)
        })
    });
    report.case(GROUP, "another one is chosen when its Pod goes", || moves(&bed));
    report.case(GROUP, "after its time a client is free again", || {
        bed.publish(&[sticky(&PODS, 1)])?;
        // Other Pods than before within some times.
        each(|family, transport| {
            let had = stays(rig, transport, at::cluster_ip(family), PORT)?;
            let mut others = (0..TRIES).filter_map(|_| {
                sleep(Duration::from_millis(1300));
                let answer = reached(&rig.pod1, transport, at::cluster_ip(family), PORT, &PODS).ok()?;
                answer.name().map(str::to_owned).filter(|name| *name != had)
            });
            others.next().map(drop).context("always the same Pod, though the time was over")
        })
    });
    report.case(GROUP, "control: without affinity a client meets several Pods", || {
        bed.publish(&[service(&PODS)])?;
        each(|family, transport| {
            ensure!(stays(rig, transport, at::cluster_ip(family), PORT).is_err(), "always the same Pod");
            Ok(())
        })
    });
    bed.clean()?;
    report.case(GROUP, "a client stays with its Pod when the agent is started again", || {
        each(|family, transport| {
            let had = with_agent(rig, || stays(rig, transport, at::cluster_ip(family), PORT))?;
            let has = with_agent(rig, || stays(rig, transport, at::cluster_ip(family), PORT))?;
            ensure!(had == has, "{had} before, {has} after");
            Ok(())
        })?;
        Bed::start(rig, L4Settings::default())?.clean()
    });
    Ok(())
}

/// Asks something while an agent runs, which leaves its rules.
fn with_agent(rig: &Rig, ask: impl FnOnce() -> Result<String>) -> Result<String> {
    let bed = Bed::start(rig, L4Settings::default())?;
    bed.publish(&[sticky(&PODS, 600)])?;
    let answer = ask()?;
    bed.agent.stop();
    Ok(answer)
}

/// Asks many times, and wants always the same Pod; which one.
fn stays(rig: &Rig, transport: Transport, to: IpAddr, port: u16) -> Result<String> {
    let from = if port == PORT { &rig.pod1 } else { &rig.client };
    let first = reached(from, transport, to, port, &PODS)?.name().unwrap_or_default().to_owned();
    for _ in 1..TRIES {
        reached(from, transport, to, port, &[&first])?;
    }
    Ok(first)
}

fn moves(bed: &Bed) -> Result<()> {
    each(|family, transport| {
        bed.publish(&[sticky(&PODS, 600)])?;
        let had = stays(bed.rig, transport, at::cluster_ip(family), PORT)?;
        let left: Vec<&str> = PODS.into_iter().filter(|pod| *pod != had).collect();
        bed.publish_as("s", &[sticky(&left, 600)])?;
        let has = stays(bed.rig, transport, at::cluster_ip(family), PORT)?;
        ensure!(has != had, "still {had}, which is gone");
        Ok(())
    })
}
