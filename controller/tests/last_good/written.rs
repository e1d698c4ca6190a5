//! What is written is read again; keys that nothing refers to are gone; nobody else can read it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use rust_ingress::certificate;
use rust_ingress::driver::Published;
use rust_ingress::last_good::{Keeper, LastGood, Store};
use rust_ingress_model::{Fingerprint, HostPattern, KeyPair, KeyStore, Part, Snapshot, StatusPlan, TlsSet};

/// A snapshot with these certificates, and their keys.
pub fn state(pairs: &[(Fingerprint, &Arc<KeyPair>)]) -> (Arc<Snapshot>, KeyStore) {
    let (mut snapshot, mut keys) = (Snapshot::default(), KeyStore::default());
    let mut set = TlsSet::default();
    for (number, (fingerprint, pair)) in pairs.iter().enumerate() {
        let certificate = certificate::make().unwrap().certificate;
        snapshot.certificates.insert(*fingerprint, Part::new(certificate));
        set.by_host.insert(HostPattern::Exact(format!("host-{number}.test").into()), *fingerprint);
        keys.insert_as(*fingerprint, (*pair).clone());
    }
    snapshot.tls_sets.insert("ingress".into(), Part::new(set));
    (Arc::new(snapshot), keys)
}

pub fn pair() -> Arc<KeyPair> {
    certificate::make().unwrap().pair
}

/// Writes as the program does: through the driver's subscriber, ended in order.
pub fn keep(folder: &Path, persist_keys: bool, states: &[(Arc<Snapshot>, KeyStore)]) {
    let keeper = Keeper::start(Store::open(folder, persist_keys).unwrap()).unwrap();
    let mut subscriber = keeper.subscriber();
    for (snapshot, keys) in states {
        subscriber(&Published { snapshot, keys, status: &StatusPlan::default(), came: &[], went: &[] });
    }
    keeper.stop();
}

fn load(folder: &Path) -> Option<LastGood> {
    Store::open(folder, true).unwrap().load()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("a/b");
    assert!(load(&folder).is_none(), "nothing was written yet");
    let (one, two) = (pair(), pair());
    let states = state(&[(one.fingerprint(), &one), (Fingerprint::SELF_MADE, &two)]);
    keep(&folder, true, std::slice::from_ref(&states));
    let read = load(&folder).unwrap();
    assert_eq!(read.snapshot, states.0);
    assert_eq!(read.snapshot.digest(), states.0.digest());
    assert_eq!(read.keys.len(), 1, "the certificate made at start is made anew");
    let kept = read.keys.get(&one.fingerprint()).unwrap();
    assert_eq!((&kept.chain, &kept.key), (&one.chain, &one.key));
    assert!(read.written.elapsed().unwrap().as_secs() < 60);
    assert_eq!((mode(&folder), mode(&folder.join("snapshot")), mode(&folder.join("keys"))), (0o700, 0o600, 0o600));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing is left beside the two files");
}

#[test]
fn the_last_of_many_is_written_and_keys_without_a_reference_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (pair(), pair());
    keep(folder.path(), true, &[state(&[(one.fingerprint(), &one)])]);
    let both = state(&[(one.fingerprint(), &one), (two.fingerprint(), &two)]);
    let last = state(&[(two.fingerprint(), &two)]);
    keep(folder.path(), true, &[both, last.clone()]);
    let read = load(folder.path()).unwrap();
    assert_eq!(read.snapshot, last.0);
    let bytes = fs::read(folder.path().join("keys")).unwrap();
    let holds = |key: &KeyPair| bytes.windows(key.key.len()).any(|window| window == &**key.key);
    assert!(holds(&two) && !holds(&one));
}

#[test]
fn a_folder_that_others_can_enter_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    keep(folder.path(), true, &[state(&[])]);
    assert_eq!(mode(folder.path()), 0o700);
}

#[test]
fn without_persisted_keys_none_are_on_disk_and_those_of_before_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let one = pair();
    let states = state(&[(one.fingerprint(), &one)]);
    keep(folder.path(), true, std::slice::from_ref(&states));
    fs::copy(folder.path().join("keys"), folder.path().join("keys.damaged-1")).unwrap();
    keep(folder.path(), false, std::slice::from_ref(&states));
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["snapshot"]);
    let read = Store::open(folder.path(), false).unwrap().load().unwrap();
    assert_eq!((read.snapshot, read.keys.len()), (states.0, 0));
}
