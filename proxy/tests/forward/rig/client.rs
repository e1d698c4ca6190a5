//! Clients of a front.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Front;

/// What a client got.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Result<String, String>,
    pub trailers: Option<http::HeaderMap>,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        self.body.as_deref().unwrap()
    }

    async fn of(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let (body, trailers) = match body.collect().await {
            Ok(collected) => {
                let trailers = collected.trailers().cloned();
                (Ok(String::from_utf8(collected.to_bytes().to_vec()).unwrap()), trailers)
            }
            Err(error) => (Err(error.to_string()), None),
        };
        Self { status: parts.status.as_u16(), headers: parts.headers, body, trailers }
    }
}

/// A client's connection to a front.
pub struct Client<B> {
    sender: Sender<B>,
}

enum Sender<B> {
    H1(hyper::client::conn::http1::SendRequest<B>),
    H2(hyper::client::conn::http2::SendRequest<B>),
}

impl<B> Client<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub async fn h1(front: &Front) -> Self {
        let stream = TcpStream::connect(front.address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender: Sender::H1(sender) }
    }

    pub async fn h2(front: &Front) -> Self {
        Self::h2_to(front.address).await
    }

    pub async fn h2_to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender: Sender::H2(sender) }
    }

    /// The response's head, its body still streaming.
    pub async fn open(&mut self, request: Request<B>) -> Response<Incoming> {
        match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await.unwrap()
            }
            Sender::H2(sender) => sender.send_request(request).await.unwrap(),
        }
    }

    pub async fn send(&mut self, request: Request<B>) -> Got {
        Got::of(self.open(request).await).await
    }
}

pub fn request(method: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri("http://web.test/path?q=1")
        .header(header::HOST, "web.test")
        .body(Full::new(body.into()))
        .unwrap()
}

/// One request on a connection of its own.
pub async fn send(front: &Front, request: Request<Full<Bytes>>) -> Got {
    Client::h1(front).await.send(request).await
}

pub async fn get(front: &Front) -> Got {
    send(front, request("GET", "")).await
}

/// Writes all and closes.
pub async fn write(mut stream: TcpStream, bytes: &str) {
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}
