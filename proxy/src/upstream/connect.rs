//! Connecting to an endpoint: a tower `Service`, wrapped in tower's `Timeout` where `forward` calls it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};
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
        let target = (endpoint.address, endpoint.source, endpoint.transport.clone());
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

/// Where to, from where, and how.
type Target = (SocketAddr, Option<IpAddr>, Arc<Transport>);

impl Service<Target> for Connect {
    type Response = Stream;
    type Error = ConnectError;
    /// Boxed: once per connection, not per request.
    type Future = LocalBoxFuture<'static, Result<Stream, ConnectError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (address, source, transport): Target) -> Self::Future {
        Box::pin(async move {
            let tls = match &transport.tls {
                Some(Err(wrong)) => return Err(ConnectError::Settings(wrong.clone())),
                Some(Ok(client)) => Some(client),
                None => None,
            };
            let tcp = match source {
                None => TcpStream::connect(address).await.map_err(ConnectError::Tcp)?,
                Some(source) => connect_from(source, address).await.map_err(ConnectError::Tcp)?,
            };
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

/// Connects from an address that a route makes this host's, though no interface has it.
async fn connect_from(source: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    match source {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}
