//! One client of a load: a request, its answer, a pause, and again. It never retries: what fails is counted.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::outcome::Tally;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) host: String,
    pub(super) path: String,
}

/// One client.
pub(super) struct Client {
    target: Target,
    fresh: bool,
    pause: Duration,
    tally: Arc<Tally>,
    over: Arc<AtomicBool>,
}

/// A failure: its kind for counting, and its text.
type Failure = (String, String);

type Sender = SendRequest<Empty<Bytes>>;

impl Client {
    pub(super) fn new(target: Target, fresh: bool, pause: Duration, tally: Arc<Tally>, over: Arc<AtomicBool>) -> Self {
        Self { target, fresh, pause, tally, over }
    }

    pub(super) async fn run(self) {
        let mut kept: Option<Sender> = None;
        while !self.over.load(Ordering::Relaxed) {
            let start = Instant::now();
            let asked = tokio::time::timeout(PATIENCE, self.ask(kept.take())).await;
            match asked.unwrap_or_else(|_| Err(("timeout".into(), format!("no answer in {PATIENCE:?}")))) {
                Ok(sender) => {
                    self.tally.answered(start.elapsed());
                    kept = sender;
                }
                Err((kind, text)) => self.tally.failed(kind, &text),
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    /// One request; gives the connection back where it can be used again.
    async fn ask(&self, kept: Option<Sender>) -> Result<Option<Sender>, Failure> {
        let mut sender = match kept {
            Some(mut kept) => match kept.ready().await {
                Ok(()) => kept,
                // A connection that was closed while nothing was asked of it costs nobody a request.
                Err(_) => {
                    self.tally.reconnected();
                    self.connect().await?
                }
            },
            None => self.connect().await?,
        };
        let connection = if self.fresh { "close" } else { "keep-alive" };
        let request = Request::builder().uri(&self.target.path).header(header::HOST, &self.target.host);
        let request = request.header(header::CONNECTION, connection).body(Empty::new());
        let request = request.map_err(|error| ("request".to_owned(), error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| classify(&error))?;
        let status = response.status();
        let closing = response.headers().get(header::CONNECTION).is_some_and(|value| value.as_bytes() == b"close");
        let body = response.into_body().collect().await.map_err(|error| classify(&error))?.to_bytes();
        if status != StatusCode::OK {
            let text = String::from_utf8_lossy(&body).chars().take(200).collect();
            return Err((format!("status {}", status.as_u16()), text));
        }
        if closing && !self.fresh {
            self.tally.reconnected();
        }
        Ok((!self.fresh && !closing).then_some(sender))
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let stream = TcpStream::connect(self.target.address).await.map_err(|error| (kind(&error).into(), error.to_string()))?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| classify(&error))?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// What counts as which failure.
fn classify(error: &hyper::Error) -> Failure {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let kind = match io {
        Some(io) => kind(io),
        None if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => "closed",
        None => "other",
    };
    (kind.into(), format!("{error:?}"))
}

fn kind(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
        io::ErrorKind::TimedOut => "timeout",
        _ => "other",
    }
}
