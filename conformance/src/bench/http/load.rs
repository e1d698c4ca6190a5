//! The load of `bench http`: a fixed number of requests over a fixed number of connections; any answer but a whole 200 fails
//! the bench.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::peers::{Certificate, HOST};
use super::upstream::BODY;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// HTTP/1.1, kept alive.
    Http1,
    /// HTTP/1.1 over TLS, kept alive.
    Tls,
    /// A TLS connection for every request; no session resumed.
    Handshake,
    /// HTTP/2 over TLS, many streams at once.
    Http2,
}

impl Kind {
    /// Whether it goes over TLS.
    pub fn tls(self) -> bool {
        self != Self::Http1
    }

    /// Connections, and streams at once on each.
    fn connections(self) -> (usize, usize) {
        match self {
            Self::Http1 | Self::Tls => (64, 1),
            Self::Handshake => (8, 1),
            Self::Http2 => (16, 16),
        }
    }
}

/// A load, ready to be sent to any proxy.
#[derive(Clone)]
pub struct Load {
    kind: Kind,
    connector: TlsConnector,
}

impl Load {
    /// Prepares the client side of TLS.
    pub fn new(kind: Kind, certificate: &Certificate) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate.certificate.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![if kind == Kind::Http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Ok(Self { kind, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Sends as many requests and waits for their answers.
    pub async fn run(&self, address: SocketAddr, requests: usize) -> Result<()> {
        let left = Left(Arc::new(AtomicUsize::new(requests)));
        let mut connections = JoinSet::new();
        for _ in 0..self.kind.connections().0 {
            connections.spawn(self.clone().connection(address, left.clone()));
        }
        while let Some(ended) = connections.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn connection(self, address: SocketAddr, left: Left) -> Result<()> {
        match self.kind {
            Kind::Http1 => keep_alive(tcp(address).await?, &left).await,
            Kind::Tls => keep_alive(self.tls(address).await?, &left).await,
            Kind::Handshake => {
                while left.take() {
                    let mut stream = self.tls(address).await?;
                    request(&mut stream, &mut Vec::new()).await?;
                    stream.shutdown().await?;
                }
                Ok(())
            }
            Kind::Http2 => streams(self.tls(address).await?, self.kind.connections().1, &left).await,
        }
    }

    async fn tls(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(HOST)?;
        self.connector.connect(name, tcp(address).await?).await.context("TLS handshake")
    }
}

/// How many requests are left to send.
#[derive(Clone)]
struct Left(Arc<AtomicUsize>);

impl Left {
    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

async fn tcp(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn keep_alive<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, left: &Left) -> Result<()> {
    let mut buffer = Vec::with_capacity(4096);
    while left.take() {
        request(&mut stream, &mut buffer).await?;
    }
    Ok(())
}

/// One request and its whole answer, which must be a 200 of the backend's length.
async fn request<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Result<()> {
    const REQUEST: &str = "GET /bench HTTP/1.1\r\nhost: bench.example.com\r\nuser-agent: bench\r\naccept: */*\r\n\r\n";
    stream.write_all(REQUEST.as_bytes()).await?;
    buffer.clear();
    let end = loop {
        ensure!(stream.read_buf(buffer).await? > 0, "closed in the middle of an answer: {}", String::from_utf8_lossy(buffer));
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    let length = format!("content-length: {BODY}\r\n");
    ensure!(head.starts_with("http/1.1 200 ") && head.contains(&length), "not the backend's answer: {head}");
    while buffer.len() < end + BODY {
        ensure!(stream.read_buf(buffer).await? > 0, "closed in the middle of a body");
    }
    Ok(())
}

/// Requests over streams of one HTTP/2 connection.
async fn streams(stream: TlsStream<TcpStream>, count: usize, left: &Left) -> Result<()> {
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .handshake::<_, Bytes>(stream)
        .await?;
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let (client, left) = (client.clone(), left.clone());
        tasks.spawn(stream_of(client, left));
    }
    drop(client);
    let driver = tokio::spawn(connection);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    driver.abort();
    Ok(())
}

async fn stream_of(mut client: h2::client::SendRequest<Bytes>, left: Left) -> Result<()> {
    while left.take() {
        client = client.ready().await?;
        let request = http::Request::get(format!("https://{HOST}/bench")).header("user-agent", "bench").body(())?;
        let response = client.send_request(request, true)?.0.await?;
        ensure!(response.status() == 200, "answered {}", response.status());
        let (mut body, mut length) = (response.into_body(), 0);
        while let Some(data) = body.data().await {
            let data = data?;
            length += data.len();
            body.flow_control().release_capacity(data.len())?;
        }
        ensure!(length == BODY, "{length} bytes of {BODY}");
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::bench::http::upstream;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_load_sends_what_it_was_told_and_fails_on_a_wrong_answer() {
        let load = Load::new(Kind::Http1, &Certificate::make().expect("a certificate")).expect("a client");
        let backend = upstream::start().await.expect("a backend");
        load.run(backend, 500).await.expect("the backend answers every request");

        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let refusing = listener.local_addr().expect("its address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 1024\r\n\r\n").await;
            }
        });
        let error = load.run(refusing, 1).await.expect_err("a 404 fails the bench");
        assert!(error.to_string().contains("404"), "{error}");
    }
}
