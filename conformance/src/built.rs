//! The program, up to date: built with the cargo that made this tool, beside it. Called by benches, suites and the image.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The release build, whatever this tool is.
pub fn release() -> Result<PathBuf> {
    build(true)
}

/// As this tool was built.
pub fn like_this_tool() -> Result<PathBuf> {
    build(!cfg!(debug_assertions))
}

/// Named together with this tool, so that one build of the dependencies serves both.
fn build(release: bool) -> Result<PathBuf> {
    let tool = env::current_exe()?;
    let target = tool.parent().and_then(Path::parent).context("this tool stands in a target folder")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "-p", "rust-ingress", "-p", "rust-ingress-conformance", "--bin", "rust-ingress"]);
    build.arg("--target-dir").arg(target);
    if release {
        build.arg("--release");
    }
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().context("cargo can't be run")?;
    ensure!(built.success(), "rust-ingress can't be built");
    Ok(target.join(if release { "release" } else { "debug" }).join("rust-ingress"))
}
