//! Golden folders: `NAME/in.yaml` (and `settings.yaml`) becomes `snapshot.yaml`, `faults.yaml` and `status.yaml`.
//!
//! Each says in its first line which sentence it shows. `UPDATE_GOLDEN=1` writes the results again; look at what changed.
//! The examples of the repository are golden inputs too: `example-NAME` stands for `examples/NAME`, and its own `in.yaml` holds
//! what the folder's source adds (the endpoints of builtin backends).

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::{env, fs};

use common::GoldenSettings;
use rust_ingress_model::Snapshot;
use rust_ingress_translate::{Dirty, translate};

#[test]
fn golden_folders() {
    let mut names: Vec<_> = fs::read_dir(common::folder("golden")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 40, "golden folders are missing: found {}", names.len());
    let wrong: Vec<String> = names.iter().flat_map(|folder| check(folder)).collect();
    assert!(wrong.is_empty(), "differ from what translation says (UPDATE_GOLDEN=1 rewrites them):\n{}", wrong.join("\n"));
}

/// What is wrong with one folder.
fn check(folder: &Path) -> Vec<String> {
    let input = fs::read_to_string(folder.join("in.yaml")).expect("in.yaml");
    assert!(input.starts_with("# "), "{}: in.yaml begins with the sentence that it shows", folder.display());
    let settings = match fs::read_to_string(folder.join("settings.yaml")) {
        Ok(yaml) => serde_saphyr::from_str(&yaml).expect("settings.yaml"),
        Err(_) => GoldenSettings::default(),
    };
    let settings = settings.settings();
    let mut objects = common::objects(&input);
    objects.extend(example(folder).iter().flat_map(|yaml| common::objects(yaml)));
    let mut world = common::world(objects, &settings);
    drop(world.take_dirty());
    let (mut snapshot, status) = translate(&world, &settings, &Snapshot::default(), &Dirty::all());
    let text = serde_saphyr::to_string(&snapshot).unwrap();
    let read: Snapshot = serde_saphyr::from_str(&text).expect("a snapshot reads back");
    assert!(read == snapshot, "{}: the snapshot reads back as another one", folder.display());
    let keys = world.key_store(&snapshot, &settings);
    assert_eq!(keys.len(), snapshot.certificates.len(), "{}: every certificate has its key", folder.display());
    let reports = std::mem::take(&mut snapshot.reports);
    let files = [
        ("snapshot.yaml", serde_saphyr::to_string(&snapshot).unwrap()),
        ("faults.yaml", serde_saphyr::to_string(&reports).unwrap()),
        ("status.yaml", serde_saphyr::to_string(&status).unwrap()),
    ];
    files.into_iter().filter_map(|(name, now)| compare(&folder.join(name), &now)).collect()
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// The manifests of the example that a golden folder stands for, those of its subfolders too.
fn example(folder: &Path) -> Vec<String> {
    let Some(name) = folder.file_name().and_then(|name| name.to_str()?.strip_prefix("example-")) else { return Vec::new() };
    let (mut folders, mut files) = (vec![examples().join(name)], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("the example is there").map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn every_example_has_a_golden_folder() {
    for entry in fs::read_dir(examples()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        let golden = common::folder("golden").join(format!("example-{}", entry.file_name().display()));
        assert!(golden.is_dir(), "{} is missing: make it with in.yaml, then UPDATE_GOLDEN=1", golden.display());
    }
}

fn compare(path: &Path, now: &str) -> Option<String> {
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, now).unwrap();
        return None;
    }
    let golden = fs::read_to_string(path).unwrap_or_default();
    let line =
        golden.lines().zip(now.lines()).position(|(a, b)| a != b).unwrap_or(golden.lines().count().min(now.lines().count()));
    (golden != now).then(|| {
        let at = |text: &str| text.lines().nth(line).unwrap_or("(nothing)").to_owned();
        format!("{}:{}:\n  golden: {}\n  now:    {}", path.display(), line + 1, at(&golden), at(now))
    })
}
