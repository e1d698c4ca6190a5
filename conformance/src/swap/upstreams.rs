//! The endpoints behind the proxy of a swap run: echoes over HTTP/1.1, WebSocket and gRPC, three of each.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

/// Echoed by the HTTP endpoint, so that an answer can be told from another request's.
pub(super) const TOKEN: &str = "x-token";

/// Where the endpoints are.
#[derive(Debug, Clone)]
pub(super) struct Upstreams {
    /// HTTP/1.1: the body and the token of the request.
    pub echo: Vec<SocketAddr>,
    /// WebSocket: every message.
    pub socket: Vec<SocketAddr>,
    /// gRPC over HTTP/2: every message of a stream in both directions.
    pub grpc: Vec<SocketAddr>,
}

impl Upstreams {
    /// Starts them on this runtime; they live as long as it does.
    pub(super) async fn start() -> Result<Self> {
        let mut all = Self { echo: Vec::new(), socket: Vec::new(), grpc: Vec::new() };
        for _ in 0..3 {
            all.echo.push(serve(http).await?);
            all.socket.push(serve(socket).await?);
            all.grpc.push(serve(grpc).await?);
        }
        Ok(all)
    }
}

/// Serves each connection of a new listener. A connection that breaks is the proxy's doing and shows at the client.
async fn serve<F>(connection: fn(TcpStream) -> F) -> Result<SocketAddr>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move { stream.set_nodelay(true).map(|()| connection(stream))?.await });
        }
    });
    Ok(address)
}

async fn http(stream: TcpStream) -> Result<()> {
    Ok(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo)).await?)
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let token = request.headers().get(TOKEN).cloned();
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut response = Response::new(Full::new(body));
    if let Some(token) = token {
        response.headers_mut().insert(TOKEN, token);
    }
    Ok(response)
}

async fn socket(stream: TcpStream) -> Result<()> {
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = socket.next().await {
        if let message @ (Message::Text(_) | Message::Binary(_)) = message? {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn grpc(stream: TcpStream) -> Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::spawn(grpc_stream(request.into_body(), respond));
    }
    Ok(())
}

async fn grpc_stream(mut body: h2::RecvStream, mut respond: h2::server::SendResponse<Bytes>) -> Result<()> {
    let mut head = Response::new(());
    head.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let mut out = respond.send_response(head, false)?;
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        out.send_data(data, false)?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Ok(out.send_trailers(trailers)?)
}
