//! One plain request: to an endpoint, with another attempt where that is allowed, and its response back.
//!
//! The rules, faults and times of attempts are the forward stage's; only the bytes are moved here.

use std::time::Instant;

use rust_ingress_model::Rule;

use super::answer::{self, Answer, Asked, Found};
use super::download::Download;
use super::pump::{Awaited, Pump, Stop};
use crate::body::{Side, client_ended, idle_fault, late};
use crate::fault::{RequestFault, Retry};
use crate::forward::{Attempts, Course, Failure, faults};
use crate::life::Life;
use crate::server::signal::Ear;
use crate::upstream::{Lease, Raw, cut_off};
use crate::{respond, upgrade};

/// A request on its way.
pub(super) struct Exchange<'k> {
    pub(super) pump: Pump<'k>,
    /// The request's head and the beginning of its body; then what goes to the client.
    pub(super) out: &'k mut Vec<u8>,
    pub(super) asked: Asked,
    /// Raised: the connection ends with the next response.
    pub(super) ending: &'k Ear,
    /// Bytes of the request's body, and how many of them weren't read when it began.
    pub(super) body: u64,
    pub(super) unread: u64,
    /// Ends when the last bytes of the response are ready to go.
    pub(super) life: Option<Life>,
}

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It serves on.
    Keep,
    /// It ends.
    Close,
    /// It ends, and the client may still be sending.
    Linger,
    /// It is broken.
    Drop,
}

