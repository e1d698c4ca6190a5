//! What the child has of its parent's: nothing but its sockets. Read from /proc.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rust_ingress::plane::Plane as _;
use rust_ingress_model::KeyStore;

use crate::support::{endpoint, snapshot, start};

#[test]
fn no_environment_no_capability_no_open_file_of_the_parents() {
    // Open in the parent while the child starts, as a token would be.
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "not-for-the-child").unwrap();
    let held = fs::File::open(&token).unwrap();

    let child = start();
    child.publish(Arc::new(snapshot(endpoint("here"))), &KeyStore::default());
    let proc = PathBuf::from(format!("/proc/{}", child.process().unwrap()));

    let environment = fs::read(proc.join("environ")).unwrap();
    let names: Vec<_> = environment.split(|byte| *byte == 0).filter(|one| !one.is_empty()).collect();
    assert!(names.iter().all(|one| one.starts_with(b"RUST_BACKTRACE=")), "{}", String::from_utf8_lossy(&environment));

    for entry in fs::read_dir(proc.join("fd")).unwrap() {
        let entry = entry.unwrap();
        let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_str().unwrap().to_owned();
        assert!(!target.contains("token"), "{number} -> {target}");
        let ours = ["socket:", "anon_inode:", "pipe:"].iter().any(|kind| target.starts_with(kind));
        // What this test was started with goes through both processes; test runners leave /dev/null open.
        assert!(ours || number <= 2 || target == "/dev/null", "{number} -> {target}");
    }
    drop(held);

    let status = fs::read_to_string(proc.join("status")).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(&field(set), 16), Ok(0), "{set} {}", field(set));
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    // Every thread has given them up, not only the first.
    for thread in fs::read_dir(proc.join("task")).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(status.lines().any(|line| line.starts_with("CapEff:") && line.ends_with("0000000000000000")), "{status}");
    }
    child.stop();
}
