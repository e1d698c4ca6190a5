//! Names of ExternalName Services: resolved on the core that needs them, kept for their TTL.
//!
//! An answer is refreshed beside the requests when most of its time is over, so that they rarely wait; requests that do
//! wait ask once for all. Addresses that would lead a name back into the host or its link are refused: whoever may write
//! a Service must not reach them through the proxy. The system's resolver settings are read at the first name, not at
//! start. Used by `local`.

use std::cell::{OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use rust_ingress_model::Name;
use tokio::sync::Mutex;

use crate::fault::{Kind, RequestFault};

/// An answer with a shorter TTL is kept this long, and so is a failure.
const LEAST: Duration = Duration::from_secs(1);
/// Part of its life after which an answer is asked for again, in percent.
const REFRESH_AFTER: u32 = 80;

/// A core's answers.
#[derive(Default, Clone)]
pub(super) struct Dns(Rc<Inner>);

#[derive(Default)]
struct Inner {
    resolver: OnceCell<Result<TokioResolver, String>>,
    names: RefCell<AHashMap<Name, Rc<Entry>>>,
}

/// What is known of one name.
#[derive(Default)]
struct Entry {
    answer: RefCell<Option<Answer>>,
    /// Held by who asks.
    asking: Mutex<()>,
}

struct Answer {
    /// Addresses, at least one; or why there are none.
    found: Result<Rc<[IpAddr]>, String>,
    refresh: Instant,
    until: Instant,
}

impl Dns {
    /// The addresses of a name; at least one.
    pub(super) async fn addresses(&self, name: &Name) -> Result<Rc<[IpAddr]>, RequestFault> {
        let entry = self.0.names.borrow_mut().entry(name.clone()).or_default().clone();
        let found = match entry.fresh() {
            Some(found) => found,
            None => {
                let _asking = entry.asking.lock().await;
                match entry.fresh() {
                    Some(found) => found,
                    None => self.ask(name, &entry).await,
                }
            }
        };
        if entry.due() {
            self.refresh(name.clone(), entry);
        }
        found.map_err(|what| {
            let message =
                format!("the name {name} of the ExternalName Service can't be resolved: {what}; check the name and the DNS");
            RequestFault::new(Kind::ResolveFailed, message)
        })
    }

    /// Asks again beside the requests, unless somebody does already. A failure leaves the old answer until its end.
    fn refresh(&self, name: Name, entry: Rc<Entry>) {
        let dns = self.clone();
        tokio::task::spawn_local(async move {
            let Ok(_asking) = entry.asking.try_lock() else { return };
            if let Ok((addresses, until)) = dns.look_up(&name).await {
                entry.keep(Ok(addresses), until);
            } else {
                entry.later();
            }
        });
    }

    async fn ask(&self, name: &Name, entry: &Entry) -> Result<Rc<[IpAddr]>, String> {
        let (found, until) = match self.look_up(name).await {
            Ok((addresses, until)) => (Ok(addresses), until),
            Err(what) => (Err(what), Instant::now()),
        };
        entry.keep(found.clone(), until);
        found
    }

    async fn look_up(&self, name: &Name) -> Result<(Rc<[IpAddr]>, Instant), String> {
        let resolver = self.0.resolver.get_or_init(system).as_ref().map_err(Clone::clone)?;
        // A name of a Service is absolute, with or without the dot at its end.
        let absolute = if name.ends_with('.') { name.to_string() } else { format!("{name}.") };
        let found = resolver.lookup_ip(absolute).await.map_err(|error| error.to_string())?;
        let addresses: Rc<[IpAddr]> = found.iter().filter(|ip| !forbidden(*ip)).collect();
        if addresses.is_empty() {
            return Err("it has only addresses of this host or of its link".into());
        }
        Ok((addresses, found.valid_until()))
    }
}

impl Entry {
    /// What is known and still holds.
    fn fresh(&self) -> Option<Result<Rc<[IpAddr]>, String>> {
        let answer = self.answer.borrow();
        answer.as_ref().filter(|answer| Instant::now() < answer.until).map(|answer| answer.found.clone())
    }

    /// Whether it should be asked for again.
    fn due(&self) -> bool {
        self.answer.borrow().as_ref().is_some_and(|answer| answer.found.is_ok() && Instant::now() >= answer.refresh)
    }

    fn keep(&self, found: Result<Rc<[IpAddr]>, String>, until: Instant) {
        let now = Instant::now();
        let life = until.saturating_duration_since(now).max(LEAST);
        *self.answer.borrow_mut() = Some(Answer { found, refresh: now + life * REFRESH_AFTER / 100, until: now + life });
    }

    /// A refresh failed: the next one not at once.
    fn later(&self) {
        if let Some(answer) = &mut *self.answer.borrow_mut() {
            answer.refresh = Instant::now() + LEAST;
        }
    }
}

fn system() -> Result<TokioResolver, String> {
    let builder = TokioResolver::builder_tokio().map_err(|error| format!("the system's resolver settings: {error}"))?;
    build(builder)
}

fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, String> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::future::Future;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use tokio::net::UdpSocket;
    use tokio::task::LocalSet;

    use super::*;

    /// A DNS server on loopback that gives every name these addresses; counts questions.
    async fn server(addresses: &'static [&'static str], ttl: u32) -> (Dns, Arc<AtomicUsize>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                socket.send_to(&answer(&buffer[..length], addresses, ttl), client).await.unwrap();
            }
        });
        let mut name_server = NameServerConfig::udp("127.0.0.1".parse().unwrap());
        name_server.connections[0].port = port;
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
        let resolver = build(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()));
        (Dns(Rc::new(Inner { resolver: OnceCell::from(resolver), names: RefCell::default() })), asked)
    }

    /// RFC 1035 §4: the question again, and a record for each address of the family that is asked for.
    fn answer(question: &[u8], addresses: &[&str], ttl: u32) -> Vec<u8> {
        let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
        let kind = u16::from_be_bytes([question[end - 4], question[end - 3]]);
        let records = addresses.iter().map(|address| address.parse().unwrap()).filter_map(|address| match address {
            IpAddr::V4(v4) if kind == 1 => Some(v4.octets().to_vec()),
            IpAddr::V6(v6) if kind == 28 => Some(v6.octets().to_vec()),
            _ => None,
        });
        let records: Vec<_> = records.collect();
        let mut message = question[..2].to_vec();
        message.extend([0x81, 0x80, 0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
        message.extend(&question[12..end]);
        for data in records {
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1]);
            message.extend(ttl.to_be_bytes());
            message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend(data);
        }
        message
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async { tokio::time::timeout(Duration::from_secs(30), test).await.unwrap() });
    }

    #[test]
    fn addresses_of_both_families_serve_and_forbidden_ones_do_not() {
        run(async {
            let all = &[
                "10.1.2.3",
                "127.0.0.1",
                "169.254.169.254",
                "0.0.0.0",
                "224.0.0.1",
                "2001:db8::1",
                "::1",
                "fe80::1",
                "::ffff:127.0.0.1",
            ];
            let (dns, _) = server(all, 60).await;
            let mut found = dns.addresses(&"db.example".into()).await.unwrap().to_vec();
            found.sort();
            assert_eq!(found, ["10.1.2.3".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
        });
    }

    #[test]
    fn a_name_that_leads_only_to_this_host_is_refused() {
        run(async {
            let (dns, _) = server(&["127.0.0.1", "169.254.169.254"], 60).await;
            let fault = dns.addresses(&"evil.example".into()).await.unwrap_err();
            assert_eq!(fault.kind, Kind::ResolveFailed);
            assert!(fault.message.contains("evil.example"), "{fault}");
        });
    }

    #[test]
    fn an_answer_is_kept_for_its_ttl_and_refreshed_before_its_end() {
        run(async {
            let (dns, asked) = server(&["10.1.2.3"], 1).await;
            let name: Name = "db.example".into();
            let first = futures_util::future::join_all((0..10).map(|_| dns.addresses(&name))).await;
            assert!(first.iter().all(Result::is_ok));
            // One question for each family.
            assert_eq!(asked.load(Ordering::SeqCst), 2);
            while asked.load(Ordering::SeqCst) < 4 {
                dns.addresses(&name).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }

    #[test]
    fn a_failure_is_kept_for_a_moment_and_asked_once_for_all() {
        run(async {
            let (dns, asked) = server(&[], 60).await;
            let name: Name = "none.example".into();
            let all = futures_util::future::join_all((0..10).map(|_| dns.addresses(&name))).await;
            assert!(all.iter().all(Result::is_err));
            assert_eq!(asked.load(Ordering::SeqCst), 2);
        });
    }
}
