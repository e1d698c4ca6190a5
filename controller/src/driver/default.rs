//! The default certificate from a Secret: followed by the driver, because it is a setting, not a route's.

use rust_ingress_model::{Fault, Name, ObjectRef, Reason, Severity};
use rust_ingress_translate::{Change, DefaultCertificate, Settings, World};

/// A Secret that holds the default certificate.
pub(super) struct DefaultSecret {
    pub(super) secret: (Name, Name),
    /// What is presented while the Secret can't be used.
    otherwise: Option<DefaultCertificate>,
    /// What was wrong with it when we last looked.
    wrong: Option<(String, String)>,
}

impl DefaultSecret {
    pub(super) fn new(secret: (Name, Name), otherwise: Option<DefaultCertificate>) -> Self {
        Self { secret, otherwise, wrong: None }
    }

    /// Brings the settings up to the World, and says what is wrong. Whether the certificate is another one now.
    pub(super) fn look(&mut self, world: &mut World, settings: &mut Settings) -> bool {
        let (certificate, wrong) = match world.default_certificate(&self.secret) {
            Some(Ok(certificate)) => (Some(certificate), None),
            Some(Err(why)) => (self.otherwise.clone(), Some(why)),
            None => {
                let wrong = ("isn't there".into(), "create it, or correct --default-certificate-secret".into());
                (self.otherwise.clone(), Some(wrong))
            }
        };
        if self.wrong != wrong {
            let source = ObjectRef::new("Secret", &self.secret.0, &self.secret.1);
            let faults = wrong.iter().map(|(why, advice)| fault(&source, why, advice)).collect();
            world.apply(Change::Faults { source: source.clone(), faults });
            self.wrong = wrong;
        }
        let fingerprint = |certificate: &Option<DefaultCertificate>| certificate.as_ref().map(|default| default.fingerprint);
        let other = fingerprint(&certificate) != fingerprint(&settings.default_certificate);
        if other {
            settings.default_certificate = certificate;
        }
        other
    }
}

fn fault(object: &ObjectRef, why: &str, advice: &str) -> Fault {
    Fault {
        object: object.clone(),
        field: "data".into(),
        severity: Severity::Error,
        reason: Reason::InvalidCertificate,
        message: format!("the Secret of the default certificate {why}: another certificate is presented"),
        advice: advice.into(),
    }
}
