//! `run --manifests examples/bare-metal --l4 --sandbox`: what a newcomer tries, in namespaces that the program makes itself.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::Report;
use crate::built;
use crate::cluster::process::output;

/// As the example's README has it.
const COMMAND: &str = "rust-ingress run --manifests examples/bare-metal --l4 --sandbox";
/// Longer than a start takes on a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be tried, and whom the answerer may see: a Pod that asks its own Service may be sent to itself, by the node's address.
const TRIED: [(&str, &[&str]); 4] = [
    ("ClusterIP", &["10.244.1.11:", "192.0.2.1:"]),
    ("NodePort", &["192.0.2.1:"]),
    ("LoadBalancer", &["192.0.2.1:"]),
    ("egress", &["192.0.2.1:"]),
];

/// The group.
pub fn all(report: &mut Report) {
    report.case("sandbox", "each line that it prints is answered, and this machine's network is as it was", tried);
}

fn tried() -> Result<()> {
    let program = built::like_this_tool()?;
    let before = here()?;
    let folder = TempDir::new()?;
    let printed = folder.path().join("printed");
    let mut command = Command::new(program);
    command.args(COMMAND.split_whitespace().skip(1)).args(["--log-level", "warn"]);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let mut running =
        command.stdin(Stdio::null()).stdout(File::create(&printed)?).spawn().context("the program can't be started")?;
    let asked = lines(&printed).and_then(|lines| lines.iter().try_for_each(|line| ask(line)));
    let during = here();
    kill_process(Pid::from_child(&running), Signal::TERM)?;
    let ended = running.wait()?;
    asked?;
    ensure!(ended.success(), "the program ended with {ended}");
    ensure!(during? == before, "this machine's network was changed");
    ensure!(here()? == before, "this machine's network isn't as it was");
    Ok(())
}

/// Addresses, routes and rules of this machine.
fn here() -> Result<Vec<String>> {
    // Without the seconds that an address or a route has left.
    let shown = [&["-o", "link"][..], &["-br", "addr"], &["route"], &["-6", "route"], &["rule"]];
    shown.iter().map(|shown| output(Command::new("ip").args(*shown))).collect()
}

/// What was printed to be tried.
fn lines(printed: &Path) -> Result<Vec<String>> {
    let begin = Instant::now();
    loop {
        let text = std::fs::read_to_string(printed)?;
        let found: Vec<String> =
            text.lines().skip_while(|line| !line.starts_with("try in the sandbox")).skip(1).map(str::to_owned).collect();
        if found.len() >= TRIED.len() {
            return Ok(found);
        }
        ensure!(begin.elapsed() < PATIENCE, "nothing to try was printed:\n{text}");
        sleep(Duration::from_millis(50));
    }
}

fn ask(line: &str) -> Result<()> {
    let (what, command) = line.trim().split_once(' ').context("a line has a name and a command")?;
    let (_, peers) = TRIED.iter().find(|(name, _)| *name == what).with_context(|| format!("{what} isn't known"))?;
    let answer = output(Command::new("sh").args(["-c", &format!("{} -m 5", command.trim())]))?;
    let answer: Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
    let seen = answer["peer"].as_str().unwrap_or_default();
    ensure!(peers.iter().any(|peer| seen.starts_with(peer)), "{line}: the answerer saw {seen}, not one of {peers:?}");
    Ok(())
}
