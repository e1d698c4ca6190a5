//! The relay: what it takes it serves as hyper would, what it doesn't it hands over with nothing lost. Endpoints here write
//! their header names in capitals: hyper's answers have them in lower case, the relay's as they came.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rust_ingress_model::{Backend, Discovery, HostPattern, Part, PathMatch, Rule, Timeouts};
use rust_ingress_proxy::options::{AccessLog, Options};

use crate::support::{Client, Draft, Echo, PATIENCE, Served, backend_key, header, options, rule, status};

/// An endpoint whose every connection is served by this function, with its number from 1.
fn endpoint(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let (count, serve) = (connections.clone(), Arc::new(serve));
    thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            let (number, serve) = (count.fetch_add(1, SeqCst) + 1, serve.clone());
            thread::spawn(move || serve(stream, number));
        }
    });
    (address, connections)
}

/// Reads a request's head; `None` when the connection ends.
fn head(stream: &mut TcpStream) -> Option<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(text).ok()
}

/// An endpoint that answers every request's head with these bytes; an answer without a length ends its connection.
fn answering(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    endpoint(move |mut stream, _| {
        while head(&mut stream).is_some() {
            let closes = answer.contains("Connection: close");
            if stream.write_all(answer.as_bytes()).is_err() || closes {
                return;
            }
        }
    })
}

/// One response, its body still as it is framed: by length, by chunks, or none.
fn framed(client: &mut Client, head_only: bool) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    let mut until = |text: &mut Vec<u8>, end: &[u8]| {
        while !text.ends_with(end) {
            assert_eq!(client.0.read(&mut byte).unwrap(), 1, "closed after {:?}", String::from_utf8_lossy(text));
            text.push(byte[0]);
        }
    };
    until(&mut text, b"\r\n\r\n");
    let seen = String::from_utf8(text.clone()).unwrap();
    if head_only {
        return seen;
    }
    if header(&seen, "transfer-encoding") == Some("chunked") {
        until(&mut text, b"0\r\n\r\n");
    } else if let Some(length) = header(&seen, "content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        client.0.read_exact(&mut body).unwrap();
        text.extend_from_slice(&body);
    }
    String::from_utf8(text).unwrap()
}

