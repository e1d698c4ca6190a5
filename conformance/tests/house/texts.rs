//! Top-level folders, skipped tests, notes to oneself, and names of places that mean nothing to a reader of the repository.
//!
//! Words searched for are written in two halves, so that this file does not name them itself.

use std::collections::BTreeSet;

use crate::tree::Tree;
use crate::{finds, none};

/// DESIGN.md, "Rooms": no others, beside folders that begin with a dot.
const FOLDERS: [&str; 6] = ["controller", "proxy", "plugins", "charts", "conformance", "examples"];

/// Work left undone, and tests that do not run.
const UNDONE: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[ign", "ore"),
];

/// Paths of one machine, and hosts of package registries: a build finds those through its package manager's settings.
const PLACES: [&str; 9] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("crates", ".io"),
    concat!("proxy.golang", ".org"),
    concat!("registry.npmjs", ".org"),
    concat!("pypi", ".org"),
    concat!("deb.debian", ".org"),
    concat!("snapshot.debian", ".org"),
    concat!("security.debian", ".org"),
];

/// Written by cargo, which names its registry in it.
const GENERATED: &str = "Cargo.lock";

fn folders(tree: &Tree) -> Vec<String> {
    let tops: BTreeSet<&str> = tree.files.iter().filter_map(|file| Some(file.path.split_once('/')?.0)).collect();
    let strange = tops.into_iter().filter(|top| !top.starts_with('.') && !FOLDERS.contains(top));
    strange.map(|top| format!("{top}/: not a top-level folder of DESIGN.md")).collect()
}

fn words(tree: &Tree, words: &[&str], advice: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.files.iter().filter(|file| !file.path.ends_with(GENERATED)) {
        for (number, line) in file.text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                breaches.push(format!("{}:{}: {word}: {advice}", file.path, number + 1));
            }
        }
    }
    breaches
}

fn undone(tree: &Tree) -> Vec<String> {
    words(tree, &UNDONE, "finish it, or say in an issue what it waits for")
}

fn places(tree: &Tree) -> Vec<String> {
    words(tree, &PLACES, "name no path of one machine and no package registry")
}

#[test]
fn top_level_folders_are_those_of_the_design() {
    none("folders", &folders(&Tree::repository()));
}

#[test]
fn nothing_is_left_undone_or_skipped() {
    none("undone", &undone(&Tree::repository()));
}

#[test]
fn no_machine_and_no_registry_is_named() {
    none("places", &places(&Tree::repository()));
}

#[test]
fn strange_folders_are_found() {
    let tree = Tree::sample(&[("src/lib.rs", ""), (".ci/run", ""), ("proxy/src/a.rs", ""), ("README.md", ""), ("docs/a.md", "")]);
    finds(&folders(&tree), 2);
}

#[test]
fn undone_work_and_places_are_found() {
    let text = format!("fine\n// {} later\n{}d]\n{}x\ncurl {}\n", UNDONE[0], UNDONE[5], PLACES[0], PLACES[2]);
    let tree = Tree::sample(&[("proxy/src/a.rs", &text), (GENERATED, &text)]);
    finds(&undone(&tree), 2);
    finds(&places(&tree), 2);
}
