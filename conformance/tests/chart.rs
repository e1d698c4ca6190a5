//! The Helm chart's own consistency, without Helm: `values.yaml`, `values.schema.json`, README and value files name the same keys.
//!
//! What Helm and an API server make of the chart is `suite chart` of the conformance tool.
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// In the schema for others: parent charts set `global`; `claims` has no default because an empty list would be one.
const WITHOUT_DEFAULT: [&str; 2] = ["global", "resources.claims"];

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("conformance stands in the repository").join("charts/rust-ingress")
}

fn text(path: &str) -> String {
    fs::read_to_string(chart().join(path)).unwrap_or_else(|error| panic!("charts/rust-ingress/{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("charts/rust-ingress/{path}: {error}"))
}

fn schema() -> Value {
    serde_json::from_str(&text("values.schema.json")).expect("values.schema.json is JSON")
}

/// `config.drain.delay` and the like: every key whose value the schema does not take apart further.
fn keys(schema: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        found.insert(prefix.to_owned());
        return;
    };
    for (name, below) in properties {
        keys(below, &join(prefix, name), found);
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn schema_keys() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys(&schema(), "", &mut found);
    found
}

/// The value at a dotted key, if the file has it.
fn at<'a>(values: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(values, |value, part| value.as_object()?.get(part))
}

/// Keys of a value file that the schema does not have.
fn unknown(values: &Value, schema: &Value, prefix: &str) -> Vec<String> {
    let (Some(values), Some(properties)) = (values.as_object(), schema["properties"].as_object()) else { return Vec::new() };
    let mut unknown = Vec::new();
    for (name, value) in values {
        match properties.get(name) {
            Some(below) => unknown.extend(self::unknown(value, below, &join(prefix, name))),
            None => unknown.push(join(prefix, name)),
        }
    }
    unknown
}

fn value_files() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(chart().join("examples"))
        .expect("the chart has value files")
        .map(|entry| entry.expect("a folder's entry can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn every_key_has_a_default() {
    let values = yaml("values.yaml");
    let missing: Vec<String> =
        schema_keys().into_iter().filter(|key| !WITHOUT_DEFAULT.contains(&key.as_str()) && at(&values, key).is_none()).collect();
    assert!(missing.is_empty(), "values.schema.json has keys that values.yaml doesn't: {missing:?}");
    let unknown = unknown(&values, &schema(), "");
    assert!(unknown.is_empty(), "values.yaml has keys that values.schema.json doesn't: {unknown:?}");
}

#[test]
fn every_key_stands_in_the_readme_once() {
    let readme = text("README.md");
    let listed: Vec<&str> =
        readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|row| row.0).collect();
    let set: BTreeSet<String> = listed.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(listed.len(), set.len(), "a key stands twice in the chart's README");
    let mut wanted = schema_keys();
    wanted.remove("global");
    assert_eq!(set, wanted, "left: the chart's README; right: values.schema.json");
}

#[test]
fn every_object_of_the_schema_refuses_unknown_keys() {
    fn open(schema: &Value, path: &str, found: &mut Vec<String>) {
        if schema["properties"].is_object() && schema["additionalProperties"] != false {
            found.push(path.to_owned());
        }
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            open(below, &join(path, name), found);
        }
    }
    let mut found = Vec::new();
    open(&schema(), "", &mut found);
    assert!(found.is_empty(), "additionalProperties is not false at {found:?}");
}

#[test]
fn value_files_have_known_keys_and_a_golden() {
    let files = value_files();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let unknown = unknown(&yaml(&format!("examples/{file}")), &schema(), "");
        assert!(unknown.is_empty(), "examples/{file}: values.schema.json doesn't have {unknown:?}");
        assert!(chart().join("tests/golden").join(&file).is_file(), "tests/golden/{file}: suite chart --update writes it");
    }
}

#[test]
fn all_options_sets_every_key_that_other_files_leave_alone() {
    // What no value file sets is rendered by nobody, so nobody would see it break.
    let sets: Vec<Value> = value_files().iter().map(|file| yaml(&format!("examples/{file}"))).collect();
    let free =
        ["nameOverride", "image.tag", "service.clusterIP", "service.loadBalancerIP", "state.hostPath", "config.limits.h2Streams"];
    let unset: Vec<String> = schema_keys()
        .into_iter()
        .filter(|key| !WITHOUT_DEFAULT.contains(&key.as_str()) && !free.contains(&key.as_str()))
        .filter(|key| !sets.iter().any(|set| at(set, key).is_some()))
        .collect();
    assert!(unset.is_empty(), "no value file sets {unset:?}");
}

#[test]
fn the_readme_for_users_of_ingress_nginx_names_keys_that_are_there() {
    let readme = text("../../examples/from-ingress-nginx/README.md");
    let words = readme.split('`').skip(1).step_by(2).map(|code| code.split(':').next().unwrap_or_default());
    let named: Vec<&str> = words.filter(|word| word.starts_with("config.") || word.starts_with("service.")).collect();
    assert!(named.len() > 10, "{named:?}");
    let keys = schema_keys();
    let unknown: Vec<&&str> = named.iter().filter(|word| !word.ends_with('…') && !keys.contains(**word)).collect();
    assert!(unknown.is_empty(), "values.schema.json doesn't have {unknown:?}");
}

#[test]
fn unknown_keys_are_found() {
    let values = serde_json::json!({"config": {"htp": [], "drain": {"dealy": "1s"}}, "kidn": "x"});
    assert_eq!(unknown(&values, &schema(), ""), ["config.drain.dealy", "config.htp", "kidn"]);
}
