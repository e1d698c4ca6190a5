//! Changes to files become live while requests run, and none of those fails.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::client::{Answer, Ask, ask};
use crate::program::{PATIENCE, Program};

/// A Service answered by the program, and an Ingress that sends a path to it.
fn manifest(name: &str, path: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata:
  name: {name}
  annotations: {{rust-ingress.dev/builtin-backend: echo}}
spec:
  ports: [{{port: 80}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  ingressClassName: rust-ingress
  rules:
  - http:
      paths:
      - path: {path}
        pathType: Prefix
        backend: {{service: {{name: {name}, port: {{number: 80}}}}}}
"
    )
}

async fn status(address: SocketAddr, path: &str) -> u16 {
    ask(Ask { path, ..Ask::plain(address) }).await.status
}

/// Waits until a path is answered so.
async fn until(address: SocketAddr, path: &str, expected: u16) {
    let start = Instant::now();
    while status(address, path).await != expected {
        assert!(start.elapsed() < PATIENCE, "{path} is still not answered {expected}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Asks for `/stable` without a pause: on a kept HTTP/1.1 connection, on a kept HTTP/2 one, and on a new one each time.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let mut load = Self { stop: Arc::default(), answered: Arc::default(), tasks: Vec::new() };
        let (stop, answered) = (load.stop.clone(), load.answered.clone());
        load.tasks.push(tokio::spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            while !stop.load(Ordering::Relaxed) {
                let request = Request::get("/stable").header("host", "a.test").body(Full::<Bytes>::default()).unwrap();
                let answer = Answer::of(sender.send_request(request).await.expect("the kept connection stays")).await;
                assert_eq!(answer.status, 200);
                answered.fetch_add(1, Ordering::Relaxed);
                sender.ready().await.expect("the kept connection stays");
            }
        }));
        let (stop, answered) = (load.stop.clone(), load.answered.clone());
        load.tasks.push(tokio::spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            while !stop.load(Ordering::Relaxed) {
                let request = Request::get("http://a.test/stable").body(Full::<Bytes>::default()).unwrap();
                let answer = Answer::of(sender.send_request(request).await.expect("the kept connection stays")).await;
                assert_eq!(answer.status, 200);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
        let (stop, answered) = (load.stop.clone(), load.answered.clone());
        load.tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(status(address, "/stable").await, 200);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
        load
    }

    /// Ends it; every task must have had answers only. Gives how many.
    async fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no request fails");
        }
        self.answered.load(Ordering::Relaxed)
    }
}

fn replace(root: &Path, name: &str, text: &str) {
    let new = root.join(format!(".{name}.swp"));
    fs::write(&new, text).unwrap();
    fs::rename(&new, root.join(name)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_added_edited_replaced_and_deleted_while_requests_run() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    fs::write(root.join("stable.yaml"), manifest("stable", "/stable")).unwrap();
    let program = Program::start(root, &[]);
    let load = Load::start(program.http);
    for round in 0..5 {
        until(program.http, "/one", 404).await;
        fs::write(root.join("more.yaml"), manifest("more", "/one")).unwrap();
        until(program.http, "/one", 200).await;
        fs::write(root.join("more.yaml"), manifest("more", "/two")).unwrap();
        until(program.http, "/two", 200).await;
        assert_eq!(status(program.http, "/one").await, 404, "round {round}");
        replace(root, "more.yaml", &manifest("more", "/three"));
        until(program.http, "/three", 200).await;
        // The Service that the load uses, with another Ingress beside it, then as it was.
        replace(root, "stable.yaml", &(manifest("stable", "/stable") + "---\n" + &manifest("beside", "/beside")));
        until(program.http, "/beside", 200).await;
        replace(root, "stable.yaml", &manifest("stable", "/stable"));
        until(program.http, "/beside", 404).await;
        fs::remove_file(root.join("more.yaml")).unwrap();
        until(program.http, "/three", 404).await;
    }
    let answered = load.finish().await;
    assert!(answered > 100, "only {answered} requests ran");
    assert!(!program.log().contains("ERROR"), "{}", program.log());
}

#[tokio::test]
async fn a_broken_file_keeps_what_it_served_and_says_so_once() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    fs::write(root.join("a.yaml"), manifest("a", "/a")).unwrap();
    let program = Program::start(root, &[]);
    replace(root, "a.yaml", "kind: [Ingress\n");
    program.wait_for_log("InvalidDocument");
    assert_eq!(status(program.http, "/a").await, 200);
    let shown = ask(Ask { path: "/snapshot", host: "localhost", ..Ask::plain(program.admin) }).await;
    assert!(shown.body.contains("InvalidDocument"), "the admin port shows the fault: {}", shown.body);
    // Something else changes: the fault isn't said again.
    fs::write(root.join("b.yaml"), manifest("b", "/b")).unwrap();
    until(program.http, "/b", 200).await;
    assert_eq!(program.log().matches("InvalidDocument").count(), 1, "{}", program.log());
    replace(root, "a.yaml", &manifest("a", "/other"));
    until(program.http, "/other", 200).await;
    program.wait_for_log("resolved");
}

#[cfg(unix)]
#[tokio::test]
async fn a_config_map_is_swapped_while_requests_run() {
    use std::os::unix::fs::symlink;
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    let generation = |name: &str, extra: &str| {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("stable.yaml"), manifest("stable", "/stable")).unwrap();
        fs::write(root.join(name).join("extra.yaml"), manifest("extra", extra)).unwrap();
    };
    generation("..1", "/one");
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/stable.yaml", root.join("stable.yaml")).unwrap();
    symlink("..data/extra.yaml", root.join("extra.yaml")).unwrap();
    let program = Program::start(root, &[]);
    let load = Load::start(program.http);
    until(program.http, "/one", 200).await;
    for (new, old, path) in [("..2", "..1", "/two"), ("..3", "..2", "/three")] {
        generation(new, path);
        symlink(new, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        fs::remove_dir_all(root.join(old)).unwrap();
        until(program.http, path, 200).await;
    }
    until(program.http, "/two", 404).await;
    load.finish().await;
}

#[tokio::test]
async fn an_empty_folder_is_served_until_something_is_in_it() {
    let folder = TempDir::new().unwrap();
    let program = Program::start(folder.path(), &[]);
    assert_eq!(status(program.health, "/readyz").await, 200);
    assert_eq!(status(program.http, "/").await, 404);
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("sub/a.yaml"), manifest("a", "/")).unwrap();
    until(program.http, "/", 200).await;
}

#[tokio::test]
async fn a_folder_that_vanishes_goes_on_being_served() {
    let parent = TempDir::new().unwrap();
    let root = parent.path().join("manifests");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), manifest("a", "/a")).unwrap();
    let program = Program::start(&root, &[]);
    fs::remove_dir_all(&root).unwrap();
    program.wait_for_log("can't be read");
    assert_eq!(status(program.http, "/a").await, 200);
    fs::create_dir(&root).unwrap();
    fs::write(root.join("b.yaml"), manifest("b", "/b")).unwrap();
    until(program.http, "/b", 200).await;
    until(program.http, "/a", 404).await;
}
