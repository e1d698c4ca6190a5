//! Processes that a bench measures: started with their output kept, their CPU time read, ended by their id.
//!
//! None outlives the tool: those that run are kept in a list, and a signal that ends the tool ends them first.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// How long a process may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The exit status after a signal, as a shell shows SIGINT.
const INTERRUPTED: i32 = 130;

/// Those that run. Whoever reaps one takes it out first, so that no signal goes to a process that got its number.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on SIGTERM, SIGINT and SIGHUP end the processes that run, and then the tool.
#[expect(clippy::disallowed_methods, reason = "a signal ends the tool in the middle of a measurement")]
pub fn end_with_the_tool() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt, mut hangup) = {
        let _guard = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        end_running();
        std::process::exit(INTERRUPTED);
    })?;
    Ok(())
}

/// Tells those that run to end.
fn end_running() {
    for pid in running().iter() {
        let _ = kill_process(*pid, Signal::TERM);
    }
}

/// A running process and those that it started.
pub struct Process {
    child: Child,
    output: std::path::PathBuf,
}

impl Process {
    /// Starts a command; what it prints goes to a file in `folder`.
    pub fn start(command: &mut Command, name: &str, folder: &Path) -> Result<Self> {
        let output = folder.join(format!("{name}.out"));
        let file = File::create(&output)?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
        let child = child.with_context(|| format!("{name} can't be started"))?;
        running().extend(pid(&child));
        Ok(Self { child, output })
    }

    /// Waits until every address takes connections.
    pub fn listens(&mut self, addresses: &[SocketAddr]) -> Result<()> {
        let start = Instant::now();
        for address in addresses {
            while TcpStream::connect(address).is_err() {
                let ended = self.child.try_wait()?;
                if ended.is_some() || start.elapsed() > PATIENCE {
                    bail!("nothing listens on {address}; it printed:\n{}", self.printed());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Ends it at once, as a crash does: SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        running().retain(|other| Some(*other) != pid(&self.child));
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end: SIGTERM. Returns at once.
    pub fn terminate(&mut self) -> Result<()> {
        let pid = pid(&self.child).context("no process")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Stops it where it is, until [`Self::go_on`].
    pub fn pause(&self) -> Result<()> {
        kill_process(pid(&self.child).context("a process has a number")?, Signal::STOP).context("it can't be paused")
    }

    /// Lets it go on.
    pub fn go_on(&self) -> Result<()> {
        kill_process(pid(&self.child).context("a process has a number")?, Signal::CONT).context("it can't go on")
    }

    /// CPU time of all its threads and of the processes that it started, in nanoseconds.
    pub fn cpu(&self) -> Result<f64> {
        family(self.child.id()).into_iter().map(process_cpu).sum()
    }

    /// Resident memory of the process and of those that it started, in bytes; what they share counts for each.
    pub fn resident(&self) -> Result<u64> {
        family(self.child.id()).into_iter().map(process_resident).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = pid(&self.child);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        running().retain(|other| Some(*other) != pid);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// A process and, transitively, its children.
fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(member) = family.get(next) {
        let children = fs::read_to_string(format!("/proc/{member}/task/{member}/children")).unwrap_or_default();
        family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        next += 1;
    }
    family
}

pub(super) fn process_resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/PID/status")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

/// CPU time of a process' threads, in nanoseconds; `/proc/PID/stat` would count in steps of 10 ms.
fn process_cpu(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} has ended"))? {
        let path = task?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| format!("{}: needs CONFIG_SCHED_INFO", path.display()))?;
        sum += text.split_whitespace().next().unwrap_or_default().parse::<f64>()?;
    }
    Ok(sum)
}

/// Loopback addresses with free ports.
pub fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let listeners: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    addresses.try_into().ok().context("as many addresses as listeners")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nginx and HAProxy once stayed behind when the tool was told to end.
    #[test]
    fn processes_end_when_the_tool_is_told_to() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut process = Process::start(Command::new("sh").args(["-c", "while :; do sleep 1; done"]), "waits", folder.path())?;
        assert!(process.child.try_wait()?.is_none(), "it runs");
        end_running();
        let start = Instant::now();
        while process.child.try_wait()?.is_none() {
            assert!(start.elapsed() < PATIENCE, "it still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(process);
        assert!(running().is_empty(), "nothing is signalled twice");
        Ok(())
    }
}
