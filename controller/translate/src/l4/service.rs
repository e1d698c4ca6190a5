//! A Service and its slices as the node agent programs them, and what is wrong with them. Called by `translate` for each
//! dirty Service.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use rust_ingress_model::l4::{L4Port, L4Service, TrafficPolicy, Transport, l7};
use rust_ingress_model::{AppProtocol, Fault, ObjectRef, Reason};

use super::endpoints::Reader;
use super::frontend::{self, Frontend};
use super::{L4, ours};
use crate::annotation;
use crate::faults::Faults;
use crate::ingress::validate;
use crate::settings::Settings;
use crate::world::{Key, World};

/// How long a client stays with an endpoint where ClientIP affinity says nothing, in seconds (API reference, Service).
const AFFINITY_S: u32 = 10_800;

/// What becomes of a Service.
pub(crate) struct Programmed {
    /// `None`: there is nothing to program.
    pub(crate) service: Option<L4Service>,
    /// What is wrong with it and its slices.
    pub(crate) faults: Vec<Fault>,
}

/// A Service as the node agent programs it.
pub(crate) fn programmed(world: &World, l4: &L4, settings: &Settings, key: &Key) -> Programmed {
    let none = Programmed { service: None, faults: Vec::new() };
    let Some(service) = world.services.get(key).filter(|service| ours(service)) else { return none };
    let Some(spec) = &service.spec else { return none };
    let object = ObjectRef::new("Service", &key.0, &key.1);
    let endpoints = Reader { world, l4, origin: settings.origin, key, faults: BTreeSet::new() };
    let mut work = Work { world, l4, key, service, spec, faults: Faults::of(object.clone()), endpoints };
    let source_ranges = work.source_ranges();
    let l4_service = L4Service {
        cluster_ips: frontend::cluster_ips(service).collect(),
        external_ips: frontend::external_ips(service).collect(),
        // A list that lets nobody in isn't an empty one, which lets everybody in.
        load_balancer_ips: if source_ranges.is_some() { l4.load_balancer_ips(key, service) } else { Vec::new() },
        pooled: l4.addresses.given(&object).is_some_and(|given| !given.is_empty()),
        source_ranges: source_ranges.unwrap_or_default(),
        internal: policy(spec.internal_traffic_policy.as_deref()),
        external: policy(spec.external_traffic_policy.as_deref().filter(|_| reached_from_outside(spec))),
        affinity_s: affinity(spec),
        health_check_node_port: health_check_node_port(spec),
        l7: annotation::l7(service.metadata.annotations.as_ref()),
        ports: work.ports(),
    };
    let mut faults = work.faults.into_list();
    faults.extend(work.endpoints.faults);
    faults.extend(l7::service_faults(&object, &l4_service));
    let reached = l4_service.ports.iter().any(|port| port.node_port.is_some())
        || [&l4_service.cluster_ips, &l4_service.external_ips, &l4_service.load_balancer_ips].iter().any(|ips| !ips.is_empty());
    Programmed { service: reached.then_some(l4_service), faults }
}

/// One Service in work.
struct Work<'a> {
    world: &'a World,
    l4: &'a L4,
    key: &'a Key,
    service: &'a Service,
    spec: &'a ServiceSpec,
    faults: Faults,
    endpoints: Reader<'a>,
}

