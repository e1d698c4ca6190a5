//! The child alone, with a parent that the test plays: wrong digests, and the parent's death.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::Instant;

use rust_ingress_model::Snapshot;
use rust_ingress_proxy::feed::{Answer, Answers, Difference, Orders, Update};
use rust_ingress_proxy::observe::Ports;
use rust_ingress_proxy::options::Options;

use crate::support::PATIENCE;

struct Rig {
    process: Child,
    orders: Orders,
    answers: Answers,
}

impl Rig {
    fn start() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rust-ingress"));
        let process = command.args(["proxy", "--log-level=error"]).stdin(OwnedFd::from(theirs)).spawn().unwrap();
        drop(command);
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rig = Self { process, answers: Answers::new(ours.try_clone().unwrap()), orders: Orders::new(ours) };
        rig.orders.start(&Options { workers: 1, ..Options::default() }, &Ports::default()).unwrap();
        assert!(matches!(rig.answer(), Answer::Started));
        rig
    }

    fn answer(&mut self) -> Answer {
        loop {
            match self.answers.receive().unwrap().unwrap() {
                Answer::Alive { .. } => {}
                answer => return answer,
            }
        }
    }

    fn update(&mut self, sequence: u64, digest: &str, whole: bool) -> Answer {
        let snapshot = Snapshot { listeners: [].into(), ..crate::support::snapshot("127.0.0.1:1".parse().unwrap()) };
        let digest = if digest.is_empty() { snapshot.digest().to_string() } else { digest.into() };
        let difference = Difference::between(&Snapshot::default(), &snapshot);
        self.orders.update(&Update { sequence, digest, whole, difference }).unwrap();
        self.answer()
    }

    fn ends(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.process.kill().unwrap();
        false
    }
}

#[test]
fn a_wrong_digest_is_refused_and_a_whole_update_mends_it() {
    let mut rig = Rig::start();
    assert!(matches!(rig.update(1, "0", false), Answer::Refused { sequence: 1, whole: false, .. }));
    assert!(matches!(rig.update(2, "0", true), Answer::Refused { sequence: 2, whole: true, .. }));
    assert!(matches!(rig.update(3, "", true), Answer::Live { sequence: 3, .. }));
    assert!(matches!(rig.update(4, "", false), Answer::Live { sequence: 4, .. }));
    rig.orders.stop().unwrap();
    assert!(rig.ends());
}

#[test]
fn the_parents_death_ends_the_child() {
    let mut rig = Rig::start();
    assert!(matches!(rig.update(1, "", true), Answer::Live { .. }));
    let (orders, answers) = (rig.orders, rig.answers);
    drop((orders, answers));
    let (ours, _) = UnixStream::pair().unwrap();
    let mut rig = Rig { process: rig.process, answers: Answers::new(ours.try_clone().unwrap()), orders: Orders::new(ours) };
    assert!(rig.ends());
}

#[test]
fn without_a_parent_it_says_who_starts_it() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_rust-ingress")).arg("proxy").stdin(std::process::Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("started by `rust-ingress run`"), "{said}");
}
