//! A Service port, resolved: its protocol, its endpoints, or why there are none. Called by `translate` for each dirty one.
//!
//! Slices are matched by the Service port's name, so that named target ports may differ between them. Of an endpoint only the
//! first address counts, as for kube-proxy. Ready endpoints serve; when none is ready, those that terminate and still serve.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};
use rust_ingress_model::backend::{BackendTls, Balance};
use rust_ingress_model::{AppProtocol, Backend, BackendKey, Discovery, Endpoint, Fault, ObjectRef, PortRef, Reason};

use crate::faults::Faults;
use crate::ingress::validate;
use crate::settings::{Origin, Settings};
use crate::world::World;

/// Which field of a reference is to blame for a backend that isn't there.
pub(crate) struct Missing {
    /// `name` or `port`, below the reference's `service`.
    pub(crate) part: &'static str,
    pub(crate) reason: Reason,
    pub(crate) message: String,
    pub(crate) advice: String,
}

/// A backend and all that is wrong with it.
pub(crate) struct Resolved {
    pub(crate) backend: Backend,
    /// Faults of the Service and its slices.
    pub(crate) faults: Vec<Fault>,
    /// The fault of each reference to it.
    pub(crate) missing: Option<Missing>,
}

/// Resolves a Service port.
pub(crate) fn resolve(world: &World, settings: &Settings, key: &BackendKey) -> Resolved {
    let mut resolved = find(world, settings, key);
    if let Err(why) = secure(world, key, &mut resolved.backend) {
        resolved.backend.discovery = Discovery::Absent(why);
    }
    resolved
}

/// What a BackendTLSPolicy makes of a backend, and the certificate that a Gateway shows it. The error says why neither can be met.
fn secure(world: &World, key: &BackendKey, backend: &mut Backend) -> Result<(), String> {
    let place = (key.namespace.clone(), key.service.clone());
    let port = world.services.get(&place).and_then(|service| find_port(service, &key.port)).map(|(_, port)| port);
    if let Some(policy) = world.policy_of(&place, port.and_then(|port| port.name.as_deref())) {
        let unmet = |(_, message)| format!("{} can't be met: {message}", policy.reference);
        backend.tls = Some(world.settle(policy).tls.map_err(unmet)?);
        backend.protocol = backend.protocol.over_tls();
    }
    if let (Some(gateway), Some(tls)) = (&key.gateway, &mut backend.tls) {
        let unmet = |(_, message)| format!("Gateway {}/{} has no client certificate: {message}", gateway.0, gateway.1);
        tls.client_certificate = world.client_certificate(gateway).transpose().map_err(unmet)?;
    }
    Ok(())
}

fn find(world: &World, settings: &Settings, key: &BackendKey) -> Resolved {
    let place = (key.namespace.clone(), key.service.clone());
    let name = format!("{}/{}", key.namespace, key.service);
    let Some(service) = world.services.get(&place) else {
        return Resolved::missing(
            key,
            Missing {
                part: "name",
                reason: Reason::ServiceNotFound,
                message: format!("Service {name} isn't there: its requests answer 503"),
                advice: "create the Service, or correct the name and namespace".into(),
            },
        );
    };
    let external = is_external(service);
    let port = find_port(service, &key.port);
    match (port, &key.port) {
        (port, PortRef::Number(number)) if external => external_name(settings, key, service, port, *number),
        (Some(port), _) if external => external_name(settings, key, service, Some(port), 0),
        (Some(port), _) => cluster_service(world, settings, key, port),
        (None, _) => Resolved::missing(
            key,
            Missing {
                part: "port",
                reason: Reason::PortNotFound,
                message: format!("Service {name} has no TCP port {}: its requests answer 503", key.port),
                advice: format!("name one of its ports: {}", ports(service)),
            },
        ),
    }
}

/// Why a Service port isn't there; `None`: it is.
pub(crate) fn missing(world: &World, key: &BackendKey) -> Option<String> {
    let name = format!("{}/{}", key.namespace, key.service);
    let Some(service) = world.services.get(&(key.namespace.clone(), key.service.clone())) else {
        return Some(format!("Service {name} isn't there; create it, or correct the name and namespace"));
    };
    let there = find_port(service, &key.port).is_some() || is_external(service);
    (!there).then(|| format!("Service {name} has no TCP port {}; name one of its ports: {}", key.port, ports(service)))
}

fn is_external(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("ExternalName"))
}

impl Resolved {
    fn missing(key: &BackendKey, missing: Missing) -> Self {
        let text = format!("{}; {}", missing.message.trim_end_matches(": its requests answer 503"), missing.advice);
        let backend = backend(key.protocol.unwrap_or_default(), Discovery::Absent(text));
        Self { backend, faults: Vec::new(), missing: Some(missing) }
    }
}

