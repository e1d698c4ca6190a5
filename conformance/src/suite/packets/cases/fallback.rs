//! Services that go through the L7 proxy of the node, and on without it: the program itself, its child killed, stopped, gone.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rust_ingress_model::l4::Transport;
use rust_ingress_proxy::agent::Agent;
use rustix::process::Signal;

use crate::built;
use crate::load::steady::{self, Asking, falls_back};
use crate::suite::Report;
use crate::suite::packets::namespace::Namespace;
use crate::suite::packets::program::{Program, objects};
use crate::suite::packets::rig::{Family, Rig, at};
use crate::suite::packets::talk::{self, Answer};
use crate::suite::packets::web::{self, Kept, ask};

const GROUP: &str = "L7 Services";
/// Where the program takes what is redirected, unless told otherwise.
const DOOR: u16 = 9903;
const WEB: u16 = 80;
const BYTES: u16 = 81;
const NODE_PORT: u16 = 30_080;
/// Within this the direct path is taken, whatever has become of the proxy: the element's second, and what a loaded machine adds.
const SWITCHED: Duration = Duration::from_millis(1500);
/// Longer than a start takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) -> Result<()> {
    for (namespace, name, at) in [
        (&rig.pod1, "pod1", at::pod1 as fn(Family) -> IpAddr),
        (&rig.pod2, "pod2", at::pod2),
        (&rig.remote, "remote", at::remote),
    ] {
        web::serve(namespace, name, &Family::BOTH.map(at))?;
    }
    let program = built::like_this_tool()?;
    let suite = Suite { rig, program };
    report.case(GROUP, "control: without the annotation nothing goes through the proxy", || suite.control());
    report.case(GROUP, "Pods, the node and outside go through it, and endpoints see the same sources", || suite.sources());
    report.case(GROUP, "a Pod reaches itself through it, and sees the node's address", || suite.hairpin());
    report.case(GROUP, "ports that don't speak HTTP are carried as bytes, from the client's address", || suite.bytes());
    report.case(GROUP, "who asks the proxy's port itself is refused", || suite.stranger());
    for family in Family::BOTH {
        let name = |what: &str| format!("{what}, {family:?}");
        report.case(GROUP, &name("child killed: the direct path at once, and the proxy again"), || suite.killed(family));
        report.case(GROUP, &name("child stopped: the direct path within 1.5 s, and the proxy again"), || suite.stopped(family));
        report.case(GROUP, &name("both processes killed: the direct path within 1.5 s"), || suite.both_killed(family));
    }
    report.case(GROUP, "connections live through the loss of the annotation, and through the proxy's return", || {
        suite.established()
    });
    report.case(GROUP, "required: refused while the proxy isn't there, served when it is", || suite.required());
    report.case(GROUP, "clean-up leaves neither tables nor routes", || suite.clean());
    Ok(())
}

struct Suite<'r> {
    rig: &'r Rig,
    program: PathBuf,
}

/// A Pod of this node and one of another.
fn two(family: Family) -> Vec<(IpAddr, &'static str)> {
    vec![(at::pod2(family), "node1"), (at::remote(family), "node2")]
}

fn one(family: Family) -> Vec<(IpAddr, &'static str)> {
    vec![(at::remote(family), "node2")]
}

fn itself(family: Family) -> Vec<(IpAddr, &'static str)> {
    vec![(at::pod1(family), "node1")]
}

