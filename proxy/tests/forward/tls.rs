//! TLS to endpoints: what is verified, what isn't, and what a failure says.

use std::sync::Arc;

use http::Response;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rust_ingress_model::backend::{BackendTls, SubjectName, Verify};
use rust_ingress_model::{AppProtocol, Fingerprint};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::rig::*;

/// An authority, and a server configuration with a certificate of it for a name.
fn authority(name: &str, alpn: &[&str]) -> (String, Arc<rustls::ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("spiffe://test/web".try_into().unwrap()));
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    (issuer.as_ref().pem(), Arc::new(config))
}

async fn server(config: Arc<rustls::ServerConfig>) -> Server {
    Server::tls(
        |request: http::Request<hyper::body::Incoming>| async move { Response::new(full(format!("{:?}", request.version()))) },
        config,
    )
    .await
}

async fn ask(server: &Server, protocol: AppProtocol, tls: BackendTls) -> Got {
    let mut backend = backend(protocol, &[server.address]);
    backend.tls = Some(tls);
    get(&Front::start(Plan::backend(backend))).await
}

fn verified(name: &str, authority: String) -> BackendTls {
    BackendTls { server_name: Some(name.into()), verify: Verify::Authorities(vec![authority]), ..BackendTls::default() }
}

#[test]
fn http1_and_http2_are_spoken_over_tls() {
    run(async {
        let (_, config) = authority("web.test", &["h2", "http/1.1"]);
        let server = server(config).await;
        for (protocol, version) in [(AppProtocol::Https, "HTTP/1.1"), (AppProtocol::H2Tls, "HTTP/2.0")] {
            let got = ask(&server, protocol, BackendTls::default()).await;
            assert_eq!((got.status, got.text()), (200, version));
        }
    });
}

#[test]
fn a_certificate_is_verified_where_the_backend_says_so() {
    run(async {
        let (pem, config) = authority("web.test", &["http/1.1"]);
        let server = server(config).await;
        let https = AppProtocol::Https;
        assert_eq!(ask(&server, https, verified("web.test", pem.clone())).await.status, 200);
        let cases = [
            ("another name", verified("other.test", pem.clone())),
            ("another authority", verified("web.test", authority("web.test", &[]).0)),
            ("the system's", BackendTls { verify: Verify::System, ..verified("web.test", String::new()) }),
            ("no authority at all", BackendTls { verify: Verify::Authorities(Vec::new()), ..BackendTls::default() }),
            (
                "no key for the client's certificate",
                BackendTls { client_certificate: Some(Fingerprint::of_chain(&[b"a certificate"])), ..BackendTls::default() },
            ),
            ("a bad name", BackendTls { server_name: Some("not a name".into()), ..BackendTls::default() }),
        ];
        for (what, tls) in cases {
            let got = ask(&server, https, tls).await;
            assert_eq!((got.status, got.header("x-fault")), (502, "upstream_tls"), "{what}");
            assert!(got.text().contains("default/web:80"), "{}", got.text());
        }
    });
}

#[test]
fn subject_names_stand_in_for_the_name_that_is_asked_for() {
    run(async {
        let (pem, config) = authority("web.test", &["http/1.1"]);
        let server = server(config).await;
        let named = |name: &str, subject_names| BackendTls { subject_names, ..verified(name, pem.clone()) };
        let (dns, uri) = (|name: &str| SubjectName::Dns(name.into()), |name: &str| SubjectName::Uri(name.into()));
        let cases = [
            (named("other.test", vec![dns("web.test")]), 200),
            (named("other.test", vec![dns("*.test")]), 200),
            (named("other.test", vec![uri("spiffe://test/web")]), 200),
            (named("other.test", vec![uri("spiffe://test/other"), dns("web.test")]), 200),
            (named("web.test", vec![dns("other.test"), uri("spiffe://test/other")]), 502),
            (named("web.test", vec![dns("*.web.test")]), 502),
            (BackendTls { subject_names: vec![dns("web.test")], ..verified("web.test", authority("web.test", &[]).0) }, 502),
        ];
        for (tls, status) in cases {
            let names = tls.subject_names.clone();
            assert_eq!(ask(&server, AppProtocol::Https, tls).await.status, status, "{names:?}");
        }
    });
}

#[test]
fn an_endpoint_without_tls_or_without_http2_over_it_is_502() {
    run(async {
        let plain = Server::named("plain").await;
        let got = ask(&plain, AppProtocol::Https, BackendTls::default()).await;
        assert_eq!((got.status, got.header("x-fault")), (502, "upstream_tls"));
        let (_, config) = authority("web.test", &[]);
        let got = ask(&server(config).await, AppProtocol::H2Tls, BackendTls::default()).await;
        assert_eq!((got.status, got.header("x-fault")), (502, "upstream_tls"));
    });
}

#[test]
fn an_endpoint_that_never_ends_its_handshake_is_a_connect_timeout() {
    run(async {
        let silent = raw(|stream, _| async move {
            tokio::time::sleep(PATIENCE).await;
            drop(stream);
        })
        .await;
        let plan = Plan::backend(backend(AppProtocol::Https, &[silent])).rule(|rule| rule.timeouts.connect_ms = Some(50));
        let got = get(&Front::start(plan)).await;
        assert_eq!((got.status, got.header("x-fault")), (504, "connect_timeout"));
    });
}
