//! `run` for a cluster: what stands in the way of reaching one is said, with what to do, and the exit status is 2.

use std::process::Output;

use crate::program::command;

/// Runs the program where no cluster is to be found but by its flags; it must refuse. Gives what it says.
fn refused(flags: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let mut command = command();
    command.env("HOME", home.path()).env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
    let Output { status, stderr, .. } = command.arg("run").args(flags).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{flags:?}: {said}");
    said
}

#[test]
fn neither_a_cluster_nor_a_folder() {
    let said = refused(&[]);
    for part in ["there is no cluster", "--kubeconfig FILE", "--manifests DIR"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_kubeconfig_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = "{current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}], users: [{name: u, user: {}}],
        clusters: [{name: c, cluster: {server: https://127.0.0.1:1}}]}";
    let (good, bad, empty) = (write("good", good), write("bad", "a: ["), write("empty", "{}"));
    for (flags, expected) in [
        (vec!["--kubeconfig", "no/such/file"], "no/such/file"),
        (vec!["--kubeconfig", &bad], "YAML"),
        (vec!["--kubeconfig", &empty], "context"),
        (vec!["--kubeconfig", &good, "--context", "other"], "other"),
        (vec!["--kubeconfig", &good, "--apiserver", "127.0.0.1:6443"], "https://192.0.2.1:6443"),
        (vec!["--kubeconfig", &good, "--watch-namespace", "A_b"], "--watch-namespace"),
        (vec!["--kubeconfig", &good, "--default-certificate-secret", "tls"], "NAMESPACE/NAME"),
        (vec!["--kubeconfig", &good, "--publish-service", "front"], "NAMESPACE/NAME"),
        (vec!["--kubeconfig", &good, "--publish-address", "192.0.2.1,192.0.2.256"], "\"192.0.2.256\" is neither"),
        (vec!["--kubeconfig", &good, "--publish-address", "192.0.2.1", "--publish-service", "a/b"], "--publish-address"),
        (vec!["--kubeconfig", &good, "--lease-name", "A_b"], "--lease-name"),
    ] {
        let said = refused(&flags);
        assert!(said.contains(expected), "{flags:?}: {said}");
    }
}

#[test]
fn a_folder_has_no_cluster() {
    for flag in ["--kubeconfig", "--context", "--apiserver", "--watch-namespace", "--ingress-class", "--lease-name"] {
        let said = refused(&["--manifests", "x", flag, "x"]);
        assert!(said.contains("--manifests") && said.contains(flag), "{flag}: {said}");
    }
}
