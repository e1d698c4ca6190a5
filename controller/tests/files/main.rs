//! The file source: what a folder gives to the World, and what it says when files change, break, move and vanish.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod folder;
mod watch;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rust_ingress::builtin::Builtin;
use rust_ingress::source::files::Folder;
use rust_ingress_translate::Change;
use tempfile::TempDir;

const ECHO: Builtin = Builtin { echo: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000) };

/// A Service in eight lines; `kind` in the third, `name` in the fifth, the port in the eighth.
fn service(name: &str, port: u16) -> String {
    format!("---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n")
}

fn folder() -> (TempDir, Folder) {
    let directory = TempDir::new().unwrap();
    let folder = Folder::new(directory.path(), ECHO);
    (directory, folder)
}

/// Changes in words: `+Service/default/a`, `-Service/default/a`, `!file.yaml InvalidDocument`.
fn words(changes: &[Change]) -> Vec<String> {
    let word = |change: &Change| match change {
        Change::Put(object) => format!("+{}", object.reference()),
        Change::Delete(object) => format!("-{object}"),
        Change::Faults { source, faults } => {
            let reasons: Vec<String> = faults.iter().map(|fault| fault.reason.to_string()).collect();
            format!("!{} {}", source.name, reasons.join(" ")).trim_end().to_owned()
        }
        Change::Unreadable { object, .. } => format!("?{object}"),
    };
    let mut words: Vec<String> = changes.iter().map(word).collect();
    words.sort();
    words
}

fn look(folder: &mut Folder) -> Vec<String> {
    words(&folder.scan().changes)
}
