//! The rooms of DESIGN.md: which crate may depend on what, what it must not know, and that it uses what it is built on.
//!
//! Reads `cargo metadata`, so that renames, targets and workspace inheritance are as cargo sees them.

use std::collections::BTreeSet;
use std::process::Command;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use serde_json::{Value, json};

use crate::code::{attributes, only_tests, parse};
use crate::tree::{Tree, top};
use crate::{finds, none};

/// One crate's place.
struct Room {
    package: &'static str,
    folder: &'static str,
    /// All that its shipped code may depend on; `None`: anything but what it must not know.
    only: Option<&'static [&'static str]>,
    /// Crates of this workspace that it may depend on.
    ours: &'static [&'static str],
    /// Neither its code nor its tests.
    never: &'static [&'static str],
    /// What its shipped code must be seen to use.
    built_on: &'static [&'static str],
}

const MODEL: &str = "rust-ingress-model";
const TRANSLATE: &str = "rust-ingress-translate";
const HOST: &str = "rust-ingress-plugin-host";
const PROXY: &str = "rust-ingress-proxy";
const PROGRAM: &str = "rust-ingress";
const CONFORMANCE: &str = "rust-ingress-conformance";

const ROOMS: [Room; 6] = [
    Room {
        package: MODEL,
        folder: "proxy/model",
        // Beside DESIGN's list: serde_json and sha2 for the content digest, ahash for the route index, zeroize for keys.
        only: Some(&["http", "ipnet", "serde", "thiserror", "regex", "serde_json", "sha2", "ahash", "zeroize"]),
        ours: &[],
        never: &["tokio", "kube", "hyper", "hyper-util", "rustls", "wasmtime"],
        built_on: &["serde", "regex"],
    },
    Room {
        package: TRANSLATE,
        folder: "controller/translate",
        // Beside DESIGN's list: rustls to check that a key fits its certificate with the code that will serve it, regex to
        // refuse what the index could not compile, zeroize for the key bytes of Secrets, the rest to read objects.
        only: Some(&["k8s-openapi", "x509-parser", "ipnet", "serde", "serde_json", "thiserror", "rustls", "regex", "zeroize"]),
        ours: &[MODEL],
        never: &["tokio", "kube", "hyper", "hyper-util", "wasmtime"],
        built_on: &["k8s-openapi", "x509-parser"],
    },
    Room {
        package: HOST,
        folder: "plugins/host",
        only: None,
        ours: &[MODEL],
        never: &["kube", "hyper", "hyper-util", "k8s-openapi"],
        built_on: &[],
    },
    Room {
        package: PROXY,
        folder: "proxy",
        only: None,
        ours: &[MODEL, HOST],
        never: &["kube", "k8s-openapi"],
        built_on: &["hyper", "rustls", "tokio", "tower", "arc-swap"],
    },
    Room {
        package: PROGRAM,
        folder: "controller",
        only: None,
        ours: &[MODEL, TRANSLATE, PROXY, HOST],
        never: &[],
        built_on: &["clap", "tokio"],
    },
    Room {
        package: CONFORMANCE,
        folder: "conformance",
        only: None,
        ours: &[MODEL, TRANSLATE, PROXY, HOST, PROGRAM],
        never: &[],
        built_on: &[],
    },
];

fn metadata() -> Value {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(top())
        .output()
        .expect("cargo can be run");
    assert!(cargo.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&cargo.stderr));
    serde_json::from_slice(&cargo.stdout).expect("cargo metadata prints JSON")
}

/// A package's dependencies: name, and whether shipped code has it.
fn dependencies(package: &Value) -> Vec<(&str, bool)> {
    let list = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|d| Some((d["name"].as_str()?, d["kind"].is_null()))).collect()
}