impl Exchange<'_> {
    /// Forwards the request and relays the response, or answers with the fault that kept it from coming.
    pub(super) async fn run(&mut self, attempts: Attempts<'_>, rule: &Rule) -> After {
        let Some(life) = &self.life else { return After::Drop };
        let mut course = Course::new(rule, &life.exchange.method);
        match self.attempts(attempts, &mut course).await {
            Ok((answer, lease)) => self.respond(attempts, answer, &lease).await,
            Err(Some(fault)) => self.refuse(&fault).await,
            // There is nobody to answer.
            Err(None) => After::Drop,
        }
    }

    /// Answers with a fault.
    pub(super) async fn refuse(&mut self, fault: &RequestFault) -> After {
        let Some(mut life) = self.life.take() else { return After::Drop };
        life.exchange.failed(fault);
        let response = respond::fault(fault, respond::Asked::h1(self.asked.head));
        life.status.set(response.status().as_u16());
        self.asked.close = self.closes();
        let sent = answer::ours(self.out, response, self.asked);
        let patience = life.client.core.shared.options.timeouts.idle;
        life.relayed(self.body - self.pump.left(), sent);
        drop(life);
        match self.pump.send(self.out, patience).await {
            Ok(()) if !self.pump.whole() => After::Linger,
            Ok(()) if self.asked.close => After::Close,
            Ok(()) => After::Keep,
            Err(_) => After::Drop,
        }
    }

    /// Whether the client's connection ends with the response that is written now.
    fn closes(&self) -> bool {
        self.asked.close || self.ending.is_raised() || !self.pump.whole()
    }

    /// Tries until there is an answer, or no further attempt is allowed. `None`: the client went away.
    async fn attempts(
        &mut self,
        attempts: Attempts<'_>,
        course: &mut Course<'_>,
    ) -> Result<(Answer, Lease), Option<RequestFault>> {
        let all = attempts.endpoints().await?;
        loop {
            let Some(life) = &mut self.life else { return Err(None) };
            let lease = Lease::new(attempts.choose(&all, course, &mut life.exchange)?);
            let failure = match self.attempt(attempts, course, &lease).await {
                Ok(answer) => return Ok((answer, lease)),
                Err(Ending::Gone) => return Err(None),
                Err(Ending::Unconnected(failure)) => failure,
                Err(Ending::Failed(fault, reused)) => {
                    // Nothing of the body was read beyond what still lies in `out`.
                    let whole = self.pump.left() == self.unread;
                    Failure { next: course.after_send(&fault, reused, whole), fault }
                }
            };
            let Some(life) = &mut self.life else { return Err(None) };
            attempts.again(Err(failure), &all, course, &mut life.exchange).await?;
        }
    }

    /// One attempt, up to a response's head, which is then written.
    async fn attempt(&mut self, attempts: Attempts<'_>, course: &mut Course<'_>, lease: &Lease) -> Result<Answer, Ending> {
        let endpoint = lease.endpoint();
        let idle = if course.fresh { None } else { endpoint.take_raw() };
        let reused = idle.is_some();
        let raw = match idle {
            Some(raw) => {
                attempts.target.metrics.reused();
                raw
            }
            None => {
                // Boxed: connecting is rare, and its state is larger than all the rest of a request's.
                let connecting = Box::pin(attempts.times.whole(attempts.connect(course, true, endpoint)));
                let stream = connecting.await.map_err(Failure::last).flatten().map_err(Ending::Unconnected)?;
                Raw::new(stream, attempts.target.metrics.clone())
            }
        };
        if let Some(life) = &mut self.life {
            life.exchange.upstream_start = Some(Instant::now());
        }
        self.pump.attempt(raw);
        let found = match self.pump.begin(self.out, attempts.times).await {
            Ok(()) => self.head(attempts, lease).await,
            Err((0, Stop::Broken(error))) => {
                let closed = faults::closed(attempts.place(endpoint));
                Err(Some(closed.retry(Retry::Unsent).source(error)))
            }
            // It may have answered before it closed.
            Err((_, Stop::Broken(_))) => self.head(attempts, lease).await,
            Err((_, stop)) => Err(before_head(stop, attempts, lease)),
        };
        let answer = found.map_err(|fault| fault.map_or(Ending::Gone, |fault| Ending::Failed(fault, reused)))?;
        if let Some(life) = &mut self.life {
            life.exchange.upstream_head = Some(Instant::now());
        }
        Ok(answer)
    }

    /// Waits for a response's head. `None`: the client went away.
    async fn head(&mut self, attempts: Attempts<'_>, lease: &Lease) -> Result<Answer, Option<RequestFault>> {
        let place = attempts.place(lease.endpoint());
        let most = attempts.inner.options.limits.head_bytes.max(8192);
        loop {
            // What was read already may hold it, behind an interim response.
            if !self.pump.answer.is_empty() {
                let asked = Asked { close: self.closes(), ..self.asked };
                match answer::read(self.pump.answer.filled(), asked, self.out) {
                    Ok(Found::Head(answer)) => {
                        self.pump.answer.consume(answer.length);
                        self.asked = asked;
                        return Ok(answer);
                    }
                    Ok(Found::Interim(length)) => {
                        self.pump.answer.consume(length);
                        attempts.inner.observer.metrics.interim_dropped();
                        continue;
                    }
                    Ok(Found::Switch) => return Err(Some(upgrade::unasked())),
                    Ok(Found::Partial) if self.pump.answer.is_full() && !self.pump.answer.grow(most) => {
                        return Err(Some(faults::not_http(&"a head larger than the limit", place)));
                    }
                    Ok(Found::Partial) => {}
                    Err(reason) => return Err(Some(faults::not_http(&reason, place))),
                }
            }
            match self.pump.fill(Awaited::Head, attempts.times).await {
                Ok(1..) => {}
                Ok(_) => return Err(Some(faults::closed(place).retry(Retry::Idempotent))),
                Err(stop) => return Err(before_head(stop, attempts, lease)),
            }
        }
    }

    /// Relays a response whose head is written already.
    async fn respond(&mut self, attempts: Attempts<'_>, answer: Answer, lease: &Lease) -> After {
        let Answer { status, mut body, keep, .. } = answer;
        if let Some(life) = &self.life {
            life.status.set(status);
        }
        let patience = attempts.inner.options.timeouts.idle;
        let mut bytes = 0;
        loop {
            let broken = match body.take(self.pump.answer, self.out) {
                Ok(data) => {
                    bytes += data;
                    None
                }
                Err(reason) => Some(cut_off().source(reason)),
            };
            if body.ended() {
                self.end(bytes);
                if keep {
                    self.pump.release(lease);
                }
            }
            let sent = self.pump.send(self.out, patience).await;
            self.out.clear();
            if let Some(fault) = broken {
                return self.break_off(bytes, Some(fault));
            }
            if sent.is_err() {
                return self.break_off(bytes, None);
            }
            if body.ended() {
                return if !self.pump.whole() {
                    After::Linger
                } else if self.asked.close {
                    After::Close
                } else {
                    After::Keep
                };
            }
            if let Err(fault) = self.more(attempts, &mut body).await {
                return self.break_off(bytes, fault);
            }
        }
    }

    /// Waits for more of a response's body. `None`: the client went away.
    async fn more(&mut self, attempts: Attempts<'_>, body: &mut Download) -> Result<(), Option<RequestFault>> {
        match self.pump.fill(Awaited::Body, attempts.times).await {
            Ok(1..) => Ok(()),
            Ok(_) if body.close(self.out) => Ok(()),
            Ok(_) => Err(Some(cut_off())),
            Err(Stop::Broken(error)) => Err(Some(cut_off().source(error))),
            Err(Stop::Silent | Stop::ClientSilent) => Err(Some(idle_fault(Side::Endpoint, attempts.times.idle))),
            Err(Stop::ClientBody) => Err(Some(client_ended())),
            Err(Stop::Late) => Err(Some(late())),
            Err(Stop::Gone) => Err(None),
        }
    }

    /// The response's last bytes are ready: the exchange has ended.
    fn end(&mut self, bytes: u64) {
        if let Some(mut life) = self.life.take() {
            life.relayed(self.body - self.pump.left(), bytes);
        }
    }

    /// The response can't be ended well.
    fn break_off(&mut self, bytes: u64, fault: Option<RequestFault>) -> After {
        if let (Some(life), Some(fault)) = (&mut self.life, fault) {
            life.exchange.failed(&fault);
        }
        self.end(bytes);
        After::Drop
    }
}

/// What an attempt ended with, if not with a response.
enum Ending {
    /// There was no connection to be had.
    Unconnected(Failure),
    /// The request went out, or should have, on a connection that was idle before or not.
    Failed(RequestFault, bool),
    /// The client went away.
    Gone,
}

/// What to answer when there is no response. `None`: there is nobody to answer.
fn before_head(stop: Stop, attempts: Attempts<'_>, lease: &Lease) -> Option<RequestFault> {
    let place = attempts.place(lease.endpoint());
    Some(match stop {
        Stop::Gone => return None,
        Stop::ClientBody => client_ended(),
        Stop::ClientSilent => idle_fault(Side::Client, attempts.times.idle),
        Stop::Silent => faults::slow(place),
        Stop::Late => attempts.times.late(),
        Stop::Broken(error) => faults::closed(place).retry(Retry::Idempotent).source(error),
    })
}
