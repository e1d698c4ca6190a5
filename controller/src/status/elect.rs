//! Holds the Lease, or waits for it: does what `lease` decides, and tells `run` until when we may write.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, GetParams, PostParams};
use kube::{Client, Error};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::status::lease::{self, Act, Election, RENEW, Standing};
use crate::status::write::{is_status, said};

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(4);
/// After a request that failed.
const RETRY: Duration = Duration::from_secs(1);
/// At stop: another takes it anyway after the Lease's duration.
const RELEASE: Duration = Duration::from_secs(2);

/// Until when we may write; `None` while another may.
pub type Term = Option<Instant>;

/// Whether a term runs.
pub fn runs(term: Term) -> bool {
    term.is_some_and(|until| Instant::now() < until)
}

/// Stands for election until it is told to stop.
pub struct Elector {
    leases: Api<Lease>,
    name: String,
    election: Election,
    /// As it was written last: the holder renews without reading.
    written: Option<Lease>,
    term: watch::Sender<Term>,
    /// The failure that was logged, so that it is logged once.
    failure: Option<String>,
    /// Who was last said to lead.
    leader: String,
}

impl Elector {
    /// A candidate for the Lease `name` in `namespace`, called after its Pod.
    pub fn new(client: Client, namespace: &str, name: &str, pod: &str, term: watch::Sender<Term>) -> Self {
        let identity = format!("{pod}_{:016x}", rand::random::<u64>());
        let election = Election::new(identity, namespace.into(), name.into());
        let leases = Api::namespaced(client, namespace);
        Self { leases, name: name.into(), election, written: None, term, failure: None, leader: String::new() }
    }

    /// Stands until `stop` says so; then releases the Lease if it is ours.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let turn = async {
                let pause = self.turn().await;
                sleep(pause).await;
            };
            tokio::select! {
                () = turn => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        let leads = self.term.send_replace(None).is_some();
        if leads && timeout(RELEASE, self.release()).await.is_err() {
            tracing::warn!(lease = self.name, "the Lease could not be released in time; another takes it when it has run out");
        }
    }

    /// Looks at the Lease and does what it asks for. Gives the time to the next look.
    async fn turn(&mut self) -> Duration {
        let start = Instant::now();
        let limit = match self.election.standing(start) {
            Standing::Holder(until) => REQUEST.min(until - start),
            Standing::Candidate => REQUEST,
        };
        let done = match timeout(limit, self.attempt(start)).await {
            Ok(done) => done.map_err(|failure| failure.to_string()),
            Err(_) => Err("no answer in time".into()),
        };
        let (term, pause) = match done {
            Ok(Some(wait)) => (None, wait + jitter()),
            Ok(None) => (Some(self.election.held(start)), RENEW),
            Err(failure) => {
                self.written = None;
                self.fail(failure);
                match self.election.standing(Instant::now()) {
                    Standing::Holder(until) => (Some(until), RETRY.min(until.saturating_duration_since(Instant::now()))),
                    Standing::Candidate => (None, RETRY + jitter()),
                }
            }
        };
        self.tell(term);
        pause
    }

    /// Writes the Lease (`None`), or says when to look again.
    async fn attempt(&mut self, start: Instant) -> Result<Option<Duration>, Failure> {
        // A holder whose write meets a newer version reads it, once: somebody may have set a label.
        for _ in 0..2 {
            let read = match self.written.take() {
                Some(lease) => Some(lease),
                None => self.read(start).await?,
            };
            let written = match self.election.judge(read.as_ref(), start) {
                Act::Create(lease) => self.leases.create(&PostParams::default(), &lease).await,
                Act::Replace(lease) => self.leases.replace(&self.name, &PostParams::default(), &lease).await,
                Act::Wait(wait) => {
                    self.see(read.as_ref().map(lease::holder).unwrap_or_default());
                    return Ok(Some(wait));
                }
            };
            match written {
                Ok(lease) => {
                    self.failure = None;
                    self.written = Some(lease);
                    return Ok(None);
                }
                // Another was quicker, or it was deleted: what is there now decides. Not found, to one that creates it, means that
                // the namespace isn't there.
                Err(error) if is_status(&error, 409) || (read.is_some() && is_status(&error, 404)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match self.election.standing(Instant::now()) {
            Standing::Holder(_) => Err(Failure::Overtaken),
            Standing::Candidate => Ok(Some(RETRY)),
        }
    }

    /// A candidate reads from the API server's memory: of 1,000 nodes 999 are candidates. What is old there does no harm,
    /// since a write names the version that was read.
    async fn read(&mut self, now: Instant) -> Result<Option<Lease>, Error> {
        let newest = matches!(self.election.standing(now), Standing::Holder(_));
        let resource_version = if newest { None } else { Some("0".into()) };
        match self.leases.get_with(&self.name, &GetParams { resource_version }).await {
            Ok(lease) => Ok(Some(lease)),
            Err(error) if is_status(&error, 404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn release(&mut self) {
        let Ok(read) = self.leases.get(&self.name).await else { return };
        let Some(free) = self.election.release(&read) else { return };
        match self.leases.replace(&self.name, &PostParams::default(), &free).await {
            Ok(_) => tracing::info!(lease = self.name, "released the Lease"),
            Err(error) => tracing::warn!(lease = self.name, error = said(&error), "the Lease could not be released"),
        }
    }

    fn tell(&mut self, term: Term) {
        match (self.term.send_replace(term).is_some(), term.is_some()) {
            (false, true) => tracing::info!(lease = self.name, "holds the Lease: writes status and Events"),
            (true, false) => tracing::warn!(lease = self.name, "lost the Lease: writes nothing"),
            _ => {}
        }
    }

    fn see(&mut self, holder: &str) {
        self.failure = None;
        if self.leader != holder {
            tracing::info!(lease = self.name, holder, "another holds the Lease: it writes status and Events");
            self.leader = holder.into();
        }
    }

    fn fail(&mut self, failure: String) {
        if self.failure.as_ref() != Some(&failure) {
            tracing::warn!(
                lease = self.name,
                error = failure,
                "the Lease can't be read or written; until it can, nobody writes status"
            );
            self.failure = Some(failure);
        }
    }
}

/// Why the Lease isn't written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", said(.0))]
    Api(#[from] Error),
    #[error("others write it at the same time, again and again")]
    Overtaken,
}

/// Up to half a second, so that candidates don't look all at once.
fn jitter() -> Duration {
    Duration::from_millis(fastrand::u64(..500))
}
