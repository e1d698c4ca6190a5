//! The bench's endpoints and its one way of asking: HTTP/1.1, a connection a request.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::cluster::layout::WAN_V4;

/// An endpoint whose answer is its own address.
pub(super) struct Server {
    pub(super) address: SocketAddr,
}

impl Server {
    /// Serves until the runtime ends.
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((WAN_V4, 0)).await.context("the outside world's address can't be listened on")?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = move |_: Request<Incoming>| async move {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(address.to_string()))))
                };
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)),
                );
            }
        });
        Ok(Self { address })
    }

    /// What it answers.
    pub(super) fn name(&self) -> String {
        self.address.to_string()
    }
}

/// The status and body of an answer.
pub(super) async fn get(address: SocketAddr, host: &str, path: &str) -> Result<(u16, String)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::builder().uri(path).header(header::HOST, host).header(header::CONNECTION, "close");
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    driver.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
