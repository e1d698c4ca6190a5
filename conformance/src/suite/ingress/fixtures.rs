//! What the suite puts on the cluster: echo servers, a Service for each, certificates.

use std::fmt::Write as _;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

/// The namespace of all of it.
pub const NAMESPACE: &str = "suite-ingress";

/// Services with an echo server each, which names its Service in its answers.
pub const SERVICES: [&str; 7] =
    ["default", "wildcard-foo-com", "foo-bar-com", "foo-exact", "foo-prefix", "aaa-prefix", "aaa-bbb-prefix"];

/// A Deployment of one Pod and its Service, for each of [`SERVICES`], and a Service that selects nothing.
pub fn backends() -> String {
    let mut yaml = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n");
    for service in SERVICES {
        let _ = write!(yaml, "---\n{}", include_str!("backend.yaml").replace("BACKEND", service));
    }
    let _ = write!(
        yaml,
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: empty\n  namespace: {NAMESPACE}\nspec:\n  selector: {{app: nothing}}\n  ports: [{{port: 80}}]\n"
    );
    yaml
}

/// The authority whose certificates the suite's client trusts.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    pub fn new() -> Result<Self> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "suite ingress");
        Ok(Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?))
    }

    /// Its certificate, for a client.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A TLS Secret with a certificate for these names.
    pub fn secret(&self, name: &str, hosts: &[&str]) -> Result<String> {
        let key = KeyPair::generate()?;
        let parameters = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let certificate = parameters.signed_by(&key, &self.0)?;
        let indented = |pem: &str| pem.lines().fold(String::new(), |text, line| text + "    " + line + "\n");
        Ok(format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
            indented(&certificate.pem()),
            indented(&key.serialize_pem())
        ))
    }
}
