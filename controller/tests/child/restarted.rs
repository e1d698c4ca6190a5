//! The whole program, killed and started again while no API server answers: it serves what it served last.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rust_ingress::driver::Published;
use rust_ingress::last_good::{Keeper, Store};
use rust_ingress_model::{KeyStore, Part, Snapshot, StatusPlan};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Got, endpoint, get, listener, snapshot, until};

/// Nobody listens there.
const KUBECONFIG: &str =
    "{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],
    users: [{name: u, user: {}}], clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]}";

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn run(folder: &Path, health: SocketAddr) -> Child {
    fs::write(folder.join("kubeconfig"), KUBECONFIG).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rust-ingress"));
    command.arg("run").arg("--kubeconfig").arg(folder.join("kubeconfig")).arg("--state-dir").arg(folder.join("state"));
    command.args(["--admin", "off", "--workers", "2", "--log-level", "error", "--health", &health.to_string()]);
    command.stdin(Stdio::null()).spawn().unwrap()
}

fn signal(process: &Child, signal: Signal) {
    kill_process(Pid::from_child(process), signal).unwrap();
}

/// What an earlier run would have left.
fn leave(folder: &Path, snapshot: Snapshot) {
    let keeper = Keeper::start(Store::open(&folder.join("state"), true).unwrap()).unwrap();
    let (snapshot, keys, status) = (Arc::new(snapshot), KeyStore::default(), StatusPlan::default());
    keeper.subscriber()(&Published { snapshot: &snapshot, keys: &keys, status: &status, came: &[], went: &[] });
    keeper.stop();
}

#[test]
fn the_last_good_state_is_served_until_the_api_server_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (http, health) = (free(), free());
    let mut draft = snapshot(endpoint("here"));
    draft.listeners.insert("http".into(), Part::new(listener(http.port())));
    leave(folder.path(), draft);

    let mut first = run(folder.path(), health);
    until("it serves", || get(http, "/") == Got::Body("here".into()));
    // The proxy hears of it once it serves.
    until("it says what it serves", || matches!(get(health, "/readyz"), Got::Body(text) if text.contains("last good state")));

    // Its proxy hears of its parent's death, and leaves the ports to the next.
    signal(&first, Signal::KILL);
    first.wait().unwrap();
    until("the ports are free", || matches!(get(health, "/readyz"), Got::NoConnection(_)));
    let mut second = run(folder.path(), health);
    // The first one's proxy may still answer for a moment; its health port it has closed.
    until("the second one is up", || matches!(get(health, "/readyz"), Got::Body(text) if text.contains("last good state")));
    until("it serves again", || get(http, "/") == Got::Body("here".into()));

    signal(&second, Signal::TERM);
    assert!(second.wait().unwrap().success());
    assert!(matches!(get(http, "/"), Got::NoConnection(_)));
    assert!(folder.path().join("state/snapshot").exists());
}

#[test]
fn without_one_it_waits_and_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let health = free();
    let mut process = run(folder.path(), health);
    until("its health port answers", || matches!(get(health, "/livez"), Got::Body(_)));
    assert!(matches!(get(health, "/readyz"), Got::Answer(text) if text.contains("nothing has been published")));
    signal(&process, Signal::TERM);
    assert!(process.wait().unwrap().success());
}
