//! The command line: what stands in the way of a start is said, with what to do, and the exit status is 2.

use std::net::TcpListener;
use std::process::Output;

use crate::program::{output, repository};

fn quickstart() -> String {
    repository().join("examples/quickstart").to_str().unwrap().to_owned()
}

/// Runs the program, which must refuse; gives what it says.
fn refused(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = output(arguments);
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{arguments:?}: {said}");
    said
}

fn run(flags: &[&str]) -> String {
    let folder = quickstart();
    let mut arguments = vec!["run", "--manifests", &folder];
    let free = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--health", "127.0.0.1:0"];
    arguments.extend(free.chunks(2).filter(|pair| !flags.contains(pair.first().unwrap())).flatten());
    arguments.extend(flags);
    refused(&arguments)
}

#[test]
fn a_folder_that_is_not_there() {
    for command in ["run", "check"] {
        let said = refused(&[command, "--manifests", "no/such/folder"]);
        assert!(said.contains("there is no folder no/such/folder") && said.contains("--manifests"), "{said}");
    }
}

#[test]
fn a_file_instead_of_a_folder() {
    let file = format!("{}/quickstart.yaml", quickstart());
    let said = refused(&["run", "--manifests", &file]);
    assert!(said.contains("quickstart.yaml") && said.contains("--manifests"), "{said}");
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--http", "--https", "--admin", "--health"] {
        let said = run(&[flag, &address]);
        assert!(said.contains(flag), "{flag}: {said}");
        assert!(said.contains("in use"), "{flag}: {said}");
        assert!(said.contains(&address), "{flag}: {said}");
        assert_eq!(said.matches(&address).count(), 1, "said once: {said}");
    }
}

#[test]
fn an_address_of_another_machine() {
    // 192.0.2.0/24 is for documentation (RFC 5737).
    let said = run(&["--http", "192.0.2.1:8080"]);
    assert!(said.contains("isn't on this machine") && said.contains("--http ADDRESS"), "{said}");
}

#[test]
fn bad_flags() {
    for (flags, expected) in [
        (["--http", "8080"], "127.0.0.1:8080"),
        (["--admin", "0.0.0.0:9901"], "loopback"),
        (["--workers", "0"], "--workers"),
        (["--trusted-proxy", "10.0.0.0/40"], "CIDR"),
        (["--drain-timeout", "30"], "unit"),
        (["--log-level", "info,=="], "--log-level"),
        (["--log-format", "xml"], "json"),
        (["--default-certificate", "cert.pem"], "CERT.pem,KEY.pem"),
        (["--default-certificate", "no.pem,no.key"], "no.pem"),
        (["--access-log", "no/such/folder/log"], "no/such/folder/log"),
        (["--wrokers", "2"], "--workers"),
    ] {
        let said = run(&flags);
        assert!(said.contains(expected), "{flags:?}: {said}");
    }
}

#[test]
fn a_default_certificate_whose_key_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let make = || rcgen::generate_simple_self_signed(vec!["a.test".into()]).unwrap();
    let (one, other) = (make(), make());
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, one.cert.pem()).unwrap();
    std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    let said = run(&["--default-certificate", &format!("{},{}", certificate.display(), key.display())]);
    assert!(said.contains("doesn't belong"), "{said}");
}

#[test]
fn version_help_and_completions() {
    let version = output(&["--version"]);
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("rust-ingress {}\n", env!("CARGO_PKG_VERSION")));
    let help = String::from_utf8(output(&["run", "--help"]).stdout).unwrap();
    for flag in ["--manifests", "--trusted-proxy", "--proxy-protocol", "--drain-delay", "--max-body", "--idle-timeout"] {
        assert!(help.contains(flag), "{flag} is missing in {help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = output(&["completion", shell]);
        assert!(script.status.success());
        assert!(String::from_utf8(script.stdout).unwrap().contains("rust-ingress"));
    }
}
