//! `spec.rules` and `spec.defaultBackend` of an Ingress: hosts, paths and where they send.
//!
//! `pathType: ImplementationSpecific` means Prefix here, and an empty path `/`; with the annotation
//! `rust-ingress.dev/use-regex: "true"` it is a regular expression for the whole path, case-sensitive.
//! A path that can't be read is left out; a path whose backend can't be read answers 503, so that its requests
//! don't fall to a shorter path.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::{HTTPIngressPath, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec};
use rust_ingress_model::matcher::compile_regex;
use rust_ingress_model::{BackendKey, BackendRef, HostPattern, Name, PathMatch, PortRef, Reason};

use super::{DefaultBackend, Path, validate};
use crate::annotation::Wishes;
use crate::faults::Faults;

/// What the rules say.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) paths: BTreeMap<HostPattern, Vec<Path>>,
    pub(super) default: Option<DefaultBackend>,
    pub(super) backends: BTreeMap<BackendKey, Vec<Name>>,
    /// The hosts of all rules, also of those without paths; `Any` for none.
    pub(super) hosts: BTreeSet<HostPattern>,
}

struct Parser<'a> {
    namespace: &'a Name,
    wishes: &'a Wishes,
    faults: &'a mut Faults,
    rules: Rules,
}

/// Reads the rules of an Ingress.
pub(super) fn parse(namespace: &Name, spec: &IngressSpec, wishes: &Wishes, faults: &mut Faults) -> Rules {
    let mut parser = Parser { namespace, wishes, faults, rules: Rules::default() };
    let rules = spec.rules.as_deref().unwrap_or_default();
    if rules.is_empty() && spec.default_backend.is_none() {
        parser.faults.error("spec", Reason::Required, "there are neither rules nor a defaultBackend", "add one of them");
    }
    for (index, rule) in rules.iter().enumerate() {
        parser.rule(&format!("spec.rules[{index}]"), rule, spec.default_backend.is_some());
    }
    if rules.is_empty() {
        parser.rules.hosts.insert(HostPattern::Any);
    }
    if let Some(backend) = &spec.default_backend {
        let backend = parser.backend("spec.defaultBackend", backend);
        let hosts = parser.rules.hosts.iter().cloned().chain([HostPattern::Any]).collect();
        parser.rules.default = Some(DefaultBackend { backend, hosts });
    }
    let mut rules = parser.rules;
    if wishes.canary {
        (rules.paths, rules.default, rules.backends) = (BTreeMap::new(), None, BTreeMap::new());
    }
    rules
}

