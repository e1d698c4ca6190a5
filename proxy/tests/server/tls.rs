//! TLS: certificates by SNI, default or none, replaced while connections live; ALPN; slow handshakes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair as Key};
use rust_ingress_model::{Certificate, HostPattern, KeyPair, Listener, Part, Protocol, TlsSet};
use rust_ingress_proxy::options::{DefaultTimeouts, Options};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Client, Draft, Echo, Served, listener, options, status};

/// A certificate that is its own authority.
pub fn certificate(names: &[&str]) -> Arc<KeyPair> {
    let key = Key::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    Arc::new(KeyPair { chain: vec![certificate.der().to_vec()], key: key.serialize_der().into() })
}

impl Draft {
    /// With a TLS listener `https`, these certificates by host, and a default.
    pub fn https(mut self, by_host: &[(&str, &Arc<KeyPair>)], default: Option<&Arc<KeyPair>>) -> Self {
        let mut set = TlsSet::default();
        for pair in by_host.iter().map(|(_, pair)| *pair).chain(default) {
            let certificate = Certificate { source: None, dns_names: Vec::new(), not_after: i64::MAX };
            self.snapshot.certificates.insert(pair.fingerprint(), Part::new(certificate));
            self.keys.insert(pair.clone());
        }
        for (host, pair) in by_host {
            set.by_host.insert(host.parse::<HostPattern>().unwrap(), pair.fingerprint());
        }
        set.default = default.map(|pair| pair.fingerprint());
        self.snapshot.tls_sets.insert("ingress".into(), Part::new(set));
        self.listen("https", Listener { protocol: Protocol::Https, tls: Some("ingress".into()), ..listener() })
    }
}

