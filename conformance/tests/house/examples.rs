//! Every folder of `examples/` is a thing that works: it has a README, a test sends traffic through it, and every command
//! that its README shows is run by a test.
//!
//! Suites of the conformance tool count as tests: an example for a cluster is proved on a cluster.
//! A test runs a README's commands in one of two ways: it reads `examples/NAME/README.md` and runs what stands there, or it
//! holds the command's text beside the code that does the same (`cargo test` can't count on `curl`). Either is seen here.

use std::collections::BTreeSet;

use crate::tree::{File, Tree};
use crate::{finds, none};

fn examples(tree: &Tree) -> Vec<String> {
    let folders = tree.files.iter().filter_map(|file| Some(file.path.strip_prefix("examples/")?.split_once('/')?.0));
    let folders: BTreeSet<&str> = folders.collect();
    let proves = |file: &&File| file.is_test() || file.path.starts_with("conformance/src/suite/");
    let tests: Vec<&File> = tree.rust().filter(proves).filter(|file| !file.path.contains("/tests/house/")).collect();
    let mut breaches = Vec::new();
    for folder in folders {
        let folder = format!("examples/{folder}");
        if !tests.iter().any(|test| test.text.contains(&folder)) {
            breaches.push(format!("{folder}: no test names it; send traffic through it in one"));
        }
        let path = format!("{folder}/README.md");
        let Some(readme) = tree.file(&path) else {
            breaches.push(format!("{folder}: no README.md"));
            continue;
        };
        let taken = tests.iter().any(|test| test.text.contains(&path));
        for command in commands(&readme.text) {
            if !taken && !tests.iter().any(|test| test.text.contains(&command)) {
                breaches.push(format!("{path}: no test runs `{command}`"));
            }
        }
    }
    breaches
}

/// The commands of a README's `sh` blocks, lines that end in a backslash joined, comments left out.
fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let (mut inside, mut joined) = (false, String::new());
    for line in readme.lines().map(str::trim) {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside && matches!(language, "sh" | "bash" | "console" | "shell");
            continue;
        }
        if !inside || line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("$ ").unwrap_or(line);
        joined.push_str(line.trim_end_matches('\\'));
        if !line.ends_with('\\') {
            commands.push(std::mem::take(&mut joined));
        }
    }
    commands
}

#[test]
fn examples_are_read_tested_and_run() {
    none("examples", &examples(&Tree::repository()));
}

#[test]
fn examples_without_readme_test_or_run_commands_are_found() {
    let readme = "```sh\ncurl -v http://a/\n# a comment\ncargo run \\\n  -- run\n```\n```yaml\nkind: Service\n```\n";
    let tree = Tree::sample(&[
        ("examples/bare/a.yaml", ""),
        ("examples/good/README.md", readme),
        ("examples/taken/README.md", readme),
        ("examples/half/README.md", readme),
        ("controller/tests/a.rs", "fn t() { run(\"examples/good\", \"curl -v http://a/\", \"cargo run -- run\") }"),
        ("controller/tests/b.rs", "fn t() { run_commands_of(\"examples/taken/README.md\") }"),
        ("controller/src/b.rs", "examples/bare examples/half"),
    ]);
    // bare: no test, no README; half: no test (its commands are those that `good` runs).
    finds(&examples(&tree), 3);
    let unrun = Tree::sample(&[("examples/a/README.md", readme), ("proxy/tests/a.rs", "examples/a")]);
    finds(&examples(&unrun), 2);
}
