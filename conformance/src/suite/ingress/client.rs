//! The suite's client: one request on a connection of its own, from the outside world, with TLS that is verified.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request to be.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The address that is connected to.
    pub to: IpAddr,
    /// `GET` and the like.
    pub method: Method,
    /// The request's Host.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Further header fields.
    pub headers: Vec<(String, String)>,
    /// The name asked for by SNI, whose certificate is verified; `None`: plain HTTP.
    pub tls: Option<String>,
    /// HTTP/2: by ALPN with TLS, by prior knowledge without.
    pub h2: bool,
}

impl Ask {
    /// `GET http://HOST/PATH` from an address.
    pub fn get(to: IpAddr, host: &str, path: &str) -> Self {
        let (host, path) = (host.to_owned(), path.to_owned());
        Self { to, method: Method::GET, host, path, headers: Vec::new(), tls: None, h2: false }
    }

    /// The same with TLS for this name.
    pub fn tls(mut self, name: &str) -> Self {
        self.tls = Some(name.to_owned());
        self
    }

    /// The same in HTTP/2.
    pub fn h2(mut self) -> Self {
        self.h2 = true;
        self
    }

    /// The same with another method.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// The same with a header field more.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The version that was spoken.
    pub version: Version,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, as text.
    pub body: String,
}

impl Answer {
    /// What the echo server says it received; it answers in JSON.
    pub fn echoed(&self) -> Result<Value> {
        ensure!(self.status == StatusCode::OK, "status {}: {}", self.status, self.body.trim());
        serde_json::from_str(&self.body).with_context(|| format!("not the echo server's JSON: {}", self.body))
    }

    /// The Service whose Pod answered.
    pub fn service(&self) -> Result<String> {
        Ok(self.echoed()?["service"].as_str().unwrap_or_default().to_owned())
    }

    /// A header field, as text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Sends requests.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    roots: RootCertStore,
}

impl Client {
    /// A client that trusts this authority alone.
    pub fn new(authority: CertificateDer<'static>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority)?;
        Ok(Self { runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?, roots })
    }

    /// Sends one.
    pub fn ask(&self, ask: &Ask) -> Result<Answer> {
        let answer = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.send(ask)).await });
        answer.with_context(|| format!("no answer in {PATIENCE:?}"))?
    }

    async fn send(&self, ask: &Ask) -> Result<Answer> {
        let port = if ask.tls.is_some() { 443 } else { 80 };
        let stream = TcpStream::connect(SocketAddr::new(ask.to, port))
            .await
            .with_context(|| format!("connecting to {}:{port}", ask.to))?;
        let Some(name) = &ask.tls else { return exchange(stream, ask).await };
        let protocol: &[u8] = if ask.h2 { b"h2" } else { b"http/1.1" };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config.with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from(name.clone())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.context("TLS handshake")?;
        ensure!(stream.get_ref().1.alpn_protocol() == Some(protocol), "ALPN: the other protocol was chosen");
        exchange(stream, ask).await
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, ask: &Ask) -> Result<Answer> {
    let request = Request::builder().method(&ask.method);
    let scheme = if ask.tls.is_some() { "https" } else { "http" };
    let request = match ask.h2 {
        true => request.uri(format!("{scheme}://{}{}", ask.host, ask.path)).version(Version::HTTP_2),
        false => request.uri(&ask.path).header(http::header::HOST, &ask.host).header(http::header::CONNECTION, "close"),
    };
    let request = ask.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let request = request.body(Full::new(Bytes::new()))?;
    let response = if ask.h2 {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    };
    let (head, body) = response.into_parts();
    let Ok(body) = String::from_utf8(body.collect().await?.to_bytes().to_vec()) else { bail!("the body is not text") };
    Ok(Answer { status: head.status, version: head.version, headers: head.headers, body })
}
