//! Upgrades: WebSocket and other protocols that an HTTP/1.1 connection changes to. Called by `lifecycle`.
//!
//! `forward` brings the endpoint's 101 with its connection; here both connections are joined and bytes relayed until
//! both sides have ended, or nothing moves for the idle timeout. Nothing of it depends on the table: swaps leave it alone.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header;
use http::request::Parts;
use http::{Response, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body::Body;
use crate::fault::{Kind, RequestFault};
use crate::life::Life;

/// Buffer of each direction, in bytes.
const BUFFER: usize = 16 << 10;

/// Whether the wire reads no further until this request is answered: any `Upgrade` in HTTP/1.1.
pub fn holds(parts: &Parts) -> bool {
    parts.version == Version::HTTP_11 && parts.headers.contains_key(header::UPGRADE)
}

/// The client's side of an upgrade that it asks for and may have: HTTP/1.1, named in `Connection`, and not h2c, which is
/// never taken nor forwarded (RFC 9113 removed it; it smuggles requests past proxies).
pub fn asked(parts: &mut Parts) -> Option<OnUpgrade> {
    if !holds(parts) {
        return None;
    }
    let named = |name: header::HeaderName, token: &str| {
        parts.headers.get_all(name).iter().any(|value| {
            value.as_bytes().split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
        })
    };
    let allowed = named(header::CONNECTION, "upgrade") && !named(header::UPGRADE, "h2c");
    let on_upgrade = parts.extensions.remove::<OnUpgrade>()?;
    allowed.then_some(on_upgrade)
}

/// Both sides of an accepted upgrade, on their way to [`relay`].
#[derive(Clone)]
struct Sides {
    client: OnUpgrade,
    endpoint: OnUpgrade,
}

/// Joins the endpoint's side of a 101 with the client's.
///
/// # Errors
/// The endpoint switches protocols though nobody asked it to.
pub fn keep(response: &mut Response<Body>, client: Option<OnUpgrade>) -> Result<(), RequestFault> {
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    match (client, response.extensions_mut().remove::<OnUpgrade>()) {
        (Some(client), Some(endpoint)) => {
            response.extensions_mut().insert(Sides { client, endpoint });
            Ok(())
        }
        _ => Err(unasked()),
    }
}

/// The fault of an endpoint that switches protocols though nobody asked it to.
pub fn unasked() -> RequestFault {
    RequestFault::new(Kind::UpstreamProtocol, "the endpoint switched protocols without being asked to")
}

/// Answers 101 and relays in a task of its own; the exchange ends with it.
pub fn relay(mut response: Response<Body>, mut life: Life) -> Response<Body> {
    life.client.link.decide(true);
    let idle = life.idle;
    if let Some(Sides { client, endpoint }) = response.extensions_mut().remove::<Sides>() {
        tokio::task::spawn_local(async move {
            let (client, endpoint) = match tokio::try_join!(client, endpoint) {
                Ok(both) => both,
                Err(error) => {
                    life.exchange
                        .failed(&RequestFault::new(Kind::StreamBroken, "the connection broke as it was upgraded").source(error));
                    return;
                }
            };
            let moved = Rc::new(Moved::default());
            let mut client = Counting { inner: TokioIo::new(client), read: moved.clone(), client: true };
            let mut endpoint = Counting { inner: TokioIo::new(endpoint), read: moved.clone(), client: false };
            let copy = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut endpoint, BUFFER, BUFFER);
            let ended = tokio::select! {
                result = copy => result.map(drop),
                () = silence(&moved, idle) => Err(io::ErrorKind::TimedOut.into()),
            };
            life.relayed(moved.from_client.get(), moved.from_endpoint.get());
            if let Err(error) = ended {
                life.exchange.failed(
                    &RequestFault::new(Kind::StreamBroken, "the upgraded connection broke or was silent for too long")
                        .source(error),
                );
            }
        });
    }
    response.map(|_| Body::empty())
}

/// Bytes relayed so far.
#[derive(Debug, Default)]
struct Moved {
    from_client: Cell<u64>,
    from_endpoint: Cell<u64>,
}

/// Returns when nothing has moved for a whole period. `ZERO`: never.
async fn silence(moved: &Moved, period: Duration) {
    if period.is_zero() {
        return std::future::pending().await;
    }
    let total = || moved.from_client.get().wrapping_add(moved.from_endpoint.get());
    loop {
        let before = total();
        tokio::time::sleep(period).await;
        if total() == before {
            return;
        }
    }
}

/// A side whose bytes are counted as they are read.
struct Counting<I> {
    inner: I,
    read: Rc<Moved>,
    client: bool,
}

impl<I: AsyncRead + Unpin> AsyncRead for Counting<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.inner).poll_read(cx, buf);
        let counter = if this.client { &this.read.from_client } else { &this.read.from_endpoint };
        counter.set(counter.get() + (buf.filled().len() - before) as u64);
        result
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counting<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