fn rooms(metadata: &Value) -> Vec<String> {
    let mut breaches = Vec::new();
    let packages = metadata["packages"].as_array().expect("packages");
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(room) = ROOMS.iter().find(|room| room.package == name) else {
            breaches.push(format!("{name}: a crate that DESIGN.md's table does not have"));
            continue;
        };
        for (dependency, shipped) in dependencies(package) {
            let ours = packages.iter().any(|package| package["name"] == dependency);
            if room.never.contains(&dependency) {
                breaches.push(format!("{name} must not know {dependency}"));
            } else if ours && !room.ours.contains(&dependency) {
                breaches.push(format!("{name} must not depend on {dependency}"));
            } else if shipped && !ours && room.only.is_some_and(|only| !only.contains(&dependency)) {
                breaches.push(format!("{name} depends on {dependency}, which DESIGN.md's table does not give it"));
            }
        }
    }
    breaches
}

/// Shipped dependencies that shipped code never names, and what a room is built on but does not use.
fn used(metadata: &Value, tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let Some(room) = ROOMS.iter().find(|room| package["name"] == room.package) else { continue };
        let names = names_in(tree, &format!("{}/src/", room.folder));
        let list = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
        // In code a dependency may have another name.
        let alias = |dependency: &str| list.iter().find(|one| one["name"] == *dependency)?["rename"].as_str();
        let uses = |dependency: &str| names.contains(&alias(dependency).unwrap_or(dependency).replace('-', "_"));
        let declared = dependencies(package);
        for (dependency, _) in declared.iter().filter(|(dependency, shipped)| *shipped && !uses(dependency)) {
            breaches.push(format!("{}: depends on {dependency} and never names it in shipped code", room.package));
        }
        for dependency in room.built_on {
            if !declared.contains(&(dependency, true)) || !uses(dependency) {
                breaches.push(format!("{}: DESIGN.md builds it on {dependency}; its shipped code doesn't use it", room.package));
            }
        }
    }
    breaches
}

/// Every identifier in the code of a folder that isn't for tests, comments left out.
fn names_in(tree: &Tree, folder: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in tree.rust().filter(|file| file.path.starts_with(folder) && !file.is_test()) {
        for item in parse(file).items.iter().filter(|item| !only_tests(attributes(item))) {
            collect(item.to_token_stream(), &mut names);
        }
    }
    names
}

fn collect(tokens: TokenStream, names: &mut BTreeSet<String>) {
    for tree in tokens {
        match tree {
            TokenTree::Ident(ident) => drop(names.insert(ident.to_string())),
            TokenTree::Group(group) => collect(group.stream(), names),
            _ => {}
        }
    }
}

#[test]
fn crates_keep_to_their_rooms() {
    none("rooms", &rooms(&metadata()));
}

#[test]
fn crates_use_what_they_depend_on() {
    none("used", &used(&metadata(), &Tree::repository()));
}

fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
    let list: Vec<Value> = dependencies.iter().map(|(name, kind)| json!({"name": name, "kind": kind})).collect();
    json!({"name": name, "dependencies": list})
}

#[test]
fn a_wrong_dependency_is_found() {
    let bad = json!({"packages": [
        package(MODEL, &[("serde", None), ("tokio", Some("dev")), ("hyper", None), ("rand", None)]),
        package(PROXY, &[("kube", None), (TRANSLATE, None), (MODEL, None), ("anything", None)]),
        package(TRANSLATE, &[(MODEL, None), ("proptest", Some("dev"))]),
        package("rust-ingress-attic", &[]),
    ]});
    finds(&rooms(&bad), 6);
}

#[test]
fn an_unused_dependency_is_found() {
    let metadata = json!({"packages": [package(PROXY, &[("hyper", None), ("arc-swap", None), ("bytes", None)])]});
    let code = "//! hyper tower\nuse arc_swap::ArcSwap;\n#[cfg(test)]\nmod tests { use hyper::x; use tokio::y; }\n";
    // hyper and bytes declared and unused; hyper, rustls, tokio, tower of DESIGN.md unused.
    finds(&used(&metadata, &Tree::sample(&[("proxy/src/lib.rs", code)])), 6);
}
