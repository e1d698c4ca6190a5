//! The program as a child process on free ports; it is ended when the test ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than any machine needs; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rust-ingress"));
    command.stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn output(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

pub struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub printed: String,
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub admin: SocketAddr,
    pub health: SocketAddr,
    log: PathBuf,
    _log_folder: tempfile::TempDir,
}

impl Program {
    /// Starts `run` for a folder, with further flags, and waits until it serves.
    pub fn start(manifests: &Path, flags: &[&str]) -> Self {
        let log_folder = tempfile::tempdir().unwrap();
        let log = log_folder.path().join("log");
        let free = "127.0.0.1:0";
        let mut child = command()
            .arg("run")
            .arg("--manifests")
            .arg(manifests)
            .args(["--http", free, "--https", free, "--admin", free, "--health", free, "--workers", "2"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        let mut address = |scheme: &str| -> SocketAddr {
            loop {
                let mut line = String::new();
                assert!(stdout.read_line(&mut line).unwrap() > 0, "it ended: {printed}{}", fs::read_to_string(&log).unwrap());
                printed.push_str(&line);
                let mut words = line.split_whitespace();
                if words.next() == Some(scheme) {
                    let (_, rest) = words.next().unwrap().split_once("://").unwrap();
                    return rest.split('/').next().unwrap().parse().unwrap();
                }
            }
        };
        let (http, https, admin, health) = (address("http"), address("https"), address("admin"), address("health"));
        Self { child, stdout, printed, http, https, admin, health, log, _log_folder: log_folder }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log says something.
    pub fn wait_for_log(&self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            assert!(start.elapsed() < PATIENCE, "the log never said {text:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: i32) {
        // The shell's own: a program of this name isn't on every machine.
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end; gives the status and all that was printed.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "it doesn't end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut printed = std::mem::take(&mut self.printed);
        self.stdout.read_to_string(&mut printed).unwrap();
        (status, printed)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Ended already where the test waited for it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
