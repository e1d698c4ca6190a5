//! Certificates of clients: asked for by those listeners that say so, checked against their authorities, and the bad fails closed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as Key};
use rust_ingress_model::{ClientCertificates, Part, TlsSet};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Client, Draft, Echo, Served, options, status};
use crate::tls::certificate;

/// An authority in PEM, and a client's certificate of it.
struct Authority {
    pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, Key::generate().unwrap()).unwrap();
    let key = Key::generate().unwrap();
    let leaf = CertificateParams::new(vec!["client.test".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    Authority { pem: issuer.as_ref().pem(), chain: vec![leaf.der().clone()], key: key.serialize_der() }
}

/// With clients checked so.
fn checked(draft: Draft, clients: ClientCertificates) -> Draft {
    let mut draft = draft;
    let set = TlsSet::clone(draft.snapshot.tls_sets.get("ingress").unwrap());
    draft.snapshot.tls_sets.insert("ingress".into(), Part::new(TlsSet { clients: Some(clients), ..set }));
    draft
}

/// A client that trusts this certificate, and shows its own.
fn config(server: &CertificateDer<'static>, own: Option<&Authority>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(server.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_auth_cert(own.chain.clone(), PrivateKeyDer::try_from(own.key.clone()).unwrap()).unwrap(),
    })
}

/// What a request gets; `None`: no answer, because of TLS.
fn ask(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<u16> {
    let name = ServerName::try_from("a.example").unwrap();
    let connection = ClientConnection::new(config.clone(), name).unwrap();
    let mut tls: StreamOwned<ClientConnection, TcpStream> = StreamOwned::new(connection, Client::to(address).0);
    tls.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = Vec::new();
    tls.read_to_end(&mut text).ok()?;
    (!text.is_empty()).then(|| status(&String::from_utf8_lossy(&text)))
}

#[test]
fn only_certificates_of_the_authorities_are_let_in_unless_any_is() {
    let (echo, pair, good, bad) = (Echo::new(), certificate(&["a.example"]), authority(), authority());
    let server = CertificateDer::from(pair.chain[0].clone());
    let draft = || Draft::to(echo.address).https(&[], Some(&pair));
    let clients = |insecure_fallback| ClientCertificates { authorities: vec![good.pem.clone()], insecure_fallback };
    let served = Served::new(options(), &checked(draft(), clients(false)));
    let address = served.address("https");
    let (with_good, with_bad, without) = (config(&server, Some(&good)), config(&server, Some(&bad)), config(&server, None));
    assert_eq!([&with_good, &with_bad, &without].map(|config| ask(address, config)), [Some(200), None, None]);

    checked(draft(), clients(true)).publish(&served.proxy);
    assert_eq!([&with_good, &with_bad, &without].map(|config| ask(address, config)), [Some(200); 3]);

    checked(draft(), clients(false)).publish(&served.proxy);
    assert_eq!(
        [&with_good, &with_bad, &without].map(|config| ask(address, config)),
        [Some(200), None, None],
        "no session of before"
    );

    let none = ClientCertificates { authorities: Vec::new(), insecure_fallback: false };
    checked(draft(), none).publish(&served.proxy);
    assert_eq!([&with_good, &with_bad, &without].map(|config| ask(address, config)), [None; 3], "nobody can be checked");
}
