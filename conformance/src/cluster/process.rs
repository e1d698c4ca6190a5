//! The cluster's processes: started inside the recorded cgroup and a namespace, ended by their membership in that cgroup.
//!
//! A shell joins the cgroup and then becomes the program, so that there is no moment at which a process exists and is not counted.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::layout::{Node, WAN};
use super::record::{Record, namespace_path};

/// How long a process may take to end after SIGTERM, and all of them after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// The outside world.
    Wan,
    /// A node's network, with this machine's files.
    Network(u8),
    /// A node's network, and its own /run, /var/lib and /var/log: where containerd and the kubelet are.
    Inside(u8),
}

/// What was started under a name, so that it can be started again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Started {
    /// Where it runs.
    pub place: Place,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// The process.
    pub pid: i32,
}

/// Starts, finds and ends the processes of one cluster.
pub struct Processes {
    state: PathBuf,
    members: PathBuf,
}

impl Processes {
    /// Those of a recorded cluster.
    pub fn of(state: &Path, record: &Record) -> Result<Self> {
        let members = record.members().context("the cluster's record names no cgroup")?.to_owned();
        Ok(Self { state: state.to_owned(), members })
    }

    /// A command line that runs in a place. Not started by this, and not a member: for short commands of the tool itself.
    pub fn enter(&self, place: Place, command: &[String]) -> Result<Command> {
        let mut enter = Command::new("nsenter");
        let namespace = match place {
            Place::Wan => WAN.to_owned(),
            Place::Network(node) | Place::Inside(node) => Node(node).namespace(),
        };
        enter.arg(format!("--net={}", namespace_path(&namespace).display()));
        if let Place::Inside(node) = place {
            let anchor = self.find(&anchor(node))?.with_context(|| format!("{} is not up", Node(node).name()))?;
            enter.arg(format!("--mount=/proc/{}/ns/mnt", anchor.pid));
        }
        enter.arg("--").args(command);
        Ok(enter)
    }

    /// The same, as a member: whatever becomes of the tool, it ends with the cluster.
    pub fn member(&self, place: Place, command: &[String]) -> Result<Command> {
        let line = self.enter(place, command)?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.members.join("control/cgroup.procs"));
        shell.arg(line.get_program()).args(line.get_args());
        Ok(shell)
    }

    /// Starts a process that outlives the tool; what it prints goes to `logs/NAME.log`.
    pub fn start(&self, name: &str, place: Place, command: &[String]) -> Result<()> {
        fs::create_dir_all(self.state.join("logs"))?;
        fs::create_dir_all(self.state.join("processes"))?;
        let log = self.log(name);
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("{}: can't be written", log.display()))?;
        let member = self.member(place, command)?;
        let mut session = Command::new("setsid");
        session.arg(member.get_program()).args(member.get_args());
        session.env("TMPDIR", self.state.join("tmp")).current_dir(&self.state);
        let child = session.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn();
        let pid = i32::try_from(child.with_context(|| format!("{name} can't be started"))?.id())?;
        let started = Started { place, command: command.to_vec(), pid };
        fs::write(self.file(name), serde_json::to_vec(&started)?)?;
        Ok(())
    }

    /// Starts again what was started under this name.
    pub fn restart(&self, name: &str) -> Result<()> {
        let started = self.read(name)?.with_context(|| format!("no process of the cluster is called {name}"))?;
        ensure!(self.find(name)?.is_none(), "{name} runs already");
        self.start(name, started.place, &started.command)
    }

    /// Ends one process: by SIGTERM, after a while by SIGKILL; or by SIGKILL at once.
    pub fn stop(&self, name: &str, at_once: bool) -> Result<()> {
        let started = self.find(name)?.with_context(|| format!("{name} does not run"))?;
        let pid = Pid::from_raw(started.pid).context("a process has a number above 0")?;
        let begin = Instant::now();
        kill_process(pid, if at_once { Signal::KILL } else { Signal::TERM })?;
        while self.find(name)?.is_some() {
            if begin.elapsed() > PATIENCE {
                let _ = kill_process(pid, Signal::KILL);
            }
            ensure!(begin.elapsed() < PATIENCE * 2, "{name} (process {pid:?}) does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The running process of a name: alive, and a member of the cluster, so that nobody who got its number later is meant.
    pub fn find(&self, name: &str) -> Result<Option<Started>> {
        let Some(started) = self.read(name)? else { return Ok(None) };
        let member = fs::read_to_string(format!("/proc/{}/cgroup", started.pid));
        let member =
            member.is_ok_and(|groups| groups.lines().any(|line| line.ends_with(&format!("/{}/control", super::layout::CGROUP))));
        let stat = fs::read_to_string(format!("/proc/{}/stat", started.pid)).unwrap_or_default();
        // A zombie of a tool that started it and still runs has ended as well.
        let ended = stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with('Z') || rest.is_empty());
        Ok((member && !ended).then_some(started))
    }

    /// Names of all that were started.
    pub fn names(&self) -> Vec<String> {
        let files = fs::read_dir(self.state.join("processes")).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            files.filter_map(|file| file.file_name().to_str()?.strip_suffix(".json").map(str::to_owned)).collect();
        names.sort();
        names
    }

    /// Where a process' output goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.state.join("logs").join(format!("{name}.log"))
    }

    /// The last lines of a process' output, for messages.
    pub fn last_words(&self, name: &str) -> String {
        let log = fs::read_to_string(self.log(name)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.state.join("processes").join(format!("{name}.json"))
    }

    fn read(&self, name: &str) -> Result<Option<Started>> {
        let Ok(text) = fs::read_to_string(self.file(name)) else { return Ok(None) };
        serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("{}: is not a record of this program", self.file(name).display()))
    }
}

/// The process that holds a node's mount namespace.
pub fn anchor(node: u8) -> String {
    format!("anchor{node}")
}

/// Runs a short command of the tool itself; its output, or what it said when it failed.
pub fn output(command: &mut Command) -> Result<String> {
    let said = command.stdin(Stdio::null()).output();
    let said = said.with_context(|| format!("{} can't be run", command.get_program().display()))?;
    if !said.status.success() {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        let words = String::from_utf8_lossy(&said.stderr);
        bail!("{} {}: {}: {}", command.get_program().display(), arguments.join(" "), said.status, words.trim());
    }
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

/// Ends every process below a cgroup, at once.
pub fn end_members(cgroup: &Path) -> Result<()> {
    let begin = Instant::now();
    loop {
        let members = members(cgroup);
        if members.is_empty() {
            return Ok(());
        }
        ensure!(begin.elapsed() < PATIENCE, "processes {members:?} of the cluster do not end");
        for pid in members.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// The processes of a cgroup and all below it.
pub fn members(cgroup: &Path) -> Vec<i32> {
    let own = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut all: Vec<i32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    for folder in folders(cgroup) {
        all.extend(members(&folder));
    }
    all
}

/// Removes a cgroup and all below it; those must be empty.
pub fn remove_cgroup(cgroup: &Path) -> Result<()> {
    for folder in folders(cgroup) {
        remove_cgroup(&folder)?;
    }
    let begin = Instant::now();
    // A process that has just ended may still count for a moment.
    while let Err(error) = fs::remove_dir(cgroup) {
        if error.kind() == std::io::ErrorKind::NotFound {
            break;
        }
        ensure!(begin.elapsed() < Duration::from_secs(5), "{}: can't be removed: {error}", cgroup.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn folders(cgroup: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}
