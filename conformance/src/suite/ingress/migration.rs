//! `examples/from-ingress-nginx`: Ingresses of another class, moved to ours one at a time and back, under load.
//!
//! The other controller is a stand-in ([`StandIn`]): it serves what has its class, writes its address there, and forgets an Ingress at
//! once when its class changes, as ingress-nginx does. The load goes where the status leads and asks the other controller when it gets
//! no 200, as a load balancer with both as members does; a request that neither takes has failed.

mod stand_in;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::client::Ask;
use super::{NAMESPACE, Rig};
use crate::suite::Report;
use stand_in::{ADDRESS, StandIn};

/// The Ingresses of the example: name, host, path.
const INGRESSES: [(&str, &str, &str); 3] =
    [("shop", "shop.example.com", "/"), ("shop-api", "api.shop.example.com", "/v1/x"), ("shop-pay", "pay.shop.example.com", "/")];

/// How long a balancer may look for somebody who takes a request.
const PATIENCE: Duration = Duration::from_secs(2);

const GROUP: &str = "examples/from-ingress-nginx";

/// Runs the cases: the moves need the load that runs over all of them.
pub fn cases(rig: &Rig<'_>, report: &mut Report) -> Result<()> {
    let folder = crate::chart::folder()?.join("../../examples/from-ingress-nginx/shop.yaml");
    rig.kubectl(&["apply", "-f", &folder.display().to_string()])?;
    rig.apply(&rig.authority.secret("shop-pay", &["pay.shop.example.com"])?)?;
    rig.kubectl(&["rollout", "status", "deployment/shop", "--timeout=60s"])?;
    let (sent, over, load) = (AtomicBool::new(false), AtomicBool::new(false), Load::default());
    let stand_in = StandIn::bind()?;
    thread::scope(|scope| {
        scope.spawn(|| stand_in.serve(&over));
        let watching = scope.spawn(|| stand_in.watch(rig, &over));
        report
            .case(GROUP, "the other class' Ingresses are its own: its address, and no route of ours", || others(rig, &stand_in));
        let (load, stand_in, sent) = (&load, &stand_in, &sent);
        let senders = INGRESSES.map(|ingress| scope.spawn(move || load.send(rig, stand_in, ingress, sent)));
        for (name, host, path) in INGRESSES {
            report.case(GROUP, &format!("{name} moves here"), || moved_here(rig, stand_in, name, host, path));
        }
        report.case(GROUP, "nobody fights over status", || quiet(stand_in));
        for (name, ..) in INGRESSES {
            report.case(GROUP, &format!("{name} moves back"), || moved_back(rig, stand_in, name));
        }
        report.case(GROUP, "nobody fights over status after the way back", || quiet(stand_in));
        report.case(GROUP, "an Ingress without a class goes to the default class, which is not ours", || {
            default_class(rig, stand_in)
        });
        // The load ends before the stand-in does, so that nobody is counted who asked a stand-in that was gone.
        sent.store(true, Ordering::Relaxed);
        let ended = senders.map(|sender| sender.join().is_ok());
        report.case(GROUP, "0 failed requests", || {
            ensure!(ended == [true; 3], "a thread of the load panicked");
            load.outcome()
        });
        over.store(true, Ordering::Relaxed);
        report.case(GROUP, "the stand-in saw no error", || match watching.join() {
            Ok(seen) => seen,
            Err(_) => bail!("its thread panicked"),
        });
    });
    report.notes.push(load.note());
    rig.kubectl(&["delete", "-f", &folder.display().to_string()]).map(drop)
}

