//! `examples/quickstart`: what its README says happens, happens.

use std::net::SocketAddr;

use hyper::Version;

use crate::client::{Answer, Ask, ask};
use crate::program::{Program, output, repository};

fn start() -> Program {
    Program::start(&repository().join("examples/quickstart"), &[])
}

/// The commands in a README's `sh` blocks.
fn commands(readme: &str) -> Vec<String> {
    let mut inside = false;
    let mut commands = Vec::new();
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside && !line.starts_with('#') {
            commands.push(line.to_owned());
        }
    }
    commands
}

/// Does what a curl line says, with the ports that this program got instead of the default ones.
async fn curl(program: &Program, line: &str) -> Answer {
    let (mut h2, mut known) = (false, None);
    let mut url = None;
    let mut words = line.split_whitespace().skip(1);
    while let Some(word) = words.next() {
        match word {
            "--http2-prior-knowledge" => h2 = true,
            "-k" | "-i" => {}
            "--resolve" => known = words.next(),
            other => url = Some(other),
        }
    }
    let (scheme, rest) = url.expect("a URL").split_once("://").expect("a scheme");
    let (authority, path) = rest.split_once('/').expect("a path");
    let (host, port) = authority.split_once(':').expect("a port");
    let tls = scheme == "https";
    let address: SocketAddr = match (tls, port) {
        (false, "8080") => program.http,
        (true, "8443") => program.https,
        other => panic!("{other:?} is not where the quickstart listens"),
    };
    assert!(host == "127.0.0.1" || known == Some(&*format!("{host}:{port}:127.0.0.1")), "{line}: {host} leads nowhere");
    // curl offers h2 with TLS and takes it.
    ask(Ask { address, tls, h2: h2 || tls, host, path: &format!("/{path}") }).await
}

#[tokio::test]
async fn the_commands_of_its_readme_work() {
    let readme = std::fs::read_to_string(repository().join("examples/quickstart/README.md")).unwrap();
    let program = start();
    let (mut asked, mut redirected, mut others) = (0, 0, Vec::new());
    for line in commands(&readme) {
        if !line.starts_with("curl ") {
            others.push(line);
            continue;
        }
        let answer = curl(&program, &line).await;
        asked += 1;
        if line.contains("http://secure.localhost") {
            redirected += 1;
            assert_eq!(answer.status, 308, "{line}");
            let location = answer.headers.get("location").unwrap().to_str().unwrap();
            let port = program.https.port();
            assert_eq!(location, format!("https://secure.localhost:{port}/"), "the port that the kernel gave for 0");
        } else {
            assert_eq!(answer.status, 200, "{line}: {}", answer.body);
            assert_eq!(answer.json()["backend"], "rust-ingress echo", "{line}");
        }
    }
    assert_eq!((asked, redirected), (5, 1));
    assert_eq!(others.len(), 2, "run, which is what was started, and check");
    for (line, command) in others.iter().zip(["run", "check"]) {
        assert_eq!(*line, format!("cargo run --release -- {command} --manifests examples/quickstart"));
    }
}

#[test]
fn check_finds_nothing_in_it() {
    let folder = repository().join("examples/quickstart");
    let output = output(&["check", "--manifests", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "4 objects in 1 files: 0 errors, 0 warnings\n");
}

#[tokio::test]
async fn every_version_and_scheme_answers() {
    let program = start();
    for (tls, h2) in [(false, false), (false, true), (true, false), (true, true)] {
        let address = if tls { program.https } else { program.http };
        let answer = ask(Ask { address, tls, h2, host: "any.test", path: "/a/b?c=d" }).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.version, if h2 { Version::HTTP_2 } else { Version::HTTP_11 });
        let said = answer.json();
        assert_eq!((said["method"].as_str(), said["path"].as_str()), (Some("GET"), Some("/a/b")));
        assert_eq!(said["query"], "c=d");
        assert_eq!(said["headers"]["host"], "any.test");
        assert_eq!(said["headers"]["x-forwarded-proto"], if tls { "https" } else { "http" });
    }
}

#[test]
fn it_prints_routes_and_curl_lines() {
    let program = start();
    let (http, https) = (program.http, program.https);
    program.signal(15);
    let (status, printed) = program.wait();
    assert_eq!(status.code(), Some(0));
    assert!(printed.contains("secure.localhost"), "{printed}");
    assert!(printed.contains("-> default/echo:80"), "{printed}");
    assert!(printed.contains(&format!("curl http://{http}/\n")), "{printed}");
    assert!(printed.contains(&format!("curl -k https://{https}/\n")), "{printed}");
}
