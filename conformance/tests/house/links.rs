//! Relative links in Markdown lead to files and folders that are there.

use crate::tree::Tree;
use crate::{finds, none};

fn links(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in file.text.lines().enumerate() {
            for target in targets(line) {
                let path = resolve(folder, target);
                let there = tree.files.iter().any(|file| file.path == path || file.path.starts_with(&format!("{path}/")));
                if !there {
                    breaches.push(format!("{}:{}: the link to {target} leads nowhere", file.path, number + 1));
                }
            }
        }
    }
    breaches
}

/// The relative targets of a line's links, without their fragments.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let ends = line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    let bare = ends.filter_map(|target| target.split('#').next());
    bare.filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
}

/// A target, from the top of the repository.
fn resolve(folder: &str, target: &str) -> String {
    let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    path.join("/")
}

#[test]
fn links_lead_somewhere() {
    none("links", &links(&Tree::repository()));
}

#[test]
fn broken_links_are_found() {
    let readme = "[a](proxy/A.md) [b](proxy) [c](https://example.com/x) [d](#here)\n[e](proxy/B.md#part) [f](../up.md)\n";
    let tree = Tree::sample(&[("README.md", readme), ("proxy/A.md", "[top](../README.md) [self](A.md) [not](README.md)")]);
    finds(&links(&tree), 3);
}
