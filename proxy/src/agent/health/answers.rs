//! The answers, in kube-proxy's words.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::Health;
use crate::observe::{JSON, OPEN_METRICS, TEXT, respond, rfc3339};

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Port {
    /// `/healthz` and `/livez`.
    Health,
    /// `/metrics`, `/proxyMode`.
    Status,
    /// The healthCheckNodePort of this number.
    Check(u16),
}

/// Answers a path on a port.
pub(super) fn answer(health: &Arc<Health>, port: Port, path: &str) -> Response<Full<Bytes>> {
    match (port, path) {
        (Port::Check(port), _) => check(health, port),
        (Port::Health | Port::Status, "/healthz") => healthz(health),
        (Port::Health, "/livez") => livez(health),
        (Port::Status, "/proxyMode") => respond(StatusCode::OK, TEXT, "nftables"),
        (Port::Status, "/metrics") => match health.metrics.text(health) {
            Ok(text) => respond(StatusCode::OK, OPEN_METRICS, text),
            Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("metrics can't be written: {error}\n")),
        },
        (Port::Health, _) => respond(StatusCode::NOT_FOUND, TEXT, "no such page; there are /healthz, /livez\n"),
        (Port::Status, _) => respond(StatusCode::NOT_FOUND, TEXT, "no such page; there are /metrics, /proxyMode, /healthz\n"),
    }
}

