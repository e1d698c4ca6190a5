//! Checks after each publish that the snapshot is live, on a connection that was there before it.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};

use super::requests::{Sender, Target};
use super::snapshots::Snapshots;

/// The connection that checks.
pub(super) struct Probe {
    target: Target,
    sender: Sender,
}

impl Probe {
    /// Connects.
    pub(super) async fn new(target: Target) -> Result<Self> {
        let (sender, _) = Sender::http1(target.plain().await?).await?;
        Ok(Self { target, sender })
    }

    /// The current snapshot's own path is served, the one before's is not, and new connections get its certificate.
    pub(super) async fn check(&mut self, snapshots: &Snapshots) -> Result<()> {
        let (now, before) = snapshots.paths();
        self.expect(&now, StatusCode::OK).await?;
        if let Some(before) = before {
            self.expect(&before, StatusCode::NOT_FOUND).await?;
        }
        let stream = self.target.tls(b"http/1.1").await?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        ensure!(leaf.is_some_and(|leaf| leaf.as_ref() == snapshots.leaf()), "a new connection got an old certificate");
        Ok(())
    }

    async fn expect(&mut self, path: &str, status: StatusCode) -> Result<()> {
        let response = self.sender.send(Request::get(path).body(Full::<Bytes>::default())?).await?;
        let got = response.status();
        response.into_body().collect().await.context("the response broke off")?;
        ensure!(got == status, "{path} is answered {got} and not {status}: the snapshot isn't live");
        Ok(())
    }
}
