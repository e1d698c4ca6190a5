//! The rules of the house, executable (STYLE.md 16): sizes, heads, the path of a request, rooms, folders, texts, examples.
//!
//! Every rule is a function from a [`Tree`] of files to its breaches, so that one test asks the repository and another asks
//! a bad sample: a rule that can't fail is no rule. Called by `cargo test --workspace` and `.ci/run`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod code;
mod examples;
mod links;
mod request_path;
mod rooms;
mod sizes;
mod texts;
mod tree;

use tree::Tree;

/// Fails with every breach in the message.
fn none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}: {} breaches\n  {}", breaches.len(), breaches.join("\n  "));
}

/// Fails unless a rule found exactly as many breaches in its bad sample.
fn finds(breaches: &[String], count: usize) {
    assert_eq!(breaches.len(), count, "the rule's own sample: {breaches:#?}");
}

#[test]
fn the_repository_is_read() {
    let tree = Tree::repository();
    for path in ["Cargo.toml", "proxy/model/src/lib.rs", "conformance/tests/house/main.rs", "README.md"] {
        assert!(tree.file(path).is_some(), "{path} is not among the {} files read", tree.files.len());
    }
}
