//! Keys reach the child, change while it runs, and are there again after it died.

use std::net::SocketAddr;
use std::sync::Arc;

use rust_ingress::certificate;
use rust_ingress::plane::Plane as _;
use rust_ingress_model::{Fingerprint, HostPattern, KeyPair, KeyStore, Listener, Part, Protocol, Snapshot, TlsSet};
use rust_ingress_translate::DefaultCertificate;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::killed::kill;
use crate::support::{endpoint, listener, snapshot, start, until};

/// A self-signed certificate for `localhost`, under the fingerprint of its own content.
fn pair() -> (DefaultCertificate, Fingerprint) {
    let made = certificate::make().unwrap();
    let fingerprint = made.pair.fingerprint();
    (made, fingerprint)
}

fn secure(draft: &Snapshot, fingerprint: Fingerprint, certificate: &DefaultCertificate) -> Arc<Snapshot> {
    let mut draft = draft.clone();
    let listener = Listener { protocol: Protocol::Https, tls: Some("ingress".into()), ..listener(0) };
    draft.listeners = [("https".into(), Part::new(listener))].into();
    let by_host = [(HostPattern::Exact("localhost".into()), fingerprint)].into();
    draft.tls_sets.insert("ingress".into(), Part::new(TlsSet { by_host, ..TlsSet::default() }));
    draft.certificates = [(fingerprint, Part::new(certificate.certificate.clone()))].into();
    Arc::new(draft)
}

fn store(fingerprint: Fingerprint, pair: &Arc<KeyPair>) -> KeyStore {
    let mut keys = KeyStore::default();
    keys.insert_as(fingerprint, pair.clone());
    keys
}

/// Whether a client that trusts this certificate alone comes to a handshake.
fn trusts(address: SocketAddr, pair: &KeyPair) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(pair.chain[0].clone().into()).unwrap();
    let provider = rust_ingress_proxy::server::tls::provider();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let mut client = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    while client.is_handshaking() {
        match client.complete_io(&mut stream) {
            Ok((0, 0)) | Err(_) => return false,
            Ok(_) => {}
        }
    }
    true
}

#[test]
fn a_certificate_is_swapped_and_survives_the_childs_death() {
    let child = start();
    let draft = snapshot(endpoint("here"));
    let ((one, first), (two, second)) = (pair(), pair());
    child.publish(secure(&draft, first, &one), &store(first, &one.pair));
    let https = child.bound()[0].1;
    assert!(trusts(https, &one.pair) && !trusts(https, &two.pair));
    child.publish(secure(&draft, second, &two), &store(second, &two.pair));
    assert!(trusts(https, &two.pair) && !trusts(https, &one.pair));
    let old = kill(&child);
    until("another process runs", || child.process().is_some_and(|new| new != old));
    assert!(trusts(https, &two.pair));
    // The certificate that is made at start has a name that isn't its digest.
    child.publish(secure(&draft, Fingerprint::SELF_MADE, &one), &store(Fingerprint::SELF_MADE, &one.pair));
    assert!(trusts(https, &one.pair));
    child.stop();
}

#[test]
fn a_key_that_comes_later_is_served_then() {
    let child = start();
    let (made, fingerprint) = pair();
    let snapshot = secure(&snapshot(endpoint("here")), fingerprint, &made);
    child.publish(snapshot.clone(), &KeyStore::default());
    let https = child.bound()[0].1;
    assert!(!trusts(https, &made.pair), "no key, no handshake");
    child.publish(snapshot, &store(fingerprint, &made.pair));
    assert!(trusts(https, &made.pair));
    child.stop();
}