fn backend(protocol: AppProtocol, discovery: Discovery) -> Backend {
    Backend { protocol, tls: protocol.tls().then(BackendTls::default), balance: Balance::default(), discovery }
}

fn tcp_ports(service: &Service) -> impl Iterator<Item = (usize, &ServicePort)> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).enumerate();
    ports.filter(|(_, port)| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
}

fn find_port<'a>(service: &'a Service, wanted: &PortRef) -> Option<(usize, &'a ServicePort)> {
    tcp_ports(service).find(|(_, port)| match wanted {
        PortRef::Number(number) => port.port == i32::from(*number),
        PortRef::Name(name) => port.name.as_deref() == Some(name),
    })
}

fn ports(service: &Service) -> String {
    let list: Vec<String> = tcp_ports(service)
        .map(|(_, port)| match &port.name {
            Some(name) => format!("{} ({name})", port.port),
            None => port.port.to_string(),
        })
        .collect();
    if list.is_empty() { "it has none".into() } else { list.join(", ") }
}

/// The route's protocol, else the port's `appProtocol`, else HTTP.
fn protocol(key: &BackendKey, port: Option<(usize, &ServicePort)>, faults: &mut Faults) -> AppProtocol {
    let said = port.and_then(|(index, port)| Some((index, port.app_protocol.as_deref()?)));
    match (key.protocol, said) {
        // A GRPCRoute says HTTP/2, and leaves TLS to the Service.
        (Some(AppProtocol::H2c), Some((_, text))) if text.parse().is_ok_and(AppProtocol::tls) => AppProtocol::H2Tls,
        (Some(protocol), _) => protocol,
        (None, None) => AppProtocol::default(),
        (None, Some((index, text))) => text.parse().unwrap_or_else(|()| {
            faults.warning(
                format!("spec.ports[{index}].appProtocol"),
                Reason::InvalidValue,
                format!("{text:?} isn't known here: HTTP/1.1 is spoken"),
                "write http, https, kubernetes.io/h2c, kubernetes.io/ws, kubernetes.io/wss or grpc",
            );
            AppProtocol::default()
        }),
    }
}

fn service_ref(key: &BackendKey) -> ObjectRef {
    ObjectRef::new("Service", &key.namespace, &key.service)
}

fn external_name(
    settings: &Settings,
    key: &BackendKey,
    service: &Service,
    port: Option<(usize, &ServicePort)>,
    number: u16,
) -> Resolved {
    let mut faults = Faults::of(service_ref(key));
    let protocol = protocol(key, port, &mut faults);
    let number = port.and_then(|(_, port)| validate::port_number(port.port)).unwrap_or(number);
    let name = service.spec.as_ref().and_then(|spec| spec.external_name.as_deref()).unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name);
    let what = format!("Service {}/{}", key.namespace, key.service);
    let discovery = if !settings.allow_external_name {
        let advice = "allow it when the program starts (--allow-external-name), or use a Service with endpoints";
        faults.error("spec.type", Reason::UnsupportedService, "ExternalName isn't allowed: its requests answer 503", advice);
        Discovery::Absent(format!(
            "{what} is an ExternalName, which isn't allowed here; allow it, or use a Service with endpoints"
        ))
    } else if !validate::subdomain(name) || name.parse::<IpAddr>().is_ok() {
        let message = format!("{name:?} isn't a DNS name: its requests answer 503");
        faults.error("spec.externalName", Reason::InvalidValue, message, "write a DNS name in lower case");
        Discovery::Absent(format!("{what} has an externalName that isn't a DNS name; check spec.externalName"))
    } else {
        Discovery::Dns { name: name.into(), port: number }
    };
    Resolved { backend: backend(protocol, discovery), faults: faults.into_list(), missing: None }
}

fn cluster_service(world: &World, settings: &Settings, key: &BackendKey, port: (usize, &ServicePort)) -> Resolved {
    let mut faults = Faults::of(service_ref(key));
    let protocol = protocol(key, Some(port), &mut faults);
    let mut found = Found { settings, port: port.1.name.as_deref().unwrap_or_default(), ..Found::new(settings) };
    let place = (key.namespace.clone(), key.service.clone());
    for (name, slice) in world.slices.get(&place).into_iter().flatten() {
        found.slice(ObjectRef::new("EndpointSlice", &key.namespace, name), slice);
    }
    let mut endpoints = if found.ready.is_empty() { found.terminating } else { found.ready };
    endpoints.sort_unstable();
    endpoints.dedup_by_key(|endpoint| endpoint.address);
    let discovery = if endpoints.is_empty() {
        let (why, advice) = match (found.other_port, found.not_ready) {
            (true, _) => ("has EndpointSlices, but none with this port", "check the names of its ports and of the slices'"),
            // Nothing in a folder makes slices of Pods.
            (false, 0) if settings.origin == Origin::Files => {
                ("has no endpoint", "write an EndpointSlice with the label kubernetes.io/service-name, in the same namespace")
            }
            (false, 0) => ("has no endpoint", "check its selector, and that its Pods run"),
            (false, _) => ("has no endpoint that is ready", "check the readiness of its Pods"),
        };
        faults.warning("spec.selector", Reason::NoEndpoints, format!("port {} {why}: its requests answer 503", key.port), advice);
        Discovery::Absent(format!("Service {}/{} {why} (port {}); {advice}", key.namespace, key.service, key.port))
    } else {
        Discovery::Endpoints(endpoints)
    };
    let mut all = faults.into_list();
    all.extend(found.faults);
    Resolved { backend: backend(protocol, discovery), faults: all, missing: None }
}

