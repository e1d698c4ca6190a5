//! Differences and snapshots as JSON, over everything that translation's golden folders make: nothing may be lost on the
//! way, or the child would refuse the update and the last good state would serve less than it did.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rust_ingress::builtin::Builtin;
use rust_ingress::certificate;
use rust_ingress::source::files::Folder;
use rust_ingress_model::{BackendKey, PortRef, Snapshot};
use rust_ingress_proxy::feed::Difference;
use rust_ingress_translate::{Settings, World, translate};

use crate::support::backend;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// What a folder with this one manifest makes.
fn translated(manifest: &Path, settings: &Settings) -> Snapshot {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(manifest, folder.path().join("in.yaml")).unwrap();
    let mut world = World::default();
    let mut folder = Folder::new(folder.path(), Builtin { echo: at(9) });
    folder.scan().changes.into_iter().for_each(|change| world.apply(change));
    let dirty = world.take_dirty();
    translate(&world, settings, &Snapshot::default(), &dirty).0
}

fn snapshots() -> Vec<(PathBuf, Snapshot)> {
    let settings = Settings {
        http: vec![at(80)],
        https: vec![at(443)],
        default_certificate: Some(certificate::make().unwrap()),
        allow_external_name: true,
        ..Settings::default()
    };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("translate/tests/golden");
    let folders = fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path().join("in.yaml"));
    let mut manifests: Vec<_> = folders.filter(|manifest| manifest.exists()).collect();
    manifests.sort();
    assert!(manifests.len() > 30, "golden folders: {}", manifests.len());
    manifests.into_iter().map(|path| (path.clone(), translated(&path, &settings))).collect()
}

#[test]
fn a_difference_over_json_makes_the_same_snapshot() {
    let all = snapshots();
    let nothing = (PathBuf::from("nothing"), Snapshot::default());
    let pairs = all.iter().zip(all.iter().skip(1)).chain(all.iter().map(|one| (&nothing, one)));
    for ((from, old), (to, new)) in pairs.chain(all.iter().map(|one| (one, &nothing))) {
        let json = serde_json::to_vec(&Difference::between(old, new)).unwrap();
        let mut made = old.clone();
        serde_json::from_slice::<Difference>(&json).unwrap().apply(&mut made);
        assert_eq!(made.digest(), new.digest(), "{} to {}", from.display(), to.display());
        assert_eq!(&made, new, "{} to {}", from.display(), to.display());
    }
}

#[test]
fn a_snapshot_over_json_is_the_same() {
    for (path, snapshot) in snapshots() {
        let read: Snapshot = serde_json::from_slice(&serde_json::to_vec(&snapshot).unwrap()).unwrap();
        assert_eq!((read.digest(), read), (snapshot.digest(), snapshot), "{}", path.display());
    }
}

#[test]
fn one_endpoint_among_thousands_is_one_part() {
    let key = |number: u16| BackendKey {
        namespace: "default".into(),
        service: format!("web-{number}").into(),
        port: PortRef::Number(80),
        protocol: None,
        gateway: None,
    };
    let mut old = Snapshot::default();
    old.backends.extend((0..5000).map(|number| (key(number), backend(at(number)))));
    let mut new = old.clone();
    new.backends.insert(key(77), backend(at(6000)));
    let difference = Difference::between(&old, &new);
    assert_eq!(difference.len(), 1);
    assert!(serde_json::to_vec(&difference).unwrap().len() < 1000);
    assert!(Difference::between(&old, &old.clone()).is_empty());
}
