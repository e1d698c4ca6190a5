//! The commands of the README's section "On your cluster", and of the examples for a cluster, as they stand there, on the test
//! cluster.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::chart::RELEASE;
use crate::chart::install::{Install, surroundings};
use crate::cluster::Cluster;
use crate::suite::Report;
use crate::suite::reader::{Reader, commands, read, section, top};

/// Runs them; the program is installed by the README itself, and taken away by it.
pub fn cases(cluster: &Cluster, install: &Install<'_>, program: Option<&Path>, report: &mut Report) -> Result<()> {
    let reader = Reader { cluster, install, program, values: surroundings(cluster) };
    let section = commands(&section(&read("README.md")?, "On your cluster")?);
    ensure!(section.len() >= 5, "the README's section has {} commands", section.len());
    let (to_curl, after) = section.split_at(5);
    for command in to_curl {
        report.case("README", command, || reader.run(command));
    }
    let uninstall = after.iter().position(|command| command.starts_with("helm uninstall ")).unwrap_or(after.len());
    let (upgrade, uninstall) = after.split_at(uninstall);
    for command in upgrade {
        report.case("README", command, || reader.run(command));
    }
    for readme in ["examples/first-ingress/README.md", "examples/from-ingress-nginx/README.md"] {
        for command in commands(&read(readme)?) {
            report.case(readme, &command, || reader.run(&command));
        }
    }
    for command in uninstall {
        report.case("README", command, || reader.run(command));
    }
    std::fs::remove_file(top()?.join("rust-ingress.tar")).context("the README's first command wrote no archive")?;
    cluster.kubectl(&["delete", "namespace", RELEASE, "--ignore-not-found", "--timeout=60s"]).map(drop)
}
