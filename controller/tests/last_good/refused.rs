//! A file that isn't whole, or isn't ours alone, is set aside and not served.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rust_ingress::last_good::{LastGood, Store};

use crate::written::{keep, pair, state};

struct Kept {
    folder: tempfile::TempDir,
    snapshot: PathBuf,
    keys: PathBuf,
}

fn kept() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let one = pair();
    keep(folder.path(), true, &[state(&[(one.fingerprint(), &one)])]);
    let (snapshot, keys) = (folder.path().join("snapshot"), folder.path().join("keys"));
    Kept { folder, snapshot, keys }
}

fn load(folder: &Path) -> Option<LastGood> {
    Store::open(folder, true).unwrap().load()
}

/// Spoils one file in place.
fn spoil(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn aside(path: &Path, number: u32) -> PathBuf {
    PathBuf::from(format!("{}.damaged-{number}", path.display()))
}

#[test]
fn a_snapshot_cut_at_any_length_is_set_aside() {
    let kept = kept();
    let whole = fs::read(&kept.snapshot).unwrap();
    for length in (0..whole.len()).step_by(7) {
        fs::write(&kept.snapshot, &whole[..length]).unwrap();
        assert!(load(kept.folder.path()).is_none(), "{length}");
        assert!(!kept.snapshot.exists());
    }
    // Nine are kept, however many there were.
    assert!((1..=9).all(|number| aside(&kept.snapshot, number).exists()) && !aside(&kept.snapshot, 10).exists());
    fs::write(&kept.snapshot, &whole).unwrap();
    fs::set_permissions(&kept.snapshot, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(load(kept.folder.path()).is_some(), "whole again, it is read again");
}

#[test]
fn any_flipped_bit_is_found() {
    let kept = kept();
    let whole = fs::read(&kept.snapshot).unwrap();
    for at in 0..whole.len() {
        spoil(&kept.snapshot, |bytes| bytes[at] ^= 1 << (at % 8));
        assert!(load(kept.folder.path()).is_none(), "{at}");
        fs::rename(aside(&kept.snapshot, 1), &kept.snapshot).unwrap();
        fs::write(&kept.snapshot, &whole).unwrap();
    }
    assert!(load(kept.folder.path()).is_some());
}

#[test]
fn another_format_is_refused_even_with_a_good_checksum() {
    let kept = kept();
    spoil(&kept.snapshot, |bytes| {
        let at = bytes.windows(8).position(|window| window == b"format 1").unwrap();
        bytes[at + 7] = b'0';
    });
    assert!(load(kept.folder.path()).is_none());
    assert!(aside(&kept.snapshot, 1).exists());
}

#[test]
fn a_file_that_others_could_write_or_that_is_a_link_is_refused() {
    let kept = kept();
    fs::set_permissions(&kept.snapshot, fs::Permissions::from_mode(0o620)).unwrap();
    assert!(load(kept.folder.path()).is_none());
    let elsewhere = aside(&kept.snapshot, 1);
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &kept.snapshot).unwrap();
    assert!(load(kept.folder.path()).is_none(), "a link");
}

#[test]
fn damaged_keys_leave_the_routes_and_are_gone_with_the_next_write() {
    let kept = kept();
    spoil(&kept.keys, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let read = load(kept.folder.path()).unwrap();
    assert_eq!((read.snapshot.certificates.len(), read.keys.len()), (1, 0));
    assert!(aside(&kept.keys, 1).exists());
    let two = pair();
    keep(kept.folder.path(), true, &[state(&[(two.fingerprint(), &two)])]);
    assert!(!aside(&kept.keys, 1).exists(), "it holds a key that nothing refers to");
    assert_eq!(load(kept.folder.path()).unwrap().keys.len(), 1);
}

#[test]
fn a_folder_that_is_a_file_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file, true).err().unwrap().to_string();
    assert!(error.contains("--state-dir") && error.contains("file"), "{error}");
}