impl Parser<'_> {
    fn rule(&mut self, field: &str, rule: &IngressRule, has_default: bool) {
        let host = match rule.host.as_deref() {
            None | Some("") => HostPattern::Any,
            Some(text) => match validate::host(text) {
                Ok(host) => host,
                Err(why) => {
                    let advice = "write a DNS name in lower case, or *. and one; the rule isn't served";
                    return self.faults.error(format!("{field}.host"), Reason::InvalidValue, format!("{text:?} {why}"), advice);
                }
            },
        };
        self.rules.hosts.insert(host.clone());
        match &rule.http {
            Some(http) if http.paths.is_empty() => {
                self.faults.error(format!("{field}.http.paths"), Reason::Required, "there is no path", "add one, or remove http");
            }
            Some(http) => {
                let paths = http.paths.iter().enumerate();
                let paths: Vec<Path> =
                    paths.filter_map(|(index, path)| self.path(format!("{field}.http.paths[{index}]"), path)).collect();
                self.rules.paths.entry(host).or_default().extend(paths);
            }
            None if has_default => {}
            None => self.faults.warning(
                format!("{field}.http"),
                Reason::Required,
                "the rule has no http and the Ingress no defaultBackend: its host answers 404",
                "add http.paths or spec.defaultBackend",
            ),
        }
    }

    fn path(&mut self, field: String, path: &HTTPIngressPath) -> Option<Path> {
        let backend = self.backend(&format!("{field}.backend"), &path.backend);
        match self.path_match(path) {
            Ok(matched) => Some(Path { field: field.into(), path: matched, backend }),
            Err((part, reason, message)) => {
                let advice = "the path isn't served; correct it";
                self.faults.error(format!("{field}.{part}"), reason, message, advice);
                None
            }
        }
    }

    fn path_match(&self, path: &HTTPIngressPath) -> Result<PathMatch, (&'static str, Reason, String)> {
        let invalid = |why: String| ("path", Reason::InvalidValue, why);
        let text = path.path.as_deref().unwrap_or_default();
        let checked = || validate::path(text).map_err(|why| invalid(format!("{text:?} {why}")));
        match path.path_type.as_str() {
            "Exact" => checked().map(|()| PathMatch::Exact(text.into())),
            "ImplementationSpecific" if text.is_empty() => Ok(PathMatch::Prefix("/".into())),
            "ImplementationSpecific" if self.wishes.use_regex => match compile_regex(text) {
                _ if !text.starts_with('/') => Err(invalid(format!("{text:?} doesn't begin with /"))),
                Ok(_) => Ok(PathMatch::Regex(text.into())),
                Err(error) => Err(invalid(format!("{text:?} isn't a regular expression: {}", last_line(&error.to_string())))),
            },
            "Prefix" | "ImplementationSpecific" => checked().map(|()| PathMatch::Prefix(text.into())),
            "" => {
                Err(("pathType", Reason::Required, "there is no pathType; write Exact, Prefix or ImplementationSpecific".into()))
            }
            other => {
                let message = format!("{other:?} isn't a pathType; write Exact, Prefix or ImplementationSpecific");
                Err(("pathType", Reason::InvalidValue, message))
            }
        }
    }

    /// A reference to a Service, remembered with its field; or what is answered instead.
    fn backend(&mut self, field: &str, backend: &IngressBackend) -> BackendRef {
        let fail = |reason: String| BackendRef::Fail { status: 503, reason };
        match (&backend.service, &backend.resource) {
            (Some(service), None) => match self.service(field, service) {
                Some(key) => {
                    self.rules.backends.entry(key.clone()).or_default().push(field.into());
                    BackendRef::Service(key)
                }
                None => fail("the Ingress' backend can't be read; see its faults".into()),
            },
            (None, Some(resource)) => {
                let what = format!("{} {}", resource.kind, resource.name);
                self.faults.error(
                    format!("{field}.resource"),
                    Reason::UnsupportedBackend,
                    format!("the backend is {what}: only Services are served, its requests answer 503"),
                    "send the path to a Service",
                );
                fail(format!("the backend {what} isn't a Service"))
            }
            (both, _) => {
                let (reason, message) = match both {
                    Some(_) => (Reason::InvalidValue, "the backend has both a service and a resource"),
                    None => (Reason::Required, "the backend has neither a service nor a resource"),
                };
                self.faults.error(field, reason, format!("{message}: its requests answer 503"), "name one Service");
                fail(message.into())
            }
        }
    }

    fn service(&mut self, field: &str, service: &IngressServiceBackend) -> Option<BackendKey> {
        let field = format!("{field}.service");
        let mut bad = |part: &str, message: String, advice: &str| {
            let message = format!("{message}: its requests answer 503");
            self.faults.error(format!("{field}.{part}"), Reason::InvalidValue, message, advice);
        };
        if !validate::service_name(&service.name) {
            bad("name", format!("{:?} isn't the name of a Service", service.name), "write the Service's name");
            return None;
        }
        let port = service.port.as_ref();
        let name = port.and_then(|port| port.name.as_deref()).filter(|name| !name.is_empty());
        let number = port.and_then(|port| port.number).filter(|number| *number != 0);
        let port = match (name, number) {
            (Some(name), None) if validate::port_name(name) => PortRef::Name(name.into()),
            (None, Some(number)) => match validate::port_number(number) {
                Some(number) => PortRef::Number(number),
                None => {
                    bad("port.number", format!("{number} isn't a port"), "write a number from 1 to 65535");
                    return None;
                }
            },
            (Some(name), None) => {
                bad("port.name", format!("{name:?} isn't the name of a port"), "write the name of one of the Service's ports");
                return None;
            }
            _ => {
                bad("port", "the port must have either a name or a number".into(), "write port.number or port.name");
                return None;
            }
        };
        let protocol = self.wishes.protocol;
        Some(BackendKey {
            namespace: self.namespace.clone(),
            service: service.name.as_str().into(),
            port,
            protocol,
            gateway: None,
        })
    }
}

/// The regex crate's messages draw a picture; the last line says what is wrong.
fn last_line(message: &str) -> &str {
    message.lines().last().map_or("", |line| line.trim_start_matches("error: "))
}
