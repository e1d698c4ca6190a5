//! Connecting to an endpoint: a tower `Service`, wrapped in tower's `Timeout` where `forward` calls it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::timeout::Timeout;
use tower::timeout::error::Elapsed;
use tower::{Service, ServiceExt};

use super::Transport;
use super::endpoint::Endpoint;
use super::stream::Stream;

/// Makes connections to endpoints, TLS handshake included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connect;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The TLS settings of the backend can't be used.
    #[error("{0}")]
    Settings(String),
    /// TCP failed.
    #[error(transparent)]
    Tcp(io::Error),
    /// TLS failed: certificate, version, or something that doesn't speak TLS.
    #[error(transparent)]
    Tls(io::Error),
    /// TLS stands, but the endpoint doesn't speak HTTP/2 over it.
    #[error("the endpoint didn't choose HTTP/2 by ALPN")]
    Alpn,
    /// It took too long.
    #[error("no connection in time")]
    Timeout,
}

impl Connect {
    /// One connection, within a limit in time (`ZERO`: none).
    pub(crate) async fn within(self, limit: Duration, endpoint: &Endpoint) -> Result<Stream, ConnectError> {
        let target = (endpoint.address, endpoint.transport.clone());
        if limit.is_zero() {
            return self.oneshot(target).await;
        }
        Timeout::new(self, limit).oneshot(target).await.map_err(|error| {
            if error.is::<Elapsed>() {
                return ConnectError::Timeout;
            }
            error.downcast().map_or_else(|other| ConnectError::Tcp(io::Error::other(other)), |error| *error)
        })
    }
}

impl Service<(std::net::SocketAddr, Arc<Transport>)> for Connect {
    type Response = Stream;
    type Error = ConnectError;
    /// Boxed: once per connection, not per request.
    type Future = LocalBoxFuture<'static, Result<Stream, ConnectError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (address, transport): (std::net::SocketAddr, Arc<Transport>)) -> Self::Future {
        Box::pin(async move {
            let tls = match &transport.tls {
                Some(Err(wrong)) => return Err(ConnectError::Settings(wrong.clone())),
                Some(Ok(client)) => Some(client),
                None => None,
            };
            let tcp = TcpStream::connect(address).await.map_err(ConnectError::Tcp)?;
            tcp.set_nodelay(true).map_err(ConnectError::Tcp)?;
            let Some(client) = tls else { return Ok(Stream::Plain(tcp)) };
            let name = client.name(address.ip());
            let tls = TlsConnector::from(client.config.clone()).connect(name, tcp).await.map_err(ConnectError::Tls)?;
            if transport.h2 && tls.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(ConnectError::Alpn);
            }
            Ok(Stream::Tls(Box::new(tls)))
        })
    }
}