impl Work<'_> {
    fn ports(&mut self) -> Vec<L4Port> {
        let mut seen = BTreeSet::new();
        let mut ports = Vec::new();
        for (index, port) in frontend::ports(self.service) {
            let field = format!("spec.ports[{index}]");
            let Some(transport) = frontend::transport(port) else {
                let name = port.protocol.as_deref().unwrap_or_default();
                let message = format!("{name:?} isn't a protocol that nodes carry: the port isn't served");
                self.faults.error(format!("{field}.protocol"), Reason::InvalidValue, message, "write TCP, UDP or SCTP");
                continue;
            };
            let Some(number) = validate::port_number(port.port) else {
                let message = format!("{} isn't a port: it isn't served", port.port);
                self.faults.error(format!("{field}.port"), Reason::InvalidValue, message, "write a number from 1 to 65535");
                continue;
            };
            if !seen.insert((transport, number)) {
                let message = format!("an earlier port of this Service is {number} already: this one isn't served");
                self.faults.error(format!("{field}.port"), Reason::Conflict, message, "remove one of them");
                continue;
            }
            ports.push(self.port(&field, port, transport, number));
        }
        ports
    }

    fn port(&mut self, field: &str, port: &ServicePort, transport: Transport, number: u16) -> L4Port {
        let mut node_port = frontend::node_port(self.service, port);
        if let Some(other) = node_port.and_then(|node_port| self.owner(Frontend::NodePort(transport, node_port))) {
            let message =
                format!("{other} has NodePort {} already: it isn't served for this Service", node_port.unwrap_or_default());
            self.faults.error(format!("{field}.nodePort"), Reason::Conflict, message, "give one of them another nodePort");
            node_port = None;
        }
        let addresses: BTreeSet<IpAddr> = frontend::cluster_ips(self.service)
            .chain(frontend::external_ips(self.service))
            .chain(self.l4.load_balancer_ips(self.key, self.service))
            .collect();
        let mut without = Vec::new();
        for ip in addresses {
            if let Some(other) = self.owner(Frontend::Address(ip, transport, number)) {
                let message = format!("{other} has {ip} port {number} already: it isn't served for this Service");
                self.faults.error(field, Reason::Conflict, message, "give one of them another address or port");
                without.push(ip);
            }
        }
        let name = port.name.as_deref().unwrap_or_default();
        let endpoints = self.endpoints.port(name, transport);
        let http = if annotation::l7(self.service.metadata.annotations.as_ref()).is_off() { None } else { http(port) };
        L4Port { name: name.into(), transport, port: number, http, node_port, without, endpoints }
    }

    /// Another Service that has this frontend; none where it is ours.
    fn owner(&self, place: Frontend) -> Option<ObjectRef> {
        let claims = self.l4.claims.of(place).filter_map(|key| Some((key, self.world.services.get(key)?)));
        let (owner, _) = claims.min_by_key(|(key, service)| frontend::rank(service, key, place))?;
        (owner != self.key).then(|| ObjectRef::new("Service", &owner.0, &owner.1))
    }

    /// Who may use the load balancer addresses. `None`: nobody, because no range can be read.
    fn source_ranges(&mut self) -> Option<Vec<IpNet>> {
        let balanced = self.spec.type_.as_deref() == Some("LoadBalancer");
        let texts = self.spec.load_balancer_source_ranges.as_deref().filter(|_| balanced).unwrap_or_default();
        let mut ranges = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            // Kubernetes takes spaces around a range.
            match text.trim().parse::<IpNet>() {
                Ok(range) => ranges.push(range.trunc()),
                Err(_) => {
                    let field = format!("spec.loadBalancerSourceRanges[{index}]");
                    let message = format!("{text:?} isn't a range of addresses: it lets nobody in");
                    self.faults.error(field, Reason::InvalidValue, message, "write a CIDR such as 192.0.2.0/24");
                }
            }
        }
        ranges.sort_unstable();
        ranges.dedup();
        (texts.is_empty() || !ranges.is_empty()).then_some(ranges)
    }
}

/// The HTTP that a port's `appProtocol` names, or, without one, its name: `http`, `http-admin`. Over TLS it can't be read here.
fn http(port: &ServicePort) -> Option<AppProtocol> {
    let named = |name: &&str| *name == "http" || name.starts_with("http-");
    let said = port.app_protocol.as_deref().or_else(|| port.name.as_deref().filter(named).map(|_| "http"));
    said.and_then(|said| said.parse().ok()).filter(|protocol: &AppProtocol| !protocol.tls())
}

fn policy(text: Option<&str>) -> TrafficPolicy {
    if text == Some("Local") { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

/// Whether externalTrafficPolicy says anything (API reference, Service).
fn reached_from_outside(spec: &ServiceSpec) -> bool {
    matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer")) || spec.external_ips.iter().flatten().next().is_some()
}

fn affinity(spec: &ServiceSpec) -> Option<u32> {
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    let given = config.and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| given.unwrap_or(AFFINITY_S))
}

fn health_check_node_port(spec: &ServiceSpec) -> Option<u16> {
    let local = spec.type_.as_deref() == Some("LoadBalancer") && spec.external_traffic_policy.as_deref() == Some("Local");
    spec.health_check_node_port.filter(|_| local).and_then(validate::port_number)
}
