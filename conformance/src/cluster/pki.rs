//! The cluster's certificates: one authority, the apiserver, an administrator, every node; and the key of Service account tokens.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

use super::layout::Node;

/// The folder of certificates and keys.
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// Where `NAME.crt`, `NAME.key` and `ca.crt` are.
    pub fn at(state: &Path) -> Self {
        Self { folder: state.join("pki") }
    }
    /// The certificate of a name.
    pub fn certificate(&self, name: &str) -> String {
        self.folder.join(format!("{name}.crt")).display().to_string()
    }
    /// The key of a name.
    pub fn key(&self, name: &str) -> String {
        self.folder.join(format!("{name}.key")).display().to_string()
    }
    /// The public half of the key that signs Service account tokens.
    pub fn token_public_key(&self) -> String {
        self.folder.join("tokens.pub").display().to_string()
    }

    /// Makes them all.
    pub fn make(&self, nodes: u8) -> Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "rust-ingress test cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        self.write("ca.crt", &authority.pem())?;
        let names = ["127.0.0.1", "10.96.0.1", "fd00:96::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
        names.extend([Node(1).v4(), Node(1).v6(), "kubernetes.default.svc.cluster.local".to_owned()]);
        self.issue(&authority, "apiserver", "kube-apiserver", None, names)?;
        self.issue(&authority, "admin", "admin", Some("system:masters"), vec![])?;
        for node in Node::all(nodes) {
            let user = format!("system:node:{}", node.name());
            self.issue(&authority, &node.name(), &user, Some("system:nodes"), vec![node.name(), node.v4(), node.v6()])?;
        }
        let tokens = KeyPair::generate()?;
        self.write("tokens.key", &tokens.serialize_pem())?;
        self.write("tokens.pub", &tokens.public_key_pem())
    }

    fn issue(
        &self,
        authority: &CertifiedIssuer<'_, KeyPair>,
        file: &str,
        name: &str,
        group: Option<&str>,
        hosts: Vec<String>,
    ) -> Result<()> {
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        self.write(&format!("{file}.crt"), &params.signed_by(&key, authority)?.pem())?;
        self.write(&format!("{file}.key"), &key.serialize_pem())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("{}: can't be written", path.display()))
    }
}
