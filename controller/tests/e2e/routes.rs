//! What users put behind routes: a server of their own, a certificate of their own, a gRPC service.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rust_ingress::builtin::echo::Echo;
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Answer, Ask, ask, trusting};
use crate::program::{PATIENCE, Program};

const INGRESS: &str = "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: rust-ingress
  tls: [{hosts: [web.test], secretName: web}]
  rules:
  - host: web.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
  - host: plain.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: http, port: 80}]}
";

fn slice(port: u16) -> String {
    format!(
        "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
endpoints: [{{addresses: [127.0.0.1]}}]
ports: [{{name: http, port: {port}}}]
"
    )
}

/// A Secret with a new certificate; gives that in DER.
fn write_certificate(root: &Path) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(vec!["web.test".into()]).unwrap();
    let indent = |pem: String| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let (chain, key) = (indent(made.cert.pem()), indent(made.signing_key.serialize_pem()));
    let secret = format!(
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {{name: web}}\nstringData:\n  tls.crt: |\n{chain}  tls.key: |\n{key}"
    );
    fs::write(root.join("secret.yaml"), secret).unwrap();
    made.cert.der().to_vec()
}

async fn connect(program: &Program) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(program.https).await.unwrap();
    let connector = TlsConnector::from(Arc::new(trusting(b"http/1.1")));
    connector.connect(ServerName::try_from("web.test").unwrap(), stream).await.unwrap()
}

fn presented(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap().first().unwrap().to_vec()
}

#[tokio::test]
async fn a_server_of_ones_own_on_loopback() {
    let folder = TempDir::new().unwrap();
    let server = Echo::start().unwrap();
    fs::write(folder.path().join("web.yaml"), INGRESS.to_owned() + &slice(server.address().port())).unwrap();
    let program = Program::start(folder.path(), &[]);
    let answer = ask(Ask { host: "plain.test", path: "/mine", ..Ask::plain(program.http) }).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["path"], "/mine");
    let other = ask(Ask { host: "other.test", ..Ask::plain(program.http) }).await;
    assert_eq!(other.status, 404);
}

/// What the README gives newcomers to copy, with the port of a server that is there.
#[tokio::test]
async fn the_yaml_of_the_readme_puts_ones_own_server_behind_a_route() {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let yaml = blocks.into_iter().find(|block| block.contains("EndpointSlice")).expect("an example with a slice");
    let folder = TempDir::new().unwrap();
    let server = Echo::start().unwrap();
    let port = format!("port: {}", server.address().port());
    assert!(yaml.contains("port: 3000"), "{yaml}");
    fs::write(folder.path().join("mine.yaml"), yaml.replace("port: 3000", &port)).unwrap();
    let program = Program::start(folder.path(), &[]);
    let answer = ask(Ask { path: "/mine", ..Ask::plain(program.http) }).await;
    assert_eq!((answer.status, answer.json()["path"].as_str()), (200, Some("/mine")));
    assert!(!program.log().contains("ERROR") && !program.log().contains("WARN"), "{}", program.log());
}

#[tokio::test]
async fn a_certificate_is_replaced_and_connections_stay() {
    let folder = TempDir::new().unwrap();
    let server = Echo::start().unwrap();
    fs::write(folder.path().join("web.yaml"), INGRESS.to_owned() + &slice(server.address().port())).unwrap();
    let first = write_certificate(folder.path());
    let program = Program::start(folder.path(), &[]);
    let stream = connect(&program).await;
    assert!(presented(&stream) == first, "the Secret's certificate");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = || Request::get("/").header("host", "web.test").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(Answer::of(sender.send_request(request()).await.unwrap()).await.status, 200);

    let second = write_certificate(folder.path());
    let start = Instant::now();
    while presented(&connect(&program).await) != second {
        assert!(start.elapsed() < PATIENCE, "the new certificate is not presented");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sender.ready().await.expect("the connection stays");
    assert_eq!(Answer::of(sender.send_request(request()).await.unwrap()).await.status, 200);

    // A Secret that is bad: another certificate is presented, the host is served, and a fault says why.
    fs::write(
        folder.path().join("secret.yaml"),
        "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData: {tls.crt: bad, tls.key: bad}\n",
    )
    .unwrap();
    program.wait_for_log("InvalidCertificate");
    while presented(&connect(&program).await) == second {
        assert!(start.elapsed() < PATIENCE, "the bad Secret's predecessor is still presented");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = ask(Ask { host: "web.test", tls: true, address: program.https, ..Ask::plain(program.https) }).await;
    assert_eq!(answer.status, 200);
    assert!(!program.log().contains("PRIVATE"), "keys are not logged");
}

/// A gRPC stream in both directions goes on over changes and through the drain to its end.
#[tokio::test]
async fn a_grpc_stream_survives_changes_and_the_drain() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("grpc.yaml");
    let server = Echo::start().unwrap();
    let manifest = INGRESS.replace("{name: http, port: 80}", "{name: http, port: 80, appProtocol: kubernetes.io/h2c}")
        + &slice(server.address().port());
    fs::write(&file, &manifest).unwrap();
    let program = Program::start(folder.path(), &[]);
    let stream = TcpStream::connect(program.http).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (messages, mut frames) = mpsc::channel::<Frame<Bytes>>(1);
    let body = StreamBody::new(futures_util::stream::poll_fn(move |cx| {
        frames.poll_recv(cx).map(|frame| frame.map(Ok::<_, Infallible>))
    }));
    let request = Request::post("http://plain.test/pkg.Echo/Talk")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let message = |text: &'static [u8]| Frame::data(Bytes::from_static(text));
    messages.send(message(b"\0\0\0\0\x01a")).await.unwrap();
    let mut answer = sender.send_request(request).await.unwrap().into_body();
    let data = |frame: Frame<Bytes>| frame.into_data().expect("a message");
    assert_eq!(data(answer.frame().await.unwrap().unwrap()).as_ref(), b"\0\0\0\0\x01a");

    fs::write(&file, manifest.replace("plain.test", "other.test")).unwrap();
    let start = Instant::now();
    while ask(Ask { host: "other.test", ..Ask::plain(program.http) }).await.status != 200 {
        assert!(start.elapsed() < PATIENCE, "the change is not live");
    }
    messages.send(message(b"\0\0\0\0\x01b")).await.unwrap();
    assert_eq!(data(answer.frame().await.unwrap().unwrap()).as_ref(), b"\0\0\0\0\x01b");

    program.signal(15);
    program.wait_for_log("draining");
    messages.send(message(b"\0\0\0\0\x01c")).await.unwrap();
    assert_eq!(data(answer.frame().await.unwrap().unwrap()).as_ref(), b"\0\0\0\0\x01c");
    drop(messages);
    let trailers = loop {
        if let Ok(trailers) = answer.frame().await.expect("trailers").unwrap().into_trailers() {
            break trailers;
        }
    };
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    assert_eq!(program.wait().0.code(), Some(0));
}
