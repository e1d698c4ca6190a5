//! A Gateway that asks clients for certificates, shows endpoints its own and verifies theirs (BackendTLSPolicy), and has a further
//! listener of a ListenerSet: with traffic, from a folder.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::program::Program;

/// A certificate and its key, both DER.
struct Pair {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    pem: (String, String),
}

impl Pair {
    fn chain(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.certificate.clone()], PrivateKeyDer::try_from(self.key.clone()).unwrap())
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pair(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        Pair { certificate: leaf.der().clone(), key: key.serialize_der(), pem: (leaf.pem(), key.serialize_pem()) }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.as_ref().der().clone()).unwrap();
        Arc::new(roots)
    }

    fn trust_bundle(&self, name: &str) -> String {
        let pem = indented(&self.0.as_ref().pem());
        format!(
            "---\napiVersion: certificates.k8s.io/v1\nkind: ClusterTrustBundle\nmetadata: {{name: \"{name}\"}}\nspec:\n  signerName: test.example/signer\n  trustBundle: |\n{pem}"
        )
    }

    /// As a ConfigMap.
    fn config_map(&self, name: &str) -> String {
        let pem = indented(&self.0.as_ref().pem());
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  ca.crt: |\n{pem}")
    }
}

fn indented(pem: &str) -> String {
    pem.lines().map(|line| format!("    {line}\n")).collect()
}

fn secret(name: &str, pair: &Pair) -> String {
    let (certificate, key) = (indented(&pair.pem.0), indented(&pair.pem.1));
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData:\n  tls.crt: |\n{certificate}  tls.key: |\n{key}"
    )
}

/// An endpoint that lets in only clients of an authority; it answers by the name that it was asked for.
fn endpoint(own: &Pair, clients: &Authority) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(clients.roots(), provider.clone()).build().unwrap();
    let (chain, key) = own.chain();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            let mut head = [0; 4096];
            // A client that isn't let in.
            let Ok(1..) = tls.read(&mut head) else { continue };
            let name = tls.conn.server_name().unwrap_or("nobody").to_owned();
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{name}", name.len());
            drop(tls.write_all(answer.as_bytes()));
            tls.conn.send_close_notify();
            drop(tls.flush());
        }
    });
    address
}

/// What a client gets; `None`: its handshake fails.
fn ask(address: SocketAddr, server: &Authority, own: Option<&Pair>, host: &str, path: &str) -> Option<(u16, String)> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(server.roots());
    let config = match own.map(Pair::chain) {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let mut tls = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream);
    tls.write_all(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut text = String::new();
    tls.read_to_string(&mut text).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()))
}

/// The policy of one Service, and the Service.
fn service(name: &str, endpoint: SocketAddr, validation: &str) -> String {
    let port = endpoint.port();
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{name: https, port: 443}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints: [{{addresses: [127.0.0.1]}}]
ports: [{{name: https, port: {port}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {name}}}
spec:
  targetRefs: [{{group: \"\", kind: Service, name: {name}}}]
  validation: {{{validation}}}
"
    )
}

#[test]
fn certificates_on_both_sides_and_listeners_of_a_set() {
    let (server, clients, endpoints, stranger) = (Authority::new(), Authority::new(), Authority::new(), Authority::new());
    let own = clients.pair("gateway.test");
    let endpoint = endpoint(&endpoints.pair("backend.test"), &clients);
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = free();
    let ca = "caCertificateRefs: [{group: \"\", kind: ConfigMap, name: endpoints}], hostname: ";
    let yaml = [
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: web}}
spec:
  gatewayClassName: rust-ingress
  addresses: [{{value: 127.0.0.1}}]
  allowedListeners: {{namespaces: {{from: Same}}}}
  listeners:
  - {{name: own, port: {port}, protocol: HTTPS, hostname: own.test, tls: {{certificateRefs: [{{name: own}}]}}}}
  tls:
    backend: {{clientCertificateRef: {{name: shown}}}}
    frontend: {{default: {{validation: {{caCertificateRefs: [{{group: certificates.k8s.io, kind: ClusterTrustBundle, name: \"test.example:clients\"}}]}}}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {{name: more}}
spec:
  parentRef: {{name: web}}
  listeners:
  - {{name: set, port: {port}, protocol: HTTPS, hostname: set.test, tls: {{certificateRefs: [{{name: set}}]}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: own}}
spec:
  parentRefs: [{{name: web}}]
  rules:
  - {{matches: [{{path: {{value: /good}}}}], backendRefs: [{{name: good, port: 443}}]}}
  - {{matches: [{{path: {{value: /name}}}}], backendRefs: [{{name: name, port: 443}}]}}
  - {{matches: [{{path: {{value: /lost}}}}], backendRefs: [{{name: lost, port: 443}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: set}}
spec:
  parentRefs: [{{kind: ListenerSet, name: more}}]
  rules: [{{matches: [{{path: {{value: /set}}}}], backendRefs: [{{name: good, port: 443}}]}}]
",
            port = address.port()
        ),
        service("good", endpoint, &format!("{ca}backend.test")),
        service("name", endpoint, &format!("{ca}other.test")),
        service("lost", endpoint, "caCertificateRefs: [{group: \"\", kind: ConfigMap, name: none}], hostname: backend.test"),
        secret("own", &server.pair("own.test")),
        secret("set", &server.pair("set.test")),
        secret("shown", &own),
        clients.trust_bundle("test.example:clients"),
        endpoints.config_map("endpoints"),
    ];
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gateway.yaml"), yaml.concat()).unwrap();
    let _program = Program::start(folder.path(), &[]);

    let (known, unknown) = (clients.pair("client.test"), stranger.pair("client.test"));
    let get = |client: Option<&Pair>, host, path| ask(address, &server, client, host, path);
    assert_eq!(get(Some(&known), "own.test", "/good"), Some((200, "backend.test".to_owned())));
    assert_eq!(get(Some(&known), "set.test", "/set"), Some((200, "backend.test".to_owned())));
    let status = |host, path| get(Some(&known), host, path).map(|(status, _)| status);
    assert_eq!(status("own.test", "/set"), Some(404), "the route is on the set's listener alone");
    assert_eq!(status("set.test", "/good"), Some(404), "and the other on the Gateway's");
    assert_eq!(status("own.test", "/name"), Some(502), "the endpoint has another name");
    assert_eq!(status("own.test", "/lost"), Some(503), "a policy that can't be met fails closed");
    for host in ["own.test", "set.test"] {
        assert_eq!(get(None, host, "/good"), None, "no certificate");
        assert_eq!(get(Some(&unknown), host, "/good"), None, "a certificate of others");
    }
}