/// A TLS client's configuration that trusts these.
pub fn trusting(pairs: &[&Arc<KeyPair>], alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for pair in pairs {
        roots.add(CertificateDer::from(pair.chain[0].clone())).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Connects and shakes hands.
fn connect(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Result<Tls, std::io::Error> {
    let connection = ClientConnection::new(config.clone(), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut tls = StreamOwned::new(connection, Client::to(address).0);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

/// One request, to the end of the connection.
fn get(tls: &mut Tls, host: &str) -> String {
    tls.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut text = Vec::new();
    tls.read_to_end(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn sni_picks_the_certificate_and_host_the_route() {
    let echo = Echo::new();
    let (exact, star, default) = (certificate(&["a.example"]), certificate(&["*.b.test"]), certificate(&["default.test"]));
    let draft = Draft::to(echo.address).https(&[("a.example", &exact), ("*.b.test", &star)], Some(&default));
    let served = Served::new(options(), &draft);
    let address = served.address("https");
    for (name, pair) in [("a.example", &exact), ("x.b.test", &star)] {
        let mut tls = connect(address, &trusting(&[pair], &[]), name).expect("its own certificate is presented");
        let answer = get(&mut tls, "other.example").to_ascii_lowercase();
        assert!(status(&answer) == 200 && answer.contains("x-forwarded-proto: https\r\n"), "{answer}");
    }
    for name in ["x.y.b.test", "b.test", "unknown.test"] {
        let error = connect(address, &trusting(&[&exact, &star, &default], &[]), name).expect_err("the default isn't for it");
        assert!(error.to_string().contains("not valid for name"), "{error}");
    }
    assert!(connect(address, &trusting(&[&default], &[]), "default.test").is_ok());
}

#[test]
fn without_a_default_unknown_names_are_refused() {
    let echo = Echo::new();
    let one = certificate(&["a.example"]);
    let served = Served::new(options(), &Draft::to(echo.address).https(&[("a.example", &one)], None));
    let error = connect(served.address("https"), &trusting(&[&one], &[]), "b.example").expect_err("refused");
    assert!(error.to_string().contains("alert"), "{error}");
    assert!(connect(served.address("https"), &trusting(&[&one], &[]), "a.example").is_ok());
}

#[test]
fn a_certificate_is_replaced_without_touching_connections() {
    let echo = Echo::new();
    let (old, new) = (certificate(&["a.example"]), certificate(&["a.example"]));
    let served = Served::new(options(), &Draft::to(echo.address).https(&[("a.example", &old)], None));
    let address = served.address("https");
    let mut open = connect(address, &trusting(&[&old], &[]), "a.example").unwrap();
    Draft::to(echo.address).https(&[("a.example", &new)], None).publish(&served.proxy);
    assert!(connect(address, &trusting(&[&old], &[]), "a.example").is_err(), "new connections get the new one");
    assert!(connect(address, &trusting(&[&new], &[]), "a.example").is_ok());
    assert_eq!(status(&get(&mut open, "a.example")), 200, "the old connection lives on");
    assert_eq!(served.address("https"), address, "on the same socket");
}

#[test]
fn a_bad_key_takes_only_its_own_host() {
    let echo = Echo::new();
    let (good, other) = (certificate(&["a.example"]), certificate(&["b.example"]));
    let bad = Arc::new(KeyPair { chain: other.chain.clone(), key: good.key.to_vec().into() });
    let served = Served::new(options(), &Draft::to(echo.address).https(&[("b.example", &bad)], Some(&good)));
    assert!(connect(served.address("https"), &trusting(&[&good], &[]), "a.example").is_ok());
    assert!(connect(served.address("https"), &trusting(&[&other, &good], &[]), "b.example").is_err());
}

#[test]
fn alpn_settles_on_the_best_that_both_speak() {
    let echo = Echo::new();
    let one = certificate(&["a.example"]);
    let served = Served::new(options(), &Draft::to(echo.address).https(&[], Some(&one)));
    for (offers, settled) in
        [(&[b"h2".as_slice(), b"http/1.1"][..], Some(b"h2".as_slice())), (&[b"http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let tls = connect(served.address("https"), &trusting(&[&one], offers), "a.example").unwrap();
        assert_eq!(tls.conn.alpn_protocol(), settled);
    }
}

#[test]
fn sessions_are_resumed_by_tickets_on_any_worker() {
    let echo = Echo::new();
    let one = certificate(&["a.example"]);
    let served = Served::new(options(), &Draft::to(echo.address).https(&[], Some(&one)));
    let config = trusting(&[&one], &[]);
    let mut resumed = 0;
    for _ in 0..6 {
        let mut tls = connect(served.address("https"), &config, "a.example").unwrap();
        assert_eq!(status(&get(&mut tls, "a.example")), 200);
        resumed += usize::from(tls.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed));
    }
    assert_eq!(resumed, 5, "all but the first");
}

#[test]
fn a_handshake_that_does_not_end_is_cut() {
    let echo = Echo::new();
    let one = certificate(&["a.example"]);
    let timeouts = DefaultTimeouts { header_read: Duration::from_millis(200), ..DefaultTimeouts::default() };
    let served = Served::new(Options { timeouts, ..options() }, &Draft::to(echo.address).https(&[], Some(&one)));
    let mut silent = Client::to(served.address("https"));
    assert_eq!(silent.rest(), "");
    let mut plain = Client::to(served.address("https"));
    plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!plain.rest().contains("HTTP/1.1"), "plain HTTP on a TLS port gets an alert");
}

#[test]
fn the_suite_that_processors_help_with_is_preferred() {
    let pair = certificate(&["a.example"]);
    let served = Served::new(options(), &Draft::to(Echo::new().address).https(&[], Some(&pair)));
    let config = trusting(&[&pair], &[b"http/1.1"]);
    let first = config.crypto_provider().cipher_suites[0].suite();
    assert_eq!(first, rustls::CipherSuite::TLS13_AES_256_GCM_SHA384, "the client would take another one");
    let tls = connect(served.address("https"), &config, "a.example").unwrap();
    let suite = tls.conn.negotiated_cipher_suite().map(|suite| suite.suite());
    assert_eq!(suite, Some(rustls::CipherSuite::TLS13_AES_128_GCM_SHA256));
}