fn status(is_well: bool) -> StatusCode {
    if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn healthz(health: &Health) -> Response<Full<Bytes>> {
    let facts = health.facts();
    let (updated, now) = times(facts.written);
    let status = status(facts.is_healthy());
    let eligible = !facts.leaving;
    drop(facts);
    health.metrics.asked(true, status);
    json(status, format!(r#"{{"lastUpdated": "{updated}","currentTime": "{now}","nodeEligible": {eligible}}}"#))
}

fn livez(health: &Health) -> Response<Full<Bytes>> {
    let facts = health.facts();
    let (updated, now) = times(facts.written);
    let status = status(facts.is_live());
    drop(facts);
    health.metrics.asked(false, status);
    json(status, format!(r#"{{"lastUpdated": "{updated}","currentTime": "{now}"}}"#))
}

fn times(written: Option<SystemTime>) -> (String, String) {
    (rfc3339(written.unwrap_or(SystemTime::UNIX_EPOCH)), rfc3339(SystemTime::now()))
}

fn check(health: &Health, port: u16) -> Response<Full<Bytes>> {
    let facts = health.facts();
    let Some(check) = facts.checks.get(&port) else {
        return respond(StatusCode::NOT_FOUND, TEXT, "no Service has this healthCheckNodePort any more\n");
    };
    let is_live = facts.is_live() && facts.written.is_some();
    // Names of Kubernetes have nothing in them that JSON would have to escape.
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{}\",\n\t\t\"name\": \"{}\"\n\t}},\n\t\"localEndpoints\": {},\n\t\"serviceProxyHealthy\": {is_live}\n}}",
        check.namespace, check.name, check.local
    );
    let mut response = json(status(is_live && check.local > 0), body);
    response.headers_mut().insert("x-load-balancing-endpoint-weight", HeaderValue::from(check.local));
    response
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = respond(status, JSON, body);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "tests")]

    use rust_ingress_model::l4::plan::Plan;
    use rust_ingress_model::l4::{L4Endpoint, L4Port, L4Service, L4Settings, NodeFacts, TrafficPolicy, Transport};
    use rust_ingress_model::{ObjectRef, Part, Snapshot};

    use super::*;

    fn plan(leaving: bool, ready: bool) -> Plan {
        let endpoint = L4Endpoint {
            address: "10.244.1.1:80".parse().expect("an address"),
            ready,
            serving: true,
            terminating: !ready,
            node: Some("node1".into()),
            for_zones: Vec::new(),
            for_nodes: Vec::new(),
        };
        let port = L4Port {
            name: "".into(),
            transport: Transport::Tcp,
            port: 80,
            http: None,
            node_port: None,
            without: Vec::new(),
            endpoints: vec![endpoint],
        };
        let service = L4Service {
            cluster_ips: vec!["10.96.0.1".parse().expect("an address")],
            external: TrafficPolicy::Local,
            health_check_node_port: Some(32_000),
            ports: vec![port],
            ..L4Service::default()
        };
        let mut snapshot = Snapshot::default();
        snapshot.services.insert(ObjectRef::new("Service", "shop", "web"), Part::new(service));
        let addresses = vec!["192.0.2.1".parse().expect("an address")];
        let node = NodeFacts { name: "node1".into(), addresses, leaving, ..NodeFacts::default() };
        Plan::empty(L4Settings::default()).next(&snapshot, &node).0
    }

    fn none() -> Plan {
        Plan::empty(L4Settings::default())
    }

    fn ask(health: &Arc<Health>, port: Port, path: &str) -> u16 {
        answer(health, port, path).status().as_u16()
    }

    #[test]
    fn a_node_is_healthy_once_its_rules_are_there_and_until_it_leaves() {
        let health = Arc::new(Health::default());
        assert_eq!((ask(&health, Port::Health, "/healthz"), ask(&health, Port::Health, "/livez")), (503, 200));
        health.planned(&none(), &plan(false, true));
        assert_eq!(ask(&health, Port::Health, "/healthz"), 503);
        health.written();
        assert_eq!(ask(&health, Port::Health, "/healthz"), 200);
        health.planned(&plan(false, true), &plan(true, true));
        health.written();
        assert_eq!((ask(&health, Port::Health, "/healthz"), ask(&health, Port::Health, "/livez")), (503, 200));
    }

    #[test]
    fn a_check_answers_for_ready_endpoints_of_this_node_only() {
        let health = Arc::new(Health::default());
        let at = health.planned(&none(), &plan(false, true));
        assert_eq!(at, ["192.0.2.1:32000".parse().expect("an address")]);
        assert_eq!(ask(&health, Port::Check(32_000), "/"), 503);
        health.written();
        let response = answer(&health, Port::Check(32_000), "/");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-load-balancing-endpoint-weight"]),
            (200, &HeaderValue::from(1))
        );
        health.planned(&plan(false, true), &plan(false, false));
        health.written();
        assert_eq!((ask(&health, Port::Check(32_000), "/"), ask(&health, Port::Check(1), "/")), (503, 404));
    }

    #[test]
    fn metrics_have_kube_proxys_names() {
        let health = Arc::new(Health::default());
        health.metrics.synced(true, std::time::Duration::from_millis(3));
        health.metrics.programmed(std::time::Duration::from_millis(250));
        ask(&health, Port::Health, "/healthz");
        let text = health.metrics.text(&health).expect("metrics");
        for name in [
            "kubeproxy_sync_full_proxy_rules_duration_seconds_count 1",
            "kubeproxy_sync_proxy_rules_duration_seconds_count 1",
            "kubeproxy_network_programming_duration_seconds_sum 0.25",
            "kubeproxy_sync_partial_proxy_rules_duration_seconds_count 0",
            "kubeproxy_proxy_healthz_total{code=\"503\"} 1",
        ] {
            assert!(text.contains(name), "{name} isn't in\n{text}");
        }
    }

    #[test]
    fn changes_are_counted_and_pending_until_they_are_written() {
        let health = Arc::new(Health::default());
        let shows = |lines: &[&str]| {
            let text = health.metrics.text(&health).expect("metrics");
            for line in lines {
                let line = format!("kubeproxy_sync_proxy_rules_{line}\n");
                assert!(text.contains(&line), "{line} isn't in\n{text}");
            }
        };
        health.planned(&none(), &plan(false, true));
        shows(&["service_changes_total 1", "endpoint_changes_total 1", "service_changes_pending 1"]);
        shows(&["no_local_endpoints_total{traffic_policy=\"external\"} 0"]);
        health.written();
        shows(&["service_changes_pending 0", "endpoint_changes_pending 0"]);
        health.planned(&plan(false, true), &plan(false, false));
        shows(&["service_changes_total 1", "endpoint_changes_total 2", "endpoint_changes_pending 1"]);
        health.planned(&plan(false, false), &none());
        shows(&["service_changes_total 2", "endpoint_changes_total 3"]);
    }

    #[test]
    fn a_service_whose_policy_leaves_it_without_endpoints_here_is_counted() {
        let health = Arc::new(Health::default());
        let here = plan(false, true);
        let elsewhere = NodeFacts { name: "node2".into(), ..here.node().clone() };
        let snapshot = Snapshot { services: here.services().clone(), ..Snapshot::default() };
        let (plan, _) = none().next(&snapshot, &elsewhere);
        health.planned(&none(), &plan);
        let text = health.metrics.text(&health).expect("metrics");
        assert!(text.contains("no_local_endpoints_total{traffic_policy=\"external\"} 1\n"), "{text}");
        assert!(text.contains("no_local_endpoints_total{traffic_policy=\"internal\"} 0\n"), "{text}");
    }
}