fn patch(rig: &Rig<'_>, name: &str, class: &str) -> Result<()> {
    let patch = format!(r#"{{"spec":{{"ingressClassName":"{class}"}}}}"#);
    rig.kubectl(&["patch", "ingress", name, "--type=merge", "-p", &patch]).map(drop)
}

fn others(rig: &Rig<'_>, stand_in: &StandIn) -> Result<()> {
    rig.until(|| {
        for (name, ..) in INGRESSES {
            ensure!(stand_in.addresses(name) == [ADDRESS], "{name}: status has {:?}", stand_in.addresses(name));
        }
        Ok(())
    })?;
    for (_, host, path) in INGRESSES {
        let answer = rig.ask(&rig.get(host, path))?;
        ensure!(!answer.body.contains("\"shop\""), "{host} is served here");
    }
    quiet(stand_in)
}

fn default_class(rig: &Rig<'_>, stand_in: &StandIn) -> Result<()> {
    let annotate = |value: &str| {
        let annotation = format!("ingressclass.kubernetes.io/is-default-class={value}");
        rig.kubectl(&["annotate", "--overwrite", "ingressclass", "rust-ingress", &annotation]).map(drop)
    };
    annotate("false")?;
    rig.apply(include_str!("migration/default-class.yaml"))?;
    let found = rig.until(|| {
        ensure!(stand_in.addresses("no-class") == [ADDRESS], "status has {:?}", stand_in.addresses("no-class"));
        ensure!(rig.ask(&rig.get("no-class.example.com", "/"))?.status == 404, "it is served here");
        Ok(())
    });
    rig.kubectl(&["delete", "ingressclass/nginx", "ingress/no-class"])?;
    annotate("true")?;
    found
}

fn moved_here(rig: &Rig<'_>, stand_in: &StandIn, name: &str, host: &str, path: &str) -> Result<()> {
    patch(rig, name, "rust-ingress")?;
    rig.until(|| {
        let answer = rig.ask(&rig.get(host, path))?;
        ensure!(answer.service()? == "shop", "not served here");
        Ok(())
    })?;
    rig.until(|| {
        let addresses = stand_in.addresses(name);
        let ours = |address: &IpAddr| rig.nodes.contains(address);
        ensure!(!addresses.is_empty() && addresses.iter().all(ours), "{name}: status has {addresses:?}");
        Ok(())
    })
}

fn moved_back(rig: &Rig<'_>, stand_in: &StandIn, name: &str) -> Result<()> {
    patch(rig, name, "nginx")?;
    rig.until(|| {
        ensure!(stand_in.addresses(name) == [ADDRESS], "{name}: status has {:?}", stand_in.addresses(name));
        Ok(())
    })
}

/// No status changes while nothing else does.
fn quiet(stand_in: &StandIn) -> Result<()> {
    thread::sleep(Duration::from_secs(1));
    let before = stand_in.changes();
    thread::sleep(Duration::from_secs(3));
    let changes = stand_in.changes() - before;
    ensure!(changes == 0, "{changes} changes of status in 3 s, though no object changed");
    Ok(())
}

/// Requests of the load, all Ingresses together.
#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    asked_other: AtomicUsize,
    failed: AtomicUsize,
}

impl Load {
    fn send(&self, rig: &Rig<'_>, stand_in: &StandIn, (name, host, path): (&str, &str, &str), over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            let led = stand_in.addresses(name).first().copied().unwrap_or(ADDRESS);
            let other = if led == ADDRESS { rig.nodes[0] } else { ADDRESS };
            let begin = Instant::now();
            let mut members = [led, other].into_iter().cycle();
            let answered = members
                .by_ref()
                .take_while(|_| begin.elapsed() < PATIENCE)
                .position(|member| rig.ask(&Ask::get(member, host, path)).is_ok_and(|answer| answer.status == 200));
            match answered {
                Some(0) => {}
                Some(_) => drop(self.asked_other.fetch_add(1, Ordering::Relaxed)),
                None => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
            }
            self.answered.fetch_add(usize::from(answered.is_some()), Ordering::Relaxed);
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn outcome(&self) -> Result<()> {
        let (answered, failed) = (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        ensure!(failed == 0, "{failed} of {} requests failed", answered + failed);
        ensure!(answered > 100, "only {answered} requests were sent");
        Ok(())
    }

    fn note(&self) -> String {
        let count = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        let (answered, other, failed) = (count(&self.answered), count(&self.asked_other), count(&self.failed));
        format!(
            "{GROUP} in {NAMESPACE}: {answered} requests answered during the moves, {other} of them by the second member asked, {failed} failed"
        )
    }
}
