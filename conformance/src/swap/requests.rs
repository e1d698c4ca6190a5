//! Clients of a swap run that send one request after another on a connection that must outlive every swap.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rust_ingress_model::ListenerName;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::score::{Kind, Turn};
use super::snapshots::{HOST, Snapshots};
use super::upstreams::TOKEN;

/// Bytes of every other request's body: several TLS records and HTTP/2 frames.
const BODY: usize = 40_000;

/// Where the proxy is, and whom to trust.
#[derive(Clone)]
pub(super) struct Target {
    http: SocketAddr,
    https: SocketAddr,
    roots: Arc<RootCertStore>,
}

impl Target {
    /// From the proxy's listeners.
    pub(super) fn of(bound: &[(ListenerName, SocketAddr)], snapshots: &Snapshots) -> Result<Self> {
        let find = |wanted: &str| {
            let found = bound.iter().find(|(name, _)| **name == *wanted).map(|(_, address)| *address);
            found.with_context(|| format!("the proxy has no listener {wanted}"))
        };
        let mut roots = RootCertStore::empty();
        for root in snapshots.roots() {
            roots.add(root)?;
        }
        Ok(Self { http: find("http")?, https: find("https")?, roots: Arc::new(roots) })
    }

    /// A plain connection.
    pub(super) async fn plain(&self) -> Result<TcpStream> {
        tcp(self.http).await
    }

    /// A TLS connection, full handshake.
    pub(super) async fn tls(&self, alpn: &[u8]) -> Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = tcp(self.https).await?;
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(ServerName::try_from(HOST)?, stream).await.context("TLS handshake")
    }
}

async fn tcp(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.context("connecting to the proxy")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The sending side of a connection.
pub(super) enum Sender {
    /// One request at a time.
    Http1(http1::SendRequest<Full<Bytes>>),
    /// Many at once.
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// The task that drives a connection; it ends when the connection does.
type Driver = JoinHandle<hyper::Result<()>>;

impl Sender {
    /// HTTP/1.1 on a stream.
    pub(super) async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<(Self, Driver)> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok((Self::Http1(sender), tokio::spawn(connection)))
    }

    /// HTTP/2 on a stream.
    async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<(Self, Driver)> {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        Ok((Self::Http2(sender), tokio::spawn(connection)))
    }

    async fn open(kind: Kind, target: &Target) -> Result<(Self, Driver)> {
        match kind {
            Kind::Http1 => Self::http1(target.plain().await?).await,
            Kind::Http2 => Self::http2(target.plain().await?).await,
            Kind::Tls => Self::http1(target.tls(b"http/1.1").await?).await,
            Kind::Http2Tls => Self::http2(target.tls(b"h2").await?).await,
            Kind::WebSocket | Kind::Grpc => bail!("{} isn't a client of requests", kind.label()),
        }
    }

    /// Another sender on the same connection, where it can have one.
    fn another(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }

    /// Sends a request; the connection must still be open.
    pub(super) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await.context("the connection was closed between two requests")?;
                request.headers_mut().insert(header::HOST, HOST.parse()?);
                sender.send_request(request).await.context("the request failed")
            }
            Self::Http2(sender) => {
                sender.ready().await.context("the connection was closed between two requests")?;
                let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
                *request.uri_mut() = Uri::try_from(format!("http://{HOST}{path}"))?;
                sender.send_request(request).await.context("the request failed")
            }
        }
    }
}

/// A connection and the clients on it, until the run is over or one fails.
pub(super) async fn connection(kind: Kind, target: Target, turns: Vec<Turn>) {
    let (first, driver) = match Sender::open(kind, &target).await {
        Ok(opened) => opened,
        Err(error) => {
            let text = format!("{error:#}");
            turns.iter().for_each(|turn| turn.ended(Err(anyhow::anyhow!("{text}"))));
            return;
        }
    };
    let mut clients = JoinSet::new();
    let mut first = Some(first);
    for (number, turn) in turns.into_iter().enumerate() {
        let sender = first.as_ref().and_then(Sender::another).or_else(|| first.take());
        clients.spawn(async move {
            let result = match sender {
                Some(sender) => client(sender, number, &turn).await,
                None => Err(anyhow::anyhow!("the connection takes one client only")),
            };
            turn.ended(result);
        });
    }
    while clients.join_next().await.is_some() {}
    driver.abort();
}

/// One request after another, every other with a body; each answer must be this request's own.
async fn client(mut sender: Sender, number: usize, turn: &Turn) -> Result<()> {
    let mut count = 0_usize;
    while !turn.over() {
        let token = format!("{number}-{count}");
        let body = if count.is_multiple_of(2) { Bytes::new() } else { Bytes::from(vec![b'a' + (count % 26) as u8; BODY]) };
        let method = if body.is_empty() { Method::GET } else { Method::POST };
        let request = Request::builder().method(method).uri("/echo/once").header(TOKEN, &token);
        let start = Instant::now();
        let response = sender.send(request.body(Full::new(body.clone()))?).await?;
        let status = response.status();
        let own = response.headers().get(TOKEN).is_some_and(|echoed| echoed.as_bytes() == token.as_bytes());
        let echoed = response.into_body().collect().await.context("the response broke off")?.to_bytes();
        ensure!(status == StatusCode::OK, "status {status}: {}", String::from_utf8_lossy(&echoed));
        ensure!(own && echoed == body, "the answer to another request: {} bytes instead of {}", echoed.len(), body.len());
        turn.answered(start.elapsed()).await;
        count += 1;
    }
    Ok(())
}
