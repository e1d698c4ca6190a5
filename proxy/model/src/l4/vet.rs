//! What of a Service can't be programmed: ports and addresses that mean something else, endpoints that aren't to be reached through
//! a node (CVE-2020-8558, CVE-2021-25735). They are left out, with a fault each; the rest goes on.

use std::net::{IpAddr, SocketAddr};

use super::service::{L4Port, L4Service};
use super::set::Family;
use crate::fault::{Fault, Reason, Severity};
use crate::names::ObjectRef;

/// More endpoints than this of one port are left out. Indexes from [`super::element::OUTSIDE`] on are for others.
pub const MOST_ENDPOINTS: usize = 65_535;

/// Why an address can be neither frontend nor endpoint; `None`: it can.
pub fn unfit(address: IpAddr) -> Option<&'static str> {
    let mapped = match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    };
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    [
        (mapped.is_some(), "an IPv4 address in IPv6's clothes"),
        (address.is_loopback(), "loopback"),
        (link_local, "link-local"),
        (address.is_unspecified(), "unspecified"),
        (address.is_multicast() || broadcast, "multicast"),
    ]
    .into_iter()
    .find_map(|(is, what)| is.then_some(what))
}

/// Whether an endpoint can be sent to, for a Service with frontends of these families.
pub fn fit_endpoint(address: SocketAddr, families: &[Family]) -> bool {
    address.port() != 0 && unfit(address.ip()).is_none() && families.contains(&Family::of(address.ip()))
}

/// The families that a Service is served in: those of its ClusterIPs.
pub fn families(service: &L4Service) -> Vec<Family> {
    let has = |family: &Family| service.cluster_ips.iter().any(|ip| Family::of(*ip) == *family);
    Family::BOTH.into_iter().filter(has).collect()
}

/// All that is left out of a Service.
pub fn faults(object: &ObjectRef, service: &L4Service) -> Vec<Fault> {
    let families = families(service);
    let mut faults = Vec::new();
    let mut add = |field: String, reason, message: String, advice: &str| {
        let (object, advice) = (object.clone(), advice.to_owned());
        faults.push(Fault { object, field, severity: Severity::Error, reason, message, advice });
    };
    let frontends = [
        ("spec.clusterIPs", &service.cluster_ips),
        ("spec.externalIPs", &service.external_ips),
        ("status.loadBalancer.ingress", &service.load_balancer_ips),
    ];
    for (field, addresses) in frontends {
        for (place, address) in addresses.iter().enumerate() {
            let field = format!("{field}[{place}]");
            if let Some(what) = unfit(*address) {
                let message = format!("{address} is {what}: not served");
                add(field, Reason::InvalidValue, message, "take an address that clients can have as destination");
            } else if !families.contains(&Family::of(*address)) {
                let message = format!("{address} is of a family that the Service has no ClusterIP of: not served");
                add(
                    field,
                    Reason::InvalidValue,
                    message,
                    "give the Service both families (spec.ipFamilyPolicy), or take the address out",
                );
            }
        }
    }
    for (place, port) in service.ports.iter().enumerate() {
        if port.port == 0 || port.node_port == Some(0) {
            let (field, what) = if port.port == 0 { ("port", "the port") } else { ("nodePort", "the node port") };
            let message = format!("port 0 can't be served: {what} is left out");
            add(format!("spec.ports[{place}].{field}"), Reason::InvalidValue, message, "take a port from 1 to 65535");
        }
        if let Some((message, advice)) = bad_endpoints(port, &families) {
            add(format!("spec.ports[{place}]"), Reason::InvalidEndpoint, message, advice);
        }
        if families.iter().any(|family| port.of_family(*family).count() > MOST_ENDPOINTS) {
            let message = format!("more than {MOST_ENDPOINTS} endpoints: the others get no traffic");
            add(format!("spec.ports[{place}]"), Reason::InvalidValue, message, "spread the Pods over several Services");
        }
    }
    faults
}

/// One message a port, however many are bad.
fn bad_endpoints(port: &L4Port, families: &[Family]) -> Option<(String, &'static str)> {
    let mut bad = port.endpoints.iter().map(|endpoint| endpoint.address).filter(|address| !fit_endpoint(*address, families));
    let first = bad.next()?;
    let others = match bad.count() {
        0 => String::new(),
        more => format!(" (and {more} more are unfit)"),
    };
    let what = match unfit(first.ip()) {
        Some(what) => what,
        None if first.port() == 0 => "a port 0",
        None => "of a family that the Service has no ClusterIP of",
    };
    Some((
        format!("endpoint {first} is {what}{others}: gets no traffic"),
        "look at the Service's EndpointSlices, and who writes them",
    ))
}
