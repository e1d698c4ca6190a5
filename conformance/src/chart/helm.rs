//! Helm, built once from its Go module into the cache. Its own settings are kept apart from those of whoever runs the tool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::cluster::golang::{Go, Kind, Program, lock};
use crate::cluster::layout::cache;

/// The version that the chart is proved with.
pub const VERSION: &str = "4.3.1";

/// The program.
pub struct Helm {
    folder: PathBuf,
}

impl Helm {
    /// Helm from the cache, built first if it isn't there: a minute or two on two cores.
    pub fn find() -> Result<Self> {
        let folder = cache()?.join("helm").join(format!("v{VERSION}"));
        let _lock = lock(&folder)?;
        if !folder.join("helm").is_file() {
            build(&folder)?;
        }
        Ok(Self { folder })
    }

    /// The folder that holds it, for a PATH.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `helm ARGUMENTS`, ready to run, with settings and caches of its own.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(self.folder.join("helm"));
        command.args(arguments).envs(self.environment());
        command
    }

    /// What keeps Helm's settings apart.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let home = |name: &str| self.folder.join("home").join(name);
        vec![("HELM_CACHE_HOME", home("cache")), ("HELM_CONFIG_HOME", home("config")), ("HELM_DATA_HOME", home("data"))]
    }

    /// Runs `helm ARGUMENTS`; what it printed, or an error with what it said.
    pub fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Result<String> {
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let Output { status, stdout, stderr } = self.command(&arguments).output().context("helm can't be run")?;
        if !status.success() {
            bail!("helm {}: {}", arguments.join(" "), String::from_utf8_lossy(&stderr).trim());
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }
}

fn build(folder: &Path) -> Result<()> {
    let go = Go::find(26)?;
    let source = folder.join("source");
    fs::create_dir_all(&source)?;
    fs::write(source.join("go.mod"), "module example.test/helm\n\ngo 1.26.0\n")?;
    let package = "helm.sh/helm/v4/cmd/helm";
    go.run(&source, &["get", &format!("{package}@v{VERSION}")]).context("Helm can't be fetched as a Go module")?;
    let linker = format!("-X helm.sh/helm/v4/internal/version.version=v{VERSION}");
    go.build(&Program { name: "helm", package, kind: Kind::Command, linker }, &source, folder)
}
