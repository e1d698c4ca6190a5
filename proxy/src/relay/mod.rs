//! The relay: HTTP/1.1 without hyper, for plain requests.
//!
//! A connection's bytes are read into one buffer; a head is followed by `gate/request` and taken as slices of that
//! buffer, routed like any other, written for the endpoint straight from them, and the response the same way back. Whatever
//! isn't plain ([`plain`]), or is refused by the gate, is hyper's: the connection is handed over with the bytes already
//! read, at the boundary of a request, and stays there. The stages are those of `lifecycle`, in its order.
//! Called by `connection` with every HTTP/1 connection.

mod answer;
mod buffer;
mod download;
mod exchange;
mod head;
mod plain;
mod pump;
mod timer;
mod towards;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderValue, Uri};
use rust_ingress_model::Rule;

use crate::exchange::{Protocol, RequestLine};
use crate::fault::{Kind, RequestFault};
use crate::forward::Aim;
use crate::gate::request::{Framing, parse};
use crate::gate::wire::Search;
use crate::headers;
use crate::life::Life;
use crate::server::client::Client;
use crate::server::door::Door;
use crate::server::signal::Ear;
use crate::server::stream::Stream;
use crate::table::Table;
use answer::Asked;
use buffer::{Kit, SIZE};
use exchange::{After, Exchange};
use head::Head;
use plain::Plain;
use pump::Pump;
use timer::Timer;
use towards::Said;

/// How long a kept connection that is to end waits for one more request, whose answer says so. Closed at once, it would
/// take the request with it that is on its way: 2 of 200,000 when a DaemonSet was rolled under load (`suite faults`).
const LAST_WORD: Duration = Duration::from_secs(1);

/// How a connection leaves the relay.
pub enum Left {
    /// It has ended.
    Ended,
    /// It ends, and the client may still be sending.
    Lingers(Stream),
    /// hyper serves it on, from these bytes.
    ToHyper(Stream, Vec<u8>),
}

/// What came next on a connection.
enum Next {
    /// A whole head of so many bytes.
    Head(usize, Framing),
    /// Something that isn't for the relay.
    Other,
    /// Its end, or nothing for too long.
    End,
}

/// Where a request goes, or why nowhere.
type Way<'k> = Result<(Aim<'k>, &'k Rule), RequestFault>;

/// One connection.
struct Relay {
    client: Rc<Client>,
    stream: Stream,
    ear: Ear,
    timer: Timer,
    /// The buffers, while there is something in them.
    kit: Option<Box<Kit>>,
    search: Search,
    /// When the head began to come that isn't whole.
    partial_since: Option<Instant>,
    /// Since when it is to end, with nothing asked of it.
    told_to_end: Option<Instant>,
    said: Said,
}

/// Serves a connection until it ends, or must be hyper's. `prefix` was read from it already.
pub async fn run(client: Rc<Client>, stream: Stream, prefix: Vec<u8>, door: &Rc<Door>) -> Left {
    let mut relay = Relay {
        client,
        stream,
        ear: Ear::new(&door.ending),
        timer: Timer::default(),
        kit: None,
        search: Search::default(),
        partial_since: None,
        told_to_end: None,
        said: Said::default(),
    };
    if !prefix.is_empty() {
        let mut kit = Kit::lend();
        kit.input.extend(&prefix);
        relay.kit = Some(kit);
    }
    drop(prefix);
    let end = relay.requests().await;
    let left = match end {
        Some(After::Linger) => Left::Lingers(relay.stream),
        Some(After::Drop) => Left::Ended,
        Some(After::Keep | After::Close) => {
            // The client sees a TLS end, not a cut; one that doesn't take it isn't waited for.
            let _ = tokio::time::timeout(Duration::from_secs(1), relay.stream.say_end()).await;
            Left::Ended
        }
        None => Left::ToHyper(relay.stream, relay.kit.as_ref().map(|kit| kit.input.filled().to_vec()).unwrap_or_default()),
    };
    if let Some(kit) = relay.kit {
        kit.give_back();
    }
    left
}

impl Relay {
    /// Serves requests. `None`: the next is for hyper.
    async fn requests(&mut self) -> Option<After> {
        loop {
            match poll_fn(|cx| self.poll_next(cx)).await {
                Next::Head(length, framing) => match self.request(length, &framing).await? {
                    After::Keep => {}
                    after => return Some(after),
                },
                Next::Other => return None,
                Next::End => return Some(After::Close),
            }
        }
    }

