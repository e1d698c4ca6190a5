//! The forward stage: takes a routed request to an endpoint and brings its response back.
//!
//! One [`Forwarder`] a core; it holds that core's connections. Called by the life of a request after the filters.
//! The path is `limit → attempts → (connect | reuse) → send`: limit and load shedding are tower layers around the
//! attempts, the connect timeout is one around `Connect`; all are composed statically, so that a request boxes nothing.

mod attempt;
mod course;
pub(crate) mod faults;
mod head;
mod job;
mod mirror;
mod times;

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use rust_ingress_model::{BackendRef, PathMatch, Rule, WeightedBackend};
use tower::layer::util::{Identity, Stack};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::body::Body;
use crate::exchange::Exchange;
use crate::fault::{Kind, RequestFault};
use crate::filters::{self, Flow, Scene};
use crate::observe::Observer;
use crate::options::Options;
use crate::upstream::{Local, LocalUpstream, Upstreams};
pub(crate) use attempt::{Attempts, Failure};
pub(crate) use course::Course;
use job::Job;
pub(crate) use times::Times;

type Layers = ServiceBuilder<Stack<GlobalConcurrencyLimitLayer, Stack<LoadShedLayer, Identity>>>;

/// Takes requests to endpoints, with the connections of one core. Clones share them.
#[derive(Clone)]
pub struct Forwarder(Rc<Inner>);

pub(crate) struct Inner {
    pub(crate) options: Arc<Options>,
    pub(crate) observer: Arc<Observer>,
    local: Rc<Local>,
    layers: Layers,
}

impl Forwarder {
    /// A forwarder without connections. One per core, inside its local runtime.
    pub fn new(options: Arc<Options>, observer: Arc<Observer>) -> Self {
        let local = Rc::new(Local::new(&options));
        let limit = GlobalConcurrencyLimitLayer::new(options.limits.requests_in_flight.max(1));
        let layers = ServiceBuilder::new().load_shed().layer(limit);
        Self(Rc::new(Inner { options, observer, local, layers }))
    }

    /// Sends a request to an endpoint of one of the rule's backends and returns the response, its body still streaming.
    ///
    /// The request's URI is in origin form and `Host` holds the authority, as the gate leaves them; fields of the
    /// client's hop are gone. A response with status 101 has hyper's `OnUpgrade` in its extensions.
    ///
    /// # Errors
    /// Whatever kept a response's head from coming.
    pub async fn forward(
        &self,
        upstreams: &Arc<Upstreams>,
        rule: &Rule,
        exchange: &mut Exchange,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, RequestFault> {
        let (mut parts, body) = request.into_parts();
        let aim = self.aim(upstreams, rule, exchange)?;
        let (inner, drawn, times) = (aim.inner, aim.drawn, aim.times);
        if !drawn.filters.is_empty()
            && let Flow::Answer(answer) = filters::request(&drawn.filters, &mut parts, &scene(rule, exchange))?
        {
            return Ok(crate::respond::ours(answer));
        }
        let body = match mirror::drawn(&rule.filters, &drawn.filters) {
            mirrors if mirrors.is_empty() => body,
            // Boxed: few rules have mirrors, and the body is waited for here.
            mirrors => Box::pin(self.mirror(upstreams, mirrors, exchange, &parts, body)).await?,
        };
        let job = Job::new(rule, &inner.options.limits, &times, parts, body)?;
        let attempts = aim.attempts();
        let limited = inner.layers.service(service_fn(|(job, exchange)| attempts.run(job, exchange)));
        // Pinned here: an async function that is given a future by value keeps room for it twice.
        let work = pin!(limited.oneshot((job, &mut *exchange)));
        let mut response = times.whole(work).await?.map_err(faults::of_layers)?;
        filters::response(&drawn.filters, response.headers_mut())?;
        Ok(response)
    }

    /// Draws one of the rule's backends.
    ///
    /// # Errors
    /// There is none, or it fails as stated.
    pub(crate) fn aim<'a>(
        &'a self,
        upstreams: &Upstreams,
        rule: &'a Rule,
        exchange: &mut Exchange,
    ) -> Result<Aim<'a>, RequestFault> {
        let inner = &*self.0;
        let drawn = inner.draw(rule)?;
        let target = inner.target(upstreams, drawn, exchange)?;
        Ok(Aim { inner, drawn, target, times: Times::of(rule, &inner.options.timeouts, exchange.start) })
    }
}

/// Where one request goes.
pub(crate) struct Aim<'a> {
    inner: &'a Inner,
    drawn: &'a WeightedBackend,
    target: Rc<LocalUpstream>,
    times: Times,
}

impl Aim<'_> {
    /// Its attempts.
    pub(crate) fn attempts(&self) -> Attempts<'_> {
        Attempts { inner: self.inner, target: &self.target, times: &self.times }
    }
}

impl Inner {
    /// Draws one of the rule's backends by weight.
    fn draw<'r>(&self, rule: &'r Rule) -> Result<&'r WeightedBackend, RequestFault> {
        if let [only] = &*rule.backends
            && only.weight > 0
        {
            return Ok(only);
        }
        let sum: u64 = rule.backends.iter().map(|one| u64::from(one.weight)).sum();
        let mut point = fastrand::u64(..sum.max(1));
        let drawn = rule.backends.iter().find(|one| {
            let hit = point < u64::from(one.weight);
            point = point.saturating_sub(u64::from(one.weight));
            hit
        });
        drawn.ok_or_else(|| {
            let message = format!("{} {} has no backend with a weight above 0; give one", rule.source, rule.field);
            RequestFault::new(Kind::BackendInvalid, message).status(http::StatusCode::INTERNAL_SERVER_ERROR)
        })
    }

    /// What the drawn backend stands for.
    fn target(
        &self,
        upstreams: &Upstreams,
        drawn: &WeightedBackend,
        exchange: &mut Exchange,
    ) -> Result<Rc<LocalUpstream>, RequestFault> {
        let key = match &drawn.backend {
            BackendRef::Service(key) => key,
            BackendRef::Fail { status, reason } => {
                let status = http::StatusCode::from_u16(*status).unwrap_or(http::StatusCode::SERVICE_UNAVAILABLE);
                return Err(RequestFault::new(Kind::BackendInvalid, reason.clone()).status(status));
            }
        };
        exchange.backend = Some(key.clone());
        let missing =
            || RequestFault::new(Kind::Internal, format!("the backend {key} isn't in the table; report this as a defect"));
        let upstream = upstreams.get(key).ok_or_else(missing)?;
        self.local.seen(upstreams, &self.observer);
        Ok(self.local.upstream(upstream, &self.observer))
    }
}

/// What the filters of a backend may want to know.
fn scene<'r>(rule: &'r Rule, exchange: &Exchange) -> Scene<'r> {
    let prefix = match &*rule.matches {
        [only] => match &only.path {
            PathMatch::Prefix(prefix) => Some(&**prefix),
            PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::LastElement(_) => None,
        },
        _ => None,
    };
    Scene { tls: exchange.connection.tls.is_some(), port: exchange.connection.local.port(), prefix }
}