/// What the slices of a Service hold for one port.
struct Found<'a> {
    settings: &'a Settings,
    port: &'a str,
    ready: Vec<Endpoint>,
    /// Terminating, and still serving.
    terminating: Vec<Endpoint>,
    not_ready: usize,
    /// A slice with endpoints hasn't this port.
    other_port: bool,
    faults: Vec<Fault>,
}

impl<'a> Found<'a> {
    fn new(settings: &'a Settings) -> Self {
        Self {
            settings,
            port: "",
            ready: Vec::new(),
            terminating: Vec::new(),
            not_ready: 0,
            other_port: false,
            faults: Vec::new(),
        }
    }

    fn slice(&mut self, reference: ObjectRef, slice: &EndpointSlice) {
        let mut faults = Faults::of(reference);
        let ports = slice.ports.iter().flatten();
        let mut tcp = ports.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
        let port = tcp.find(|port| port.name.as_deref().unwrap_or_default() == self.port).and_then(|port| port.port);
        let endpoints = slice.endpoints.iter().flatten().enumerate();
        match port.map(|port| (port, validate::port_number(port))) {
            None => self.other_port |= endpoints.count() > 0,
            Some((port, None)) => {
                let message = format!("port {port} isn't a port: its endpoints aren't used");
                faults.error("ports", Reason::InvalidEndpoint, message, "write a number from 1 to 65535");
            }
            Some((_, Some(port))) => {
                for (index, endpoint) in endpoints {
                    self.endpoint(index, endpoint, &slice.address_type, port, &mut faults);
                }
            }
        }
        self.faults.extend(faults.into_list());
    }

    fn endpoint(&mut self, index: usize, endpoint: &SliceEndpoint, family: &str, port: u16, faults: &mut Faults) {
        let field = format!("endpoints[{index}].addresses[0]");
        let text = endpoint.addresses.first().map_or("", String::as_str);
        let ip = match usable_address(text, family, self.settings.origin) {
            Ok(ip) => ip,
            Err((why, advice)) => {
                return faults.error(field, Reason::InvalidEndpoint, format!("{text:?} {why}: it isn't used"), advice);
            }
        };
        let target = endpoint.target_ref.as_ref().and_then(|target| {
            let namespace = target.namespace.as_deref().unwrap_or_default();
            Some(ObjectRef::new(target.kind.as_deref()?, namespace, target.name.as_deref()?))
        });
        let zone = endpoint.zone.as_deref().map(Into::into);
        let conditions = endpoint.conditions.as_ref();
        let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
        let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
        let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
        let list = match () {
            () if ready => &mut self.ready,
            () if serving && terminating => &mut self.terminating,
            () => {
                self.not_ready += 1;
                return;
            }
        };
        list.push(Endpoint { address: SocketAddr::new(ip, port), target, zone });
    }
}

/// An address that requests may be sent to. Link-local addresses would reach a cloud's metadata service, loopback ones what
/// listens on the node for itself: only whoever runs the program may name those, in files.
pub(crate) fn usable_address(text: &str, family: &str, origin: Origin) -> Result<IpAddr, (&'static str, &'static str)> {
    let Ok(ip) = text.parse::<IpAddr>() else { return Err(("isn't an IP address", "write an IPv4 or IPv6 address")) };
    match (family, ip) {
        ("IPv4", IpAddr::V4(_)) | ("IPv6", IpAddr::V6(_)) => {}
        ("IPv4" | "IPv6", _) => return Err(("isn't of the slice's addressType", "put it in a slice of its own family")),
        _ => return Err(("is in a slice whose addressType isn't served", "write addressType: IPv4 or IPv6")),
    }
    let (link_local, broadcast) = match ip.to_canonical() {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.is_broadcast()),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), false),
    };
    let ip = ip.to_canonical();
    match () {
        () if link_local => Err(("is a link-local address", "name an address of a Pod")),
        () if ip.is_unspecified() || ip.is_multicast() || broadcast => {
            Err(("isn't the address of one host", "name an address of a Pod"))
        }
        () if ip.is_loopback() && origin == Origin::Cluster => {
            Err(("is a loopback address, which is only for manifest folders", "name an address of a Pod"))
        }
        () => Ok(ip),
    }
}
