//! `check`: each fault at its file and line, in text and in JSON; status 1 where something wouldn't be served.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::program::output;

const BAD: &str = "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations:
    nginx.ingress.kubernetes.io/auth-url: https://auth.test/
    nginx.ingress.kubernetes.io/proxy-body-size: 8m
spec:
  ingressClassName: rust-ingress
  rules:
  - host: a.test
    http:
      paths:
      - path: /
        pathType: Prefix
        backend:
          service:
            name: missing
            port:
              number: 80
      - path: relative
        pathType: Prefix
        backend:
          service:
            name: missing
            port:
              number: 80
";

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("bad.yaml"), BAD).unwrap();
    fs::write(folder.path().join("broken.yaml"), "a: 1\n---\nkind: Service\nb: [1\nc: 2\n").unwrap();
    fs::write(
        folder.path().join("typed.json"),
        "{\n\"apiVersion\": \"v1\", \"kind\": \"Service\",\n\"metadata\": {\n\"name\": 7}}",
    )
    .unwrap();
    folder
}

fn check(folder: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut arguments = vec!["check", "--manifests", folder.to_str().unwrap()];
    arguments.extend(more);
    let output = output(&arguments);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn text_has_file_and_line() {
    let folder = folder();
    let (code, text) = check(folder.path(), &[]);
    assert_eq!(code, Some(1), "{text}");
    let has = |file: &str, line: u32, words: &[&str]| {
        let start = format!("{}:{line}: ", folder.path().join(file).display());
        let found = text.lines().any(|line| line.starts_with(&start) && words.iter().all(|word| line.contains(word)));
        assert!(found, "no line begins with {start} and has {words:?}:\n{text}");
    };
    has(
        "bad.yaml",
        18,
        &["Ingress/default/web", "spec.rules[0].http.paths[0].backend.service.name", "ServiceNotFound", "missing"],
    );
    has("bad.yaml", 21, &["spec.rules[0].http.paths[1].path", "InvalidValue"]);
    has("bad.yaml", 6, &["UnsupportedGuard", "auth-url"]);
    has("bad.yaml", 7, &["annotation", "proxy-body-size"]);
    has("broken.yaml", 1, &["File//broken.yaml", "Required", "kind"]);
    has("typed.json", 4, &["metadata.name"]);
    assert!(text.lines().any(|line| line.contains("broken.yaml:") && line.contains("InvalidDocument")), "{text}");
    assert!(text.contains("nginx annotations: "), "{text}");
}

#[test]
fn json_has_the_same() {
    let folder = folder();
    let (code, text) = check(folder.path(), &["--output", "json"]);
    assert_eq!(code, Some(1));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let errors = findings.iter().filter(|finding| finding["severity"] == "error").count();
    assert_eq!(report["errors"], errors);
    assert_eq!(report["warnings"], findings.len() - errors);
    let missing = findings.iter().find(|finding| finding["reason"] == "ServiceNotFound").unwrap();
    assert_eq!(missing["line"], 18);
    assert_eq!(missing["object"], "Ingress/default/web");
    assert_eq!(missing["field"], "spec.rules[0].http.paths[0].backend.service.name");
    assert!(missing["file"].as_str().unwrap().ends_with("bad.yaml"));
    assert!(!missing["advice"].as_str().unwrap().is_empty());
    let verdicts = report["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), 2);
    assert_eq!((verdicts[0]["kind"].as_str(), verdicts[0]["line"].as_u64()), (Some("refused"), Some(6)));
}

#[test]
fn warnings_alone_leave_status_0() {
    let folder = TempDir::new().unwrap();
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n";
    fs::write(folder.path().join("a.yaml"), deployment).unwrap();
    let (code, text) = check(folder.path(), &[]);
    assert_eq!(code, Some(0));
    assert!(text.contains("a.yaml:2: warning: File//a.yaml line 2: UnknownKind: apps/v1 Deployment"), "{text}");
}

#[test]
fn a_second_copy_is_named_with_both_places() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.yaml"), BAD).unwrap();
    fs::write(folder.path().join("b.yaml"), format!("# a copy\n{BAD}")).unwrap();
    let (code, text) = check(folder.path(), &[]);
    assert_eq!(code, Some(1));
    let line = text.lines().find(|line| line.contains("Duplicate")).unwrap();
    assert!(line.contains("b.yaml:5: error: ") && line.contains("a.yaml:4"), "{line}");
}

#[test]
fn of_two_claims_the_earlier_file_wins_whatever_their_names() {
    let folder = TempDir::new().unwrap();
    let claim = |name: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  ingressClassName: rust-ingress
  rules:
  - host: a.test
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: echo, port: {{number: 80}}}}}}}}]}}
"
        )
    };
    let service = "---
apiVersion: v1
kind: Service
metadata: {name: echo, annotations: {rust-ingress.dev/builtin-backend: echo}}
spec: {ports: [{port: 80}]}
";
    fs::write(folder.path().join("1.yaml"), claim("z")).unwrap();
    fs::write(folder.path().join("2.yaml"), claim("a") + service).unwrap();
    let (code, text) = check(folder.path(), &[]);
    assert_eq!(code, Some(1));
    let line = text.lines().find(|line| line.contains(": Conflict: ")).unwrap();
    assert!(line.contains("2.yaml:8: error: Ingress/default/a "), "{line}");
}
