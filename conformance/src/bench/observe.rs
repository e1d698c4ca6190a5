//! `bench observe`: what counting one exchange costs a worker, without and with the access log.
//!
//! CPU time of the worker's thread, the least of many batches. Routes are drawn at random, as many as are counted by name,
//! so that the counters come from memory as they do behind many Ingresses.

use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use rust_ingress_model::{BackendKey, ObjectRef, PortRef};
use rust_ingress_proxy::exchange::{Connection, Exchange, Protocol};
use rust_ingress_proxy::observe::{Finished, Observer};
use rust_ingress_proxy::options::{AccessLog, Options};

use tempfile::NamedTempFile;

use super::routes::thread_cpu;
use super::{Figure, Report};

const BATCH: usize = 4096;
const BATCHES: usize = 40;
/// Between two batches with a log, so that the log's writer keeps up and nothing is dropped.
const PAUSE: Duration = Duration::from_millis(60);
const ROUTES: usize = 1000;

/// Measures both.
pub fn run() -> Result<Report> {
    let log = NamedTempFile::new()?;
    let figures = vec![
        measure("counted, one route", AccessLog::Off, 1)?,
        measure("counted, 1,000 routes", AccessLog::Off, ROUTES)?,
        measure("counted and logged, 1,000 routes", AccessLog::File(log.path().to_owned()), ROUTES)?,
    ];
    let lines = BufReader::new(log.reopen()?).lines().count();
    ensure!(lines == BATCH * BATCHES, "{lines} lines were logged of {}; the rest was dropped", BATCH * BATCHES);
    let notes = vec![format!("Thread CPU time of the worker per exchange; the least of {BATCHES} batches of {BATCH}.")];
    Ok(Report { name: "observe", columns: Vec::new(), value: "ns per exchange", figures, notes })
}

fn measure(what: &str, access_log: AccessLog, routes: usize) -> Result<Figure> {
    let logged = access_log != AccessLog::Off;
    let observer = Observer::new(&Options { access_log, ..Options::default() })?;
    let exchanges: Vec<Exchange> = (0..BATCH).map(|at| exchange(&observer, at * 7919 % routes)).collect();
    let finished = Finished { status: 200, request_bytes: 0, response_bytes: 1024 };
    let mut least = f64::MAX;
    for _ in 0..BATCHES {
        let start = thread_cpu();
        for exchange in &exchanges {
            observer.finished(black_box(exchange), &finished);
        }
        least = least.min((thread_cpu() - start) / BATCH as f64);
        if logged {
            sleep(PAUSE);
        }
    }
    observer.stop();
    Ok(Figure { what: what.into(), columns: Vec::new(), value: least, limit: None })
}

/// A request of a browser's size. Routes have names of their own, as in a snapshot.
fn exchange(observer: &Observer, route: usize) -> Exchange {
    let connection = Connection {
        peer: ([192, 0, 2, 7], 50_123).into(),
        local: ([192, 0, 2, 1], 80).into(),
        listener: "http".into(),
        tls: None,
        source: None,
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("shop.example.com"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101"));
    let mut exchange = Exchange::new(Arc::new(connection), Method::GET, Protocol::Http11);
    exchange.line = observer.line(&Uri::from_static("/api/v1/items?page=2"), &headers);
    exchange.request_id = HeaderValue::from_static("7f4a7c159e3779b97f4a7c159e3779b9");
    exchange.route = Some((ObjectRef::new("Ingress", "shop", &format!("web-{route}")), "spec.rules[0].http.paths[1]".into()));
    let service = format!("web-{}", route % 100).into();
    exchange.backend =
        Some(BackendKey { namespace: "shop".into(), service, port: PortRef::Number(80), protocol: None, gateway: None });
    exchange.endpoint = Some(([10, 0, 0, 5], 8080).into());
    exchange.upstream_start = Some(exchange.start);
    exchange.upstream_head = Some(exchange.start);
    exchange
}
