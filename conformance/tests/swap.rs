//! A hundred swaps under load of every kind: no request fails, no connection is closed. `bench swap` is the whole size.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use rust_ingress_conformance::swap::{Kind, Plan, run};

#[test]
fn no_request_fails_and_no_connection_is_closed_over_a_hundred_swaps() {
    let plan = Plan::short();
    let outcome = run(plan).unwrap();
    assert_eq!(outcome.failed, 0, "{:#?}", outcome.failures);
    assert_eq!(outcome.publishes.len(), plan.swaps);
    let all = [Kind::Http1, Kind::Http2, Kind::Tls, Kind::Http2Tls, Kind::WebSocket, Kind::Grpc];
    assert_eq!(outcome.figures.keys().copied().collect::<Vec<_>>(), all);
    for (kind, figures) in outcome.figures {
        let least = (plan.swaps * figures.clients) as u64;
        assert!(figures.answers >= least, "{}: an answer per swap and client", kind.label());
    }
}