    /// Reads the next head.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            if let Some(next) = self.look() {
                return Poll::Ready(next);
            }
            let kit = self.kit.get_or_insert_with(Kit::lend);
            match kit.input.poll_read(&mut self.stream, u64::MAX, cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(_) | Err(_)) => return Poll::Ready(Next::End),
                Poll::Pending => return self.poll_idle(cx),
            }
        }
    }

    /// Looks at what was read. `None`: more must come.
    fn look(&mut self) -> Option<Next> {
        let limits = &self.client.core.shared.options.limits;
        let kit = self.kit.as_deref_mut().filter(|kit| !kit.input.is_empty())?;
        let bytes = kit.input.filled();
        if self.search.worth(bytes, limits.head_bytes) {
            match parse(bytes, limits.head_bytes, limits.headers, &mut kit.fields) {
                Ok(Some((length, framing))) => {
                    self.search.reset();
                    self.partial_since = None;
                    self.client.link.set_partial_head(false);
                    return Some(Next::Head(length, framing));
                }
                Ok(None) => {}
                Err(_) => return Some(Next::Other),
            }
        }
        if bytes.len() >= SIZE {
            return Some(Next::Other);
        }
        if self.partial_since.is_none() {
            self.partial_since = Some(Instant::now());
            // hyper's side answers 408 when it doesn't come whole, by the time that is noted here.
            self.client.link.set_partial_head(true);
        }
        None
    }

    /// Nothing comes: gives the buffers back, and ends when it is time to.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(kit) = self.kit.take_if(|kit| kit.input.is_empty()) {
            kit.give_back();
        }
        self.ear.listen(cx.waker());
        let timeouts = &self.client.core.shared.options.timeouts;
        let (at, next) = match (self.partial_since, self.client.served()) {
            (Some(since), _) => (since + timeouts.header_read, Next::Other),
            (None, 0) => (self.client.idle_since() + timeouts.header_read, Next::End),
            (None, _) if self.ear.is_raised() => (*self.told_to_end.get_or_insert_with(Instant::now) + LAST_WORD, Next::End),
            (None, _) => (self.client.idle_since() + timeouts.keep_alive, Next::End),
        };
        if self.timer.poll(at, cx) { Poll::Ready(next) } else { Poll::Pending }
    }

    /// Serves the request at the beginning of the buffer. `None`: it is for hyper, and nothing of it is used up.
    async fn request(&mut self, length: usize, framing: &Framing) -> Option<After> {
        let mut kit = self.kit.take()?;
        let after = self.serve(&mut kit, length, framing).await;
        if after.is_some() {
            // What the client sent ahead comes next.
            let Kit { input, ahead, .. } = &mut *kit;
            input.extend(ahead.filled());
            ahead.clear();
        }
        self.kit = Some(kit);
        after
    }

    async fn serve(&mut self, kit: &mut Kit, length: usize, framing: &Framing) -> Option<After> {
        let table = self.client.core.table();
        let client = self.client.clone();
        let (mut exchange, way) = self.exchange(&client, kit, &table, length, framing)?;
        Some(match way {
            Ok((aim, rule)) => exchange.run(aim.attempts(), rule).await,
            Err(fault) => exchange.refuse(&fault).await,
        })
    }

    /// gate → listener filters → route → guards → filters → headers; then it is on its way, or its fault is known.
    fn exchange<'k>(
        &'k mut self,
        client: &'k Rc<Client>,
        kit: &'k mut Kit,
        table: &'k Table,
        length: usize,
        framing: &Framing,
    ) -> Option<(Exchange<'k>, Way<'k>)> {
        let head = Head::new(kit.input.filled(), &kit.fields);
        let Plain { host, rule, close, body } = plain::plain(head, framing, client, table)?;
        let asked = Asked { head: head.method() == b"HEAD", close };
        let mut life = Life::begin(client.clone(), head.http_method(), Protocol::Http11);
        describe(&mut life, head);
        life.host = host;
        kit.out.clear();
        let begun = self.begin(kit, length, body, &life);
        let unread = body - begun;
        let way = match rule {
            _ if !life.counted => Err(overloaded()),
            Err(fault) => Err(fault),
            Ok(rule) => {
                life.exchange.route = Some((rule.source.clone(), rule.field.clone()));
                let aim = client.core.forwarder.aim(&table.upstreams, rule, &mut life.exchange);
                aim.map(|aim| (aim, rule))
            }
        };
        let pump = Pump::new(&mut self.stream, (&mut kit.ahead, &mut kit.answer), &mut self.timer, unread);
        let (out, ending) = (&mut kit.out, &self.ear);
        Some((Exchange { pump, out, asked, ending, body, unread, life: Some(life) }, way))
    }

    /// Writes the request's head, and what there is of its body. How much of the body that is.
    fn begin(&mut self, kit: &mut Kit, length: usize, body: u64, life: &Life) -> u64 {
        let Kit { input, fields, out, .. } = kit;
        let head = Head::new(input.filled(), fields);
        towards::write(out, head, &life.exchange, &life.client.core.shared.options, &mut self.said);
        let rest = input.filled().get(length..).unwrap_or_default();
        let begun = usize::try_from(body).unwrap_or(usize::MAX).min(rest.len());
        out.extend_from_slice(rest.get(..begun).unwrap_or_default());
        input.consume(length + begun);
        begun as u64
    }
}

/// What access log and metrics say of a request, from its head.
fn describe(life: &mut Life, head: Head<'_>) {
    let core = &life.client.core.shared;
    let peer = life.client.facts.peer.ip();
    let believed = headers::trusted(peer, &core.options.trusted_proxies);
    let chain = head.values(headers::Kind::ForwardedFor);
    life.exchange.client = headers::client_address(peer, chain, &core.options.trusted_proxies);
    life.exchange.request_id = headers::request_id(head.values(headers::Kind::RequestId).next(), believed);
    if core.observer.logs() {
        let named = |name: &str| {
            let found = head.fields().find(|(_, found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
            found.and_then(|(_, _, value)| HeaderValue::from_bytes(value).ok())
        };
        life.exchange.line = Uri::try_from(head.target()).ok().map(|uri| {
            let (host, user_agent, referer) = (named("host"), named("user-agent"), named("referer"));
            Box::new(RequestLine { uri, host, user_agent, referer })
        });
    }
}

fn overloaded() -> RequestFault {
    RequestFault::new(Kind::Overloaded, "too many requests in flight; try again, or raise the limit")
}