impl Suite<'_> {
    fn start(&self, l7: Option<&str>, endpoints: fn(Family) -> Vec<(IpAddr, &'static str)>) -> Result<Program> {
        let program = Program::start(self.rig, &self.program, &objects(l7, endpoints))?;
        for family in Family::BOTH {
            self.wait(family, l7.is_some())?;
        }
        Ok(program)
    }

    /// Waits until a Pod is answered, through the proxy or not.
    fn wait(&self, family: Family, proxied: bool) -> Result<()> {
        let begin = Instant::now();
        loop {
            let answer = ask(&self.rig.pod1, SocketAddr::new(at::cluster_ip(family), WEB));
            if answer.as_ref().is_ok_and(|answer| answer.proxied == proxied) {
                return Ok(());
            }
            ensure!(begin.elapsed() < PATIENCE, "{family:?}: {answer:?}, and not one with proxied: {proxied}");
            sleep(Duration::from_millis(50));
        }
    }

    fn control(&self) -> Result<()> {
        let program = self.start(None, two)?;
        for family in Family::BOTH {
            for _ in 0..5 {
                let answer = ask(&self.rig.pod1, SocketAddr::new(at::cluster_ip(family), WEB))?;
                ensure!(!answer.proxied && answer.seen.ip() == at::pod1(family), "{answer:?}");
            }
        }
        let routes = self.rig.node.command("ip", &["route", "show", "table", "local"])?;
        ensure!(!routes.contains("247."), "a route that nothing needs: {routes}");
        program.stop()
    }

    fn sources(&self) -> Result<()> {
        let program = self.start(Some("enabled"), one)?;
        let rig = self.rig;
        for family in Family::BOTH {
            let inner = at::node_inner(family);
            let asked: [(&Namespace, IpAddr, u16, IpAddr); 7] = [
                (&rig.pod1, at::cluster_ip(family), WEB, at::pod1(family)),
                (&rig.pod1, at::external(family), WEB, at::pod1(family)),
                (&rig.pod2, at::node(family), NODE_PORT, at::pod2(family)),
                (&rig.node, at::cluster_ip(family), WEB, inner),
                (&rig.node, at::node(family), NODE_PORT, inner),
                (&rig.client, at::node(family), NODE_PORT, inner),
                (&rig.client, at::external(family), WEB, inner),
            ];
            for (from, to, port, seen) in asked {
                for _ in 0..3 {
                    let answer = ask(from, SocketAddr::new(to, port))
                        .with_context(|| format!("from {} to {to} port {port}", from.name()))?;
                    ensure!(answer.proxied, "from {} to {to} port {port}: straight to the endpoint", from.name());
                    ensure!(answer.seen.ip() == seen, "from {} to {to} port {port}: {answer:?}, not {seen}", from.name());
                }
            }
        }
        program.stop()
    }

    fn hairpin(&self) -> Result<()> {
        let program = self.start(Some("enabled"), itself)?;
        for family in Family::BOTH {
            let answer = ask(&self.rig.pod1, SocketAddr::new(at::cluster_ip(family), WEB))?;
            ensure!(answer.proxied && answer.seen.ip() == at::gateway(family), "{answer:?}");
        }
        program.stop()
    }

    fn bytes(&self) -> Result<()> {
        let program = self.start(Some("enabled"), two)?;
        for family in Family::BOTH {
            let before = self.rig.node.command("conntrack", &["-L", "-p", "tcp"])?.lines().count();
            for _ in 0..4 {
                let answer = talk::ask(&self.rig.pod1, Transport::Tcp, SocketAddr::new(at::cluster_ip(family), BYTES))?;
                ensure!(answer.seen() == Some(at::pod1(family)), "{answer:?}");
                let answer = talk::ask(&self.rig.client, Transport::Tcp, SocketAddr::new(at::node(family), NODE_PORT + 1))?;
                let node = [at::gateway(family), at::node_inner(family)];
                ensure!(answer.seen().is_some_and(|seen| node.contains(&seen)), "{answer:?}");
            }
            let sources = self
                .rig
                .node
                .command("conntrack", &["-L", "-p", "tcp", "-f", if family == Family::V4 { "ipv4" } else { "ipv6" }])?;
            let own = if family == Family::V4 { "src=247." } else { "src=fd52:7553:744" };
            ensure!(sources.contains(own), "{family:?}: nothing came from the proxy's own sources ({before} connections before)");
        }
        program.stop()
    }

    fn stranger(&self) -> Result<()> {
        let program = self.start(Some("enabled"), two)?;
        for family in Family::BOTH {
            for from in [&self.rig.client, &self.rig.pod1, &self.rig.node] {
                let answer = talk::ask(from, Transport::Tcp, SocketAddr::new(at::node(family), DOOR))?;
                ensure!(answer == Answer::Refused, "{family:?}, from {}: {answer:?}", from.name());
            }
        }
        program.stop()
    }

    fn killed(&self, family: Family) -> Result<()> {
        let program = self.start(Some("enabled"), two)?;
        self.during(family, Duration::from_secs(5), true, || program.signal_child(Signal::KILL))?;
        program.stop()
    }

    fn stopped(&self, family: Family) -> Result<()> {
        let program = self.start(Some("enabled"), two)?;
        // A child that hangs is killed by its parent after 5 s.
        self.during(family, Duration::from_secs(12), true, || program.signal_child(Signal::STOP))?;
        program.stop()
    }

    fn both_killed(&self, family: Family) -> Result<()> {
        let mut program = Some(self.start(Some("enabled"), two)?);
        let kill = || program.take().context("it ran").and_then(Program::kill_both);
        self.during(family, Duration::from_secs(4), false, kill)?;
        let program = self.start(Some("enabled"), two)?;
        program.stop()
    }

    /// Asks 100 times a second each from a Pod by ClusterIP and from outside by node port, for a while around an event.
    fn during(&self, family: Family, after: Duration, comes_back: bool, event: impl FnOnce() -> Result<()>) -> Result<()> {
        const EVERY: Duration = Duration::from_millis(10);
        let (by_ip, by_port) = (SocketAddr::new(at::cluster_ip(family), WEB), SocketAddr::new(at::node(family), NODE_PORT));
        let asking = [(&self.rig.pod1, by_ip), (&self.rig.client, by_port)];
        let asking = asking.map(|(from, to)| (to, from.inside(move || Ok(Asking::start(to, EVERY)))));
        sleep(Duration::from_secs(1));
        let at = steady::now();
        event()?;
        sleep(after);
        for (to, asking) in asking {
            falls_back(&asking?.stop()?, at, comes_back).with_context(|| to.to_string())?;
        }
        Ok(())
    }

    fn established(&self) -> Result<()> {
        let program = self.start(Some("enabled"), two)?;
        let to = |port| SocketAddr::new(at::cluster_ip(Family::V4), port);
        let mut through = Kept::open(&self.rig.pod1, to(WEB))?;
        ensure!(through.ask()?.proxied, "not through the proxy");
        program.signal_child(Signal::STOP)?;
        sleep(SWITCHED);
        let mut direct = Kept::open(&self.rig.pod1, to(WEB))?;
        ensure!(!direct.ask()?.proxied, "not straight to the endpoint");
        program.signal_child(Signal::CONT)?;
        self.wait(Family::V4, true)?;
        ensure!(!direct.ask()?.proxied && through.ask()?.proxied, "connections have changed their path");
        program.change(&objects(None, two))?;
        self.wait(Family::V4, false)?;
        ensure!(!direct.ask()?.proxied, "a connection straight to an endpoint is lost");
        program.stop()
    }

    fn required(&self) -> Result<()> {
        let program = self.start(Some("required"), two)?;
        program.signal_child(Signal::STOP)?;
        sleep(SWITCHED);
        for family in Family::BOTH {
            for (from, to, port) in [
                (&self.rig.pod1, at::cluster_ip(family), WEB),
                (&self.rig.client, at::node(family), NODE_PORT),
                (&self.rig.node, at::cluster_ip(family), BYTES),
            ] {
                let answer = talk::ask(from, Transport::Tcp, SocketAddr::new(to, port))?;
                ensure!(answer == Answer::Refused, "{to} port {port}: {answer:?}");
            }
        }
        program.signal_child(Signal::CONT)?;
        Family::BOTH.into_iter().try_for_each(|family| self.wait(family, true))?;
        program.stop()
    }

    fn clean(&self) -> Result<()> {
        self.rig.node.inside(|| Agent::cleanup().context("clean-up"))?;
        for family in ["-4", "-6"] {
            let routes = self.rig.node.command("ip", &[family, "route", "show", "table", "local"])?;
            ensure!(!routes.contains("247.") && !routes.contains("fd52:7553"), "left: {routes}");
        }
        let tables = self.rig.node.command("nft", &["list", "tables"])?;
        ensure!(!tables.contains("rust-ingress"), "left: {tables}");
        Ok(())
    }
}
