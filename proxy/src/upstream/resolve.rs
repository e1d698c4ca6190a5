//! Names of ExternalName Services: resolved on the core that needs them, kept for their TTL.
//!
//! An answer is refreshed beside the requests when most of its time is over, so that they rarely wait. Addresses that
//! would lead a name back into the host or its link are refused: whoever may write a Service must not reach them
//! through the proxy. The system's resolver settings are read at the first name, not at start. Used by `local`.

use std::cell::{OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use rust_ingress_model::Name;

use crate::fault::{Kind, RequestFault};

/// An answer without a TTL worth the name is still kept this long.
const LEAST: Duration = Duration::from_secs(1);
/// Part of its life after which an answer is asked for again, in percent.
const REFRESH_AFTER: u32 = 80;

/// A core's answers.
#[derive(Default, Clone)]
pub(super) struct Dns(Rc<Inner>);

#[derive(Default)]
struct Inner {
    resolver: OnceCell<Result<TokioResolver, String>>,
    answers: RefCell<AHashMap<Name, Answer>>,
}

struct Answer {
    addresses: Rc<[IpAddr]>,
    refresh: Instant,
    until: Instant,
    /// Being asked for again.
    asked: bool,
}

impl Dns {
    /// The addresses of a name; at least one.
    pub(super) async fn addresses(&self, name: &Name) -> Result<Rc<[IpAddr]>, RequestFault> {
        let now = Instant::now();
        if let Some(answer) = self.0.answers.borrow_mut().get_mut(name).filter(|answer| now < answer.until) {
            if now >= answer.refresh && !std::mem::replace(&mut answer.asked, true) {
                let (dns, name) = (self.clone(), name.clone());
                tokio::task::spawn_local(async move {
                    if let Err(fault) = dns.ask(&name).await {
                        tracing::warn!(%name, %fault, "a name can't be resolved again; its old addresses serve until their time is over");
                    }
                });
            }
            return Ok(answer.addresses.clone());
        }
        self.ask(name).await
    }

    async fn ask(&self, name: &Name) -> Result<Rc<[IpAddr]>, RequestFault> {
        let failed = |what: String| {
            let message =
                format!("the name {name} of the ExternalName Service can't be resolved: {what}; check the name and the DNS");
            RequestFault::new(Kind::ResolveFailed, message)
        };
        let resolver = self.0.resolver.get_or_init(system).as_ref().map_err(|error| failed(error.clone()))?;
        // A name of a Service is absolute, with or without the dot at its end.
        let absolute = if name.ends_with('.') { name.to_string() } else { format!("{name}.") };
        let found = resolver.lookup_ip(absolute).await.map_err(|error| failed(error.to_string()))?;
        let addresses: Rc<[IpAddr]> = found.iter().filter(|ip| !forbidden(*ip)).collect();
        if addresses.is_empty() {
            return Err(failed("it has only addresses of this host, of its link, or none".into()));
        }
        let now = Instant::now();
        let life = found.valid_until().saturating_duration_since(now).max(LEAST);
        let answer =
            Answer { addresses: addresses.clone(), refresh: now + life * REFRESH_AFTER / 100, until: now + life, asked: false };
        self.0.answers.borrow_mut().insert(name.clone(), answer);
        Ok(addresses)
    }
}

fn system() -> Result<TokioResolver, String> {
    let mut builder = TokioResolver::builder_tokio().map_err(|error| format!("the system's resolver settings: {error}"))?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // We keep answers ourselves; a second cache would answer a refresh with what is about to expire.
    options.cache_size = 0;
    builder.build().map_err(|error| error.to_string())
}

/// Addresses that an ExternalName must not lead to.
fn forbidden(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_unspecified() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast(),
    }
}
