//! Commands of documents, as they stand there, on the test cluster.
//!
//! Some are said for the reader's machine and done in the cluster's way here: `cargo run` of this tool is this tool, `ctr` runs on
//! every node, and where a document tells the reader to fill in values, the caller does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::chart::install::Install;
use crate::cluster::{Cluster, Place};

/// How the README starts this tool.
const TOOL: &str = "cargo run --release -p rust-ingress-conformance --";

/// The repository's folder.
pub(super) fn top() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("conformance stands in the repository")?.to_owned())
}

/// A document's text.
pub(super) fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(top()?.join(path)).with_context(|| format!("{path}: can't be read"))
}

/// A section of a Markdown file, up to the next of its level.
pub(super) fn section(text: &str, title: &str) -> Result<String> {
    let begin = text.find(&format!("\n## {title}\n")).with_context(|| format!("there is no section {title:?}"))?;
    let rest = &text[begin + 4..];
    Ok(rest.split("\n## ").next().unwrap_or_default().to_owned())
}

/// The commands of its `sh` blocks, one a line.
pub(super) fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).filter_map(|block| Some(block.split_once("```")?.0));
    let lines = blocks.flat_map(str::lines).map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Who follows a document.
pub(super) struct Reader<'a> {
    /// Where.
    pub cluster: &'a Cluster,
    /// With this Helm.
    pub install: &'a Install<'a>,
    /// A built program, for commands that would build one.
    pub program: Option<&'a Path>,
    /// Values that the document leaves to the reader of `helm install` and `helm upgrade`.
    pub values: Vec<String>,
}

impl Reader<'_> {
    /// Runs a command.
    pub fn run(&self, command: &str) -> Result<()> {
        if command.starts_with("ctr ") {
            return self.cluster.nodes().try_for_each(|node| self.on_node(node.0, command));
        }
        let mut line = command.to_owned();
        if let Some(arguments) = command.strip_prefix(TOOL) {
            line = format!("'{}'{arguments}", std::env::current_exe()?.display());
            if let Some(program) = self.program {
                line.push_str(&format!(" --program '{}'", std::path::absolute(program)?.display()));
            }
        } else if command.starts_with("helm install ") || command.starts_with("helm upgrade ") {
            line.extend(self.values.iter().map(|value| format!(" --set '{value}'")));
        }
        let mut bash = Command::new("bash");
        bash.args(["-c", &line]).current_dir(top()?).env("PATH", self.path()?).env("KUBECONFIG", self.cluster.kubeconfig());
        finish(bash.envs(self.install.helm_program().environment()))
    }

    fn on_node(&self, node: u8, command: &str) -> Result<()> {
        let line = format!("cd '{}' && {command}", top()?.display());
        finish(&mut self.cluster.command(Place::Inside(node), &["bash", "-c", &line])?)
    }

    /// The PATH of whoever runs the suite, with the cluster's own kubectl and the Helm that the chart is proved with before it.
    fn path(&self) -> Result<OsString> {
        let kubectl = crate::cluster::programs::Programs::cached()?.path("kubectl")?;
        let own = kubectl.parent().context("kubectl stands in a folder")?.to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [own, self.install.helm_program().folder().to_owned()].into_iter().chain(std::env::split_paths(&path));
        Ok(std::env::join_paths(folders)?)
    }
}

fn finish(command: &mut Command) -> Result<()> {
    let done = command.output().context("it can't be run")?;
    if !done.status.success() {
        bail!("{}\n{}", String::from_utf8_lossy(&done.stdout).trim(), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_readme_has_at_most_five_commands_until_the_first_answer() {
        let commands = commands(&section(&read("README.md").unwrap(), "On your cluster").unwrap());
        let curl = commands.iter().position(|command| command.starts_with("curl ")).unwrap();
        assert_eq!(curl, 4, "{commands:#?}");
        let told = ["image build", "ctr ", "helm install", "kubectl apply -f examples/first-ingress", "curl "];
        for (command, part) in commands.iter().zip(told) {
            assert!(command.contains(part), "{command}: expected {part}");
        }
        assert!(commands.iter().any(|command| command.starts_with("helm upgrade ")), "{commands:#?}");
        assert!(commands.iter().any(|command| command.starts_with("helm uninstall ")), "{commands:#?}");
    }

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let text = "# A\n\n## B\n\n```sh\none\n# no\n\ntwo\n```\n\n## C\n\n```sh\nthree\n```\n";
        assert_eq!(commands(&section(text, "B").unwrap()), ["one", "two"]);
        assert!(section(text, "D").is_err());
    }
}
