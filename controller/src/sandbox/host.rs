//! A host of the sandbox, a process of its own: the client, or a Pod. It makes its namespace, sets its addresses when the node has
//! given it an interface, answers HTTP as the builtin echo does, and ends with its standard input.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use nix::sched::{CloneFlags, unshare};

use super::{MADE, SERVING};
use crate::builtin::echo::Echo;

/// Its life. `lines`: what `ip` is to do in its namespace.
///
/// # Errors
/// What it can't have; the process that started it says so.
pub fn run(lines: &str, listen: &[SocketAddr]) -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("a host of the sandbox can't make its network namespace")?;
    say(MADE)?;
    let mut input = io::stdin().lock();
    if input.read_line(&mut String::new())? == 0 {
        return Ok(());
    }
    ip(lines)?;
    let echoes =
        listen.iter().map(|address| Echo::at(*address).with_context(|| format!("{address} can't be served in the sandbox")));
    let _serving = echoes.collect::<anyhow::Result<Vec<_>>>()?;
    say(SERVING)?;
    // Nothing comes; it closes when the node is gone, however it went.
    input.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn say(word: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{word}")?;
    out.flush()
}

/// Has `ip` do something in this process' namespace.
pub(super) fn ip(lines: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("--sandbox needs the program ip; install the package iproute2")
        }
        child => child.context("--sandbox can't run the program ip")?,
    };
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.as_bytes())?;
    }
    let ended = child.wait_with_output()?;
    if !ended.status.success() {
        bail!("ip in the sandbox: {}", String::from_utf8_lossy(&ended.stderr).trim());
    }
    Ok(())
}
