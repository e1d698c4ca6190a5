//! The admin port's guard against DNS rebinding: a page from elsewhere can make a browser connect to loopback under a
//! name of its own, but can't make it send another `Host`. Only loopback names and addresses pass.

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use tower::Service;

use super::router;

/// Answers 403 unless `Host` is loopback; asks the inner service otherwise.
#[derive(Debug, Clone)]
pub(super) struct LoopbackHost<S>(pub S);

impl<S, B> Service<Request<B>> for LoopbackHost<S>
where
    S: Service<Request<B>, Response = Response<Full<Bytes>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if host(&request).is_some_and(is_loopback) {
            return Either::Left(self.0.call(request));
        }
        let text = "the admin port answers to localhost and loopback addresses only; check the Host header\n";
        Either::Right(ready(Ok(router::respond(StatusCode::FORBIDDEN, router::TEXT, text))))
    }
}

/// The one host that a request names, with its port.
fn host<B>(request: &Request<B>) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Whether a host, with or without port, is `localhost` or a loopback address.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn hosts() {
        for host in ["localhost", "LOCALHOST:9901", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:9901"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[fe80::1]:9901", "["] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
