//! Every exchange leaves a record, refused ones too: access log and metrics.

use std::time::Instant;

use rust_ingress_proxy::options::{AccessLog, Options};

use crate::support::{Client, Draft, Echo, PATIENCE, Served, options, status};

#[test]
fn what_the_gate_refuses_is_logged_and_counted_like_any_request() {
    let echo = Echo::new();
    let file = std::env::temp_dir().join(format!("rust-ingress-records-{}.log", std::process::id()));
    let health = Some("127.0.0.1:0".parse().unwrap());
    let served =
        Served::new(Options { access_log: AccessLog::File(file.clone()), health, ..options() }, &Draft::to(echo.address));
    assert_eq!(status(&served.raw("GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n")), 400, "refused on the wire");
    assert_eq!(status(&served.raw("GET /a%2fb HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")), 400, "refused after parsing");
    assert_eq!(status(&served.raw("GET /good HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")), 200);
    let mut health = Client::to(served.proxy.observer().health_addr().unwrap());
    health.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let metrics = health.rest();
    let faults = metrics.lines().find(|line| line.starts_with("rust_ingress_faults_total") && line.contains("bad_request"));
    assert!(faults.is_some_and(|line| line.ends_with(" 2")), "{faults:?}");
    served.proxy.stop();
    let deadline = Instant::now() + PATIENCE;
    let log = loop {
        let log = std::fs::read_to_string(&file).unwrap_or_default();
        if log.lines().count() >= 3 || Instant::now() > deadline {
            break log;
        }
    };
    std::fs::remove_file(&file).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert_eq!(lines.iter().filter(|line| line.contains("bad_request") && line.contains("400")).count(), 2, "{log}");
    assert!(lines.iter().any(|line| line.contains("/good") && line.contains("200")), "{log}");
}

/// The log once said `GET /`, of a stand-in that hyper gets in place of the refused head.
#[test]
fn a_head_refused_on_the_wire_is_logged_as_it_was_sent() {
    let echo = Echo::new();
    let file = std::env::temp_dir().join(format!("rust-ingress-refused-{}.log", std::process::id()));
    let served = Served::new(Options { access_log: AccessLog::File(file.clone()), ..options() }, &Draft::to(echo.address));
    let refused = [
        (
            "POST /bad path?q HTTP/1.1\r\nHost: a.test\r\n\r\n",
            r#""method":"POST","host":"a.test","path":"/bad%20path","query":"q","protocol":"HTTP/1.1""#,
        ),
        (
            "PUT /x HTTP/1.0\r\nHost: b.test\r\nTransfer-Encoding: chunked\r\n\r\n",
            r#""method":"PUT","host":"b.test","path":"/x","protocol":"HTTP/1.0""#,
        ),
        ("\x16\x03\x01\x02\r\n\r\n", r#""method":"-","protocol":"HTTP/1.1""#),
    ];
    for (head, _) in refused {
        assert_eq!(status(&served.raw(head)), 400, "{head:?}");
    }
    served.proxy.stop();
    let log = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    for (head, logged) in refused {
        assert!(log.contains(logged), "{head:?} isn't logged as {logged}: {log}");
    }
    assert!(!log.contains("GET"), "{log}");
}
