//! The echo backend: answers with what it received, so that a first request through the proxy shows what the proxy did to it.
//!
//! One listener on loopback for the program, on a thread of its own; HTTP/1.1 and HTTP/2 with prior knowledge. A plain
//! request gets JSON: method, path, query, headers, peer, protocol, bytes of the body. A gRPC request gets its own messages
//! back as they come, then `grpc-status: 0`. Bodies are streamed, never collected. Started by `cli/run`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The running echo backend; it stops when this is dropped.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    _stop: oneshot::Sender<Infallible>,
}

impl Echo {
    /// Binds a free port on loopback and serves it.
    pub fn start() -> io::Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Binds this address and serves it.
    pub fn at(address: SocketAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new().name("builtin-echo".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = serve(listener) => if let Err(error) = served {
                        tracing::error!(%error, "the builtin echo backend stopped");
                    },
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, _stop: stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Out of descriptors or a connection that went: the next one may work, after a moment.
            Err(error) => {
                tracing::warn!(%error, "the builtin echo backend can't accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(request, peer));
            let connection = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = connection.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection to the builtin echo backend broke");
            }
        });
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, hyper::Error>>;

async fn answer(request: Request<Incoming>, peer: SocketAddr) -> Result<Answer, hyper::Error> {
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    match content_type {
        Some(grpc) if grpc.as_bytes().starts_with(b"application/grpc") => Ok(grpc_echo(request, grpc)),
        _ => describe(request, peer).await,
    }
}

/// Sends a gRPC request's messages back, each as it comes.
fn grpc_echo(request: Request<Incoming>, content_type: HeaderValue) -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = request.into_body().with_trailers(std::future::ready(Some(Ok(trailers)))).boxed_unsync();
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Reads the body to its end and says what was received.
async fn describe(request: Request<Incoming>, peer: SocketAddr) -> Result<Answer, hyper::Error> {
    let (head, mut body) = request.into_parts();
    let (mut bytes, mut trailers) = (0, HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => bytes += data.len(),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    let mut said = json!({
        "backend": "rust-ingress echo",
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "authority": head.uri.authority().map(ToString::to_string),
        "protocol": format!("{:?}", head.version),
        "peer": peer.to_string(),
        "headers": fields(&head.headers),
        "bodyBytes": bytes,
    });
    if let (Some(said), false) = (said.as_object_mut(), trailers.is_empty()) {
        said.insert("trailers".into(), fields(&trailers));
    }
    let text = format!("{said:#}\n");
    let mut response = Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Header fields by name; a name that comes more than once has a list.
fn fields(headers: &HeaderMap) -> Value {
    let mut fields: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        fields.entry(name.as_str()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let one_or_many = |mut values: Vec<String>| match values.len() {
        1 => values.pop().map_or(Value::Null, Value::String),
        _ => json!(values),
    };
    fields.into_iter().map(|(name, values)| (name.to_owned(), one_or_many(values))).collect()
}
