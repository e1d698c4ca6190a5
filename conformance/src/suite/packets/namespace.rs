//! A network namespace of the suite's own: made, entered by a thread, taken away with all that lives in it.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cluster::process::output;

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Makes one; two runs at the same time have their own.
    pub fn make(role: &str) -> Result<Self> {
        let name = format!("ri-packets-{}-{role}", std::process::id());
        output(Command::new("ip").args(["netns", "add", &name]))?;
        let path: PathBuf = ["/run/netns", &name].iter().collect();
        let handle = File::open(&path).with_context(|| format!("{}: can't be opened", path.display()))?;
        Ok(Self { name, handle })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs something on a thread of its own inside; sockets and threads made there stay there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("{}: can't be entered", self.name))?;
                work()
            });
            inside.join().map_err(|_| anyhow!("{}: the thread inside panicked", self.name))?
        })
    }

    /// Runs a program inside; what it printed.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Result<String> {
        output(Command::new("ip").args(["netns", "exec", &self.name, program]).args(arguments))
    }

    /// Runs lines of `ip` inside.
    pub fn ip(&self, lines: &str) -> Result<()> {
        self.fed(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), lines)
    }

    /// Has `nft` read lines inside: what others do to the kernel, and what ours is compared with.
    pub fn nft(&self, lines: &str) -> Result<()> {
        self.fed(Command::new("ip").args(["netns", "exec", &self.name, "nft", "-f", "-"]), lines)
    }

    fn fed(&self, command: &mut Command, lines: &str) -> Result<()> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("a pipe")?.write_all(lines.as_bytes())?;
        let said = child.wait_with_output()?;
        let words = String::from_utf8_lossy(&said.stderr);
        let words: Vec<&str> = words.lines().take(5).collect();
        ensure!(said.status.success(), "{command:?}: {}", words.join("\n"));
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = output(Command::new("ip").args(["netns", "del", &self.name])) {
            eprintln!("the namespace {} can't be taken away: {error:#}", self.name);
        }
    }
}