fn served(address: SocketAddr) -> Served {
    Served::new(options(), &Draft::to(address))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn plain_requests_are_relayed_and_others_handed_over_in_their_order() {
    let echo = Echo::new();
    let served = served(echo.address);
    let mut client = served.client();
    client.send(
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
         POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    for (path, relayed) in [("/1", true), ("/2", true), ("/3", false), ("/4", false)] {
        let answer = client.response();
        assert!(answer.contains(&format!("{path} HTTP/1.1\r\n")), "{path}: {answer}");
        assert_eq!(answer.contains("Content-Type: "), relayed, "{path}: {answer}");
        assert!(header(&answer, "date").is_some(), "{answer}");
    }
    assert_eq!(echo.count(), 4);
}

#[test]
fn responses_are_framed_as_they_must_be_and_the_connection_serves_on() {
    for (name, method, answer, expected) in [
        ("length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"),
        ("no body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("one length twice", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3, 3\r\n\r\nabc", "abc"),
        (
            "chunks",
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2  \r\nde\r\n0\r\nT: u\r\n\r\n",
            "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        ),
        (
            "chunks beside a length",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "1\r\na\r\n0\r\n\r\n",
        ),
        ("until the end", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc", "3\r\nabc\r\n0\r\n\r\n"),
        ("HTTP/1.0", "GET", "HTTP/1.0 200 Fine\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", "a"),
        ("HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", ""),
        ("HEAD of chunks", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""),
        ("204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", ""),
    ] {
        let served = served(answering(answer).0);
        let mut client = served.client();
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
            let empty = method == "HEAD" || answer.contains(" 304 ") || answer.contains(" 204 ");
            let got = framed(&mut client, empty);
            let (head, body) = got.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, expected, "{name}: {got}");
            assert!(head.matches("ength: ").count() + head.matches("ransfer-encoding").count() <= 1, "{name}: {head}");
            assert!(!head.contains("lose") && !head.contains("T: u"), "{name}: {head}");
        }
    }
}

#[test]
fn a_reason_and_fields_of_the_endpoint_pass_and_those_of_its_hop_do_not() {
    let served = served(
        answering(
            "HTTP/1.1 299 All Is Well\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nKeep-Alive: 5\r\n\
             Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nContent-Length: 0\r\n\r\n",
        )
        .0,
    );
    let mut client = served.client();
    client.send(GET);
    let answer = client.response();
    assert!(answer.starts_with("HTTP/1.1 299 All Is Well\r\nDate: Sun, 06 Nov 1994"), "{answer}");
    assert_eq!(answer.matches("Set-Cookie: ").count(), 2, "{answer}");
    assert!(!answer.contains("live") && !answer.contains("Mine") && answer.matches("ate: ").count() == 1, "{answer}");
}

#[test]
fn interim_responses_are_dropped_and_counted() {
    let (address, _) = answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let health = Some("127.0.0.1:0".parse().unwrap());
    let served = Served::new(Options { health, ..options() }, &Draft::to(address));
    let mut client = served.client();
    client.send(GET);
    let answer = client.response();
    assert!(status(&answer) == 200 && answer.ends_with("ok") && !answer.contains("Link"), "{answer}");
    let mut health = Client::to(served.proxy.observer().health_addr().unwrap());
    health.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(health.rest().contains("rust_ingress_interim_responses_dropped_total 2"), "both are counted");
}

#[test]
fn what_is_no_response_is_502_and_says_so_in_the_log() {
    for (name, answer, kind) in [
        ("not HTTP", "SSH-2.0-x\r\n\r\n", "upstream_protocol"),
        ("an unasked switch", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "upstream_protocol"),
        ("lengths that differ", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "upstream_protocol"),
        ("a coding that isn't chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab", "upstream_protocol"),
        ("an end in its head", "HTTP/1.1 200 OK\r\nConnection: close\r\n", "upstream_reset"),
    ] {
        let (address, _) = endpoint(move |mut stream, _| {
            if head(&mut stream).is_some() {
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let served = served(address);
        let mut client = served.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        let answer = client.response();
        assert!(status(&answer) == 502 && answer.contains(kind), "{name}: {answer}");
        client.send("GET /%2f HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(status(&client.response()), 400, "{name}: the connection serves on");
    }
}

#[test]
fn a_response_that_breaks_off_is_broken_for_the_client_too() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n",
    ] {
        let (address, _) = endpoint(move |mut stream, _| {
            if head(&mut stream).is_some() {
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let text = served(address).raw(GET);
        assert!(text.contains("200 OK") && text.contains("abc"), "{text}");
        assert!(!text.contains("0\r\n\r\n"), "it doesn't look whole: {text}");
    }
}

/// An endpoint that answers once per connection, keeps it open, and closes it when another request comes.
fn closes_on_second() -> (SocketAddr, Arc<AtomicUsize>) {
    endpoint(|mut stream, _| {
        if head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            head(&mut stream);
        }
    })
}

#[test]
fn the_reuse_race_is_lost_once_for_idempotent_requests_alone() {
    let (address, connections) = closes_on_second();
    let served = served(address);
    let mut client = served.client();
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(status(&client.response()), 200);
    }
    assert_eq!(connections.load(SeqCst), 3, "each race was run again on a new connection");
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    let answer = client.response();
    assert!(status(&answer) == 502 && answer.contains("upstream_reset"), "it may have been seen: {answer}");
}

#[test]
fn connections_are_shared_with_hyper_and_an_end_while_idle_costs_nothing() {
    let (address, connections) = endpoint(|mut stream, number| {
        for _ in 0..4 {
            let Some(request) = head(&mut stream) else { return };
            if request.to_ascii_lowercase().contains("chunked") {
                let mut rest = [0; 13];
                stream.read_exact(&mut rest).unwrap();
            }
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}").as_bytes()).unwrap();
        }
    });
    let served = Served::new(Options { workers: 1, ..options() }, &Draft::to(address));
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for (request, connection) in [(GET, "1"), (chunked, "1"), (GET, "1"), (chunked, "1")] {
        let mut client = served.client();
        client.send(request);
        assert!(client.response().ends_with(connection), "{request}");
    }
    thread::sleep(Duration::from_millis(50));
    let mut client = served.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert!(client.response().ends_with('2'), "the first connection has ended while it was idle");
    assert_eq!(connections.load(SeqCst), 2);
}

#[test]
fn a_refused_connection_is_tried_on_another_endpoint() {
    let echo = Echo::new();
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let mut draft = Draft::to(echo.address);
    let mut backend = Backend::clone(draft.snapshot.backends.get(&backend_key()).unwrap());
    if let Discovery::Endpoints(all) = &mut backend.discovery {
        let mut refusing = all[0].clone();
        refusing.address = gone;
        all.push(refusing);
    }
    draft.snapshot.backends.insert(backend_key(), Part::new(backend));
    let served = Served::new(options(), &draft);
    for _ in 0..8 {
        let mut client = served.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        let answer = client.response();
        assert!(status(&answer) == 200 && answer.ends_with("abc"), "{answer}");
    }
    let served = self::served(gone);
    let mut client = served.client();
    client.send(GET);
    let answer = client.response();
    assert!(status(&answer) == 502 && answer.contains("connect_failed"), "{answer}");
}

#[test]
fn large_bodies_go_both_ways_with_backpressure() {
    let (address, _) = endpoint(|mut stream, _| {
        let head = head(&mut stream).unwrap();
        let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").unwrap();
        let mut buffer = vec![0; 30_000];
        let mut left = length;
        while left > 0 {
            let read = stream.read(&mut buffer).unwrap();
            stream.write_all(&buffer[..read]).unwrap();
            left -= read;
        }
        let _ = stream.read(&mut buffer);
    });
    let served = served(address);
    let mut client = served.client();
    let length = 20_000_000;
    let body: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    let mut writer = client.0.try_clone().unwrap();
    let sent = body.clone();
    let writing = thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        let mut byte = [0];
        client.0.read_exact(&mut byte).unwrap();
        answer.push(byte[0].into());
    }
    thread::sleep(Duration::from_millis(100));
    let mut got = vec![0; body.len()];
    client.0.read_exact(&mut got).unwrap();
    assert!(got == body, "what came back is what was sent");
    writing.join().unwrap();
}

#[test]
fn an_answer_before_the_end_of_the_body_is_seen_and_the_connection_ends() {
    let (address, _) = endpoint(|mut stream, _| {
        head(&mut stream);
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").unwrap();
    });
    let served = served(address);
    let mut client = served.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    let answer = client.rest();
    assert!(status(&answer) == 403 && answer.ends_with("no"), "{answer}");
    assert_eq!(header(&answer, "connection"), Some("close"), "{answer}");
}

/// An endpoint that takes a request, answers with these bytes, and says when its connection has ended.
fn watching(answer: &'static str) -> (SocketAddr, Receiver<()>) {
    let (gone, ended) = channel();
    let gone = std::sync::Mutex::new(gone);
    let (address, _) = endpoint(move |mut stream, _| {
        head(&mut stream);
        stream.write_all(answer.as_bytes()).unwrap();
        while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
        gone.lock().unwrap().send(()).unwrap();
    });
    (address, ended)
}

#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"] {
        let (address, ended) = watching(answer);
        let served = served(address);
        let mut client = served.client();
        client.send(GET);
        thread::sleep(Duration::from_millis(100));
        drop(client);
        ended.recv_timeout(PATIENCE).expect("the endpoint's connection is closed");
    }
}

fn timed(timeouts: Timeouts, address: SocketAddr) -> Served {
    let rule = Rule { timeouts, ..rule(PathMatch::Prefix("/".into())) };
    Served::new(options(), &Draft::to(address).host(HostPattern::Any, vec![rule]))
}

#[test]
fn timeouts_are_answered_by_their_kind() {
    let (silent, _) = watching("");
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab";
    for (timeouts, request, expected, kind) in [
        (Timeouts { response_headers_ms: Some(200), ..Timeouts::default() }, GET, 504, "response_timeout"),
        (Timeouts { request_ms: Some(200), ..Timeouts::default() }, GET, 504, "request_timeout"),
        (Timeouts { request_ms: Some(200), ..Timeouts::default() }, post, 504, "request_timeout"),
        (Timeouts { idle_ms: Some(200), ..Timeouts::default() }, post, 408, "sent nothing"),
    ] {
        let served = timed(timeouts, silent);
        let mut client = served.client();
        client.send(request);
        let answer = client.response();
        assert!(status(&answer) == expected && answer.contains(kind), "{kind}: {answer}");
    }
    let (stuck, _) = watching("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    let served = timed(Timeouts { idle_ms: Some(200), ..Timeouts::default() }, stuck);
    let answer = served.raw(GET);
    assert!(answer.ends_with("abc"), "cut off: {answer}");
}

#[test]
fn a_trusted_proxys_word_is_kept_and_added_to() {
    let echo = Echo::new();
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let served = Served::new(Options { trusted_proxies, send_forwarded: true, ..options() }, &Draft::to(echo.address));
    let mut client = served.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n\
         X-Request-Id: theirs\r\nX_Real_IP: 6.6.6.6\r\n\r\n",
    );
    let seen = client.response().split_once("\r\n\r\n").unwrap().1.to_ascii_lowercase();
    for line in [
        "x-forwarded-for: 203.0.113.9, 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: b",
        "x-real-ip: 203.0.113.9",
        "x-request-id: theirs",
        "forwarded: for=127.0.0.1;host=\"a\";proto=http",
    ] {
        assert_eq!(seen.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line}: {seen}");
    }
    assert!(!seen.contains("6.6.6.6") && seen.matches("x-forwarded-").count() == 4, "{seen}");
}

#[test]
fn the_access_log_says_of_a_relayed_request_what_it_says_of_any() {
    let echo = Echo::new();
    let file = std::env::temp_dir().join(format!("rust-ingress-relayed-{}.log", std::process::id()));
    let served = Served::new(Options { access_log: AccessLog::File(file.clone()), ..options() }, &Draft::to(echo.address));
    let mut client = served.client();
    client.send("POST /a?b HTTP/1.1\r\nHost: a.test\r\nUser-Agent: u\r\nContent-Length: 3\r\n\r\nabc");
    let relayed = client.response();
    client.send("POST /a?b HTTP/1.1\r\nHost: a.test\r\nUser-Agent: u\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    client.response();
    served.proxy.stop();
    let log = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() == 2 && relayed.contains("Content-Type"), "{log}");
    let keys = |line: &str| line.split("\",\"").count();
    assert_eq!(keys(lines[0]), keys(lines[1]), "the same fields: {log}");
    for said in [
        r#""method":"POST","host":"a.test","path":"/a","query":"b","protocol":"HTTP/1.1","status":200"#,
        r#""request_bytes":3"#,
        r#""user_agent":"u""#,
        r#""route_name":"web""#,
        r#""service_name":"web""#,
    ] {
        assert!(lines.iter().all(|line| line.contains(said)), "{said}: {log}");
    }
}
