//! Clients: one request over one new connection, in the version and scheme that a test asks for; and kept connections.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub struct Answer {
    pub status: u16,
    pub version: Version,
    pub headers: hyper::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub async fn of(response: Response<hyper::body::Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the whole body").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        Self { status: head.status.as_u16(), version: head.version, headers: head.headers, body }
    }
}

/// How to ask.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub address: SocketAddr,
    pub tls: bool,
    pub h2: bool,
    pub host: &'a str,
    pub path: &'a str,
}

impl Ask<'_> {
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: false, h2: false, host: "any.test", path: "/" }
    }
}

/// Asks once, over a connection of its own.
pub async fn ask(ask: Ask<'_>) -> Answer {
    let stream = TcpStream::connect(ask.address).await.expect("a connection");
    if !ask.tls {
        return over(stream, ask).await;
    }
    let protocol: &[u8] = if ask.h2 { b"h2" } else { b"http/1.1" };
    let name = ServerName::try_from(ask.host.to_owned()).expect("a host name");
    let stream = TlsConnector::from(Arc::new(trusting(protocol))).connect(name, stream).await.expect("a TLS handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    over(stream, ask).await
}

async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, ask: Ask<'_>) -> Answer {
    let io = TokioIo::new(stream);
    if ask.h2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("an h2 preface");
        tokio::spawn(connection);
        let scheme = if ask.tls { "https" } else { "http" };
        let request = Request::get(format!("{scheme}://{}{}", ask.host, ask.path)).body(Full::<Bytes>::default()).unwrap();
        return Answer::of(sender.send_request(request).await.expect("an answer")).await;
    }
    let (mut sender, connection) = http1::handshake(io).await.expect("a connection");
    tokio::spawn(connection);
    let request = Request::get(ask.path).header("host", ask.host).body(Full::<Bytes>::default()).unwrap();
    Answer::of(sender.send_request(request).await.expect("an answer")).await
}

/// A client that takes any certificate: which one is presented is what tests look at, not who signed it.
pub fn trusting(protocol: &[u8]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
