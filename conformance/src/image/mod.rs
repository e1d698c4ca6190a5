//! Container images, written by ourselves: no container engine and no image registry is needed to make one.

pub mod oci;
pub(crate) mod program;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use crate::built;
use program::MOST;
pub use program::{NAME, build};

/// What to do with the program's image.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build the program and write its image as an OCI archive, which containerd, docker and skopeo load
    Build {
        /// Where the archive goes
        #[arg(long, value_name = "FILE", default_value = "rust-ingress.tar")]
        out: PathBuf,
        /// A program that is built already, in place of a release build
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
        /// The image's name and tag; may be repeated
        #[arg(long, value_name = "NAME:TAG", default_value = NAME)]
        name: Vec<String>,
    },
}

/// Does it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Action::Build { out, program, name } = &arguments.command;
    let bytes = match program {
        Some(program) => build(program, name, out)?,
        None => {
            let bytes = build(&built::release()?, name, out)?;
            ensure!(bytes <= MOST, "{} has {bytes} bytes, which is too much for an image: at most {MOST}", out.display());
            bytes
        }
    };
    println!("{}: {}, {:.1} MiB", out.display(), name.join(", "), bytes as f64 / 1_048_576.0);
    Ok(())
}

/// The shared libraries of a program, its loader among them; none for a static one.
pub fn libraries(program: &Path) -> Result<Vec<String>> {
    let said = Command::new("ldd").arg(program).output().context("ldd can't be run: apt-get install libc-bin")?;
    let said = String::from_utf8_lossy(&said.stdout);
    Ok(said.split_whitespace().filter(|word| word.starts_with('/') && word.contains(".so")).map(str::to_owned).collect())
}
