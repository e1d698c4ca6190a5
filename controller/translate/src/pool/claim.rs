//! Claims: who asks pools for addresses, and what for. Services make them here; Gateways are to make the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rust_ingress_model::l4::{Family, Transport};
use rust_ingress_model::{Fault, ObjectRef, Reason};

use super::AddressPool;
use crate::faults::Faults;
use crate::ingress::validate;
use crate::l4::frontend;

/// The class of Services that get their addresses from pools.
pub(crate) const CLASS: &str = "rust-ingress.dev/pool";
/// Addresses that are asked for, with commas between them.
const ADDRESSES: &str = "rust-ingress.dev/addresses";
/// Who may have the same address: those with the same key, in one namespace, whose ports differ.
const SHARE: &str = "rust-ingress.dev/share-address";
/// The one pool that its addresses may come from.
pub(crate) const POOL: &str = "rust-ingress.dev/address-pool";
/// As long as it stands on a Service, that has an address of ours (KEP-980). Others' load balancers write the same one.
pub const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

/// One object that asks for addresses.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claim {
    /// Whose it is.
    pub(crate) object: ObjectRef,
    /// The oldest is served first; objects without a date after those with one, by name.
    pub(crate) created: Option<Time>,
    /// For pools that choose by labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Only a pool that is the default may serve it: it names no class.
    pub(crate) default_only: bool,
    /// The one pool that may serve it.
    pub(crate) pool: Option<String>,
    /// The families that it wants an address of.
    pub(crate) families: BTreeSet<Family>,
    /// Nothing is better than one family alone.
    pub(crate) all_families: bool,
    /// The addresses that it asks for, one of a family at most.
    pub(crate) requested: BTreeMap<Family, IpAddr>,
    /// The addresses that it has.
    pub(crate) held: BTreeSet<IpAddr>,
    /// The key under which it shares its addresses, and its ports.
    pub(crate) share: Option<String>,
    pub(crate) ports: BTreeSet<(Transport, u16)>,
    /// What is wrong with the question itself.
    pub(crate) faults: Vec<Fault>,
}

impl Claim {
    /// Who is asked first.
    pub(super) fn rank(&self) -> (bool, Option<&Time>, &ObjectRef) {
        (self.created.is_none(), self.created.as_ref(), &self.object)
    }

    /// Whether two may have the same address.
    pub(super) fn shares_with(&self, other: &Self) -> bool {
        self.share.is_some()
            && self.share == other.share
            && self.object.namespace == other.object.namespace
            && self.ports.is_disjoint(&other.ports)
    }
}

/// What a Service has to do with pools.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Asks {
    /// Nothing, or it is somebody else's.
    Nothing,
    /// It asks for addresses.
    For(Box<Claim>),
    /// It has our finalizer, or another load balancer's, and no use for it any more.
    Release,
}

/// What a Service asks for. One that names no class is ours only while a pool is the default, and unless somebody else has
/// given it addresses: those are in no pool.
pub(crate) fn of_service(object: &ObjectRef, service: &Service, in_pool: impl Fn(IpAddr) -> bool) -> Asks {
    let Some(spec) = &service.spec else { return Asks::Nothing };
    let balanced = spec.type_.as_deref() == Some("LoadBalancer");
    let class = spec.load_balancer_class.as_deref();
    let finalizers = service.metadata.finalizers.as_deref().unwrap_or_default();
    if !balanced || service.metadata.deletion_timestamp.is_some() {
        let ours = class.is_none_or(|class| class == CLASS) && finalizers.iter().any(|one| one == FINALIZER);
        return if ours { Asks::Release } else { Asks::Nothing };
    }
    let entries = service.status.iter().filter_map(|status| status.load_balancer.as_ref()?.ingress.as_ref()).flatten();
    let held: Vec<Option<IpAddr>> = entries.map(|entry| entry.ip.as_deref()?.parse().ok()).collect();
    let by_others = held.iter().any(|ip| ip.is_none_or(|ip| !in_pool(ip)));
    if class.is_some_and(|class| class != CLASS) || (class.is_none() && by_others) {
        return Asks::Nothing;
    }
    let mut faults = Faults::of(object.clone());
    let mut families = families(service, spec);
    let requested = requested(service, spec, &families, &mut faults);
    // A Gateway that asks for certain addresses is at these and at no other.
    if frontend::is_of_gateway(service) && !requested.is_empty() {
        families.retain(|family| requested.contains_key(family));
    }
    let annotation = |name: &str| service.metadata.annotations.as_ref()?.get(name).filter(|text| !text.is_empty());
    Asks::For(Box::new(Claim {
        object: object.clone(),
        created: service.metadata.creation_timestamp.clone(),
        labels: service.metadata.labels.clone().unwrap_or_default(),
        default_only: class.is_none(),
        pool: annotation(POOL).cloned(),
        all_families: spec.ip_family_policy.as_deref() == Some("RequireDualStack"),
        families,
        requested,
        held: held.into_iter().flatten().collect(),
        share: annotation(SHARE).cloned(),
        ports: ports(service),
        faults: faults.into_list(),
    }))
}

/// `ipFamilies`, which the API server fills in; in a folder else those of its ClusterIPs, else what the policy says, else IPv4.
fn families(service: &Service, spec: &ServiceSpec) -> BTreeSet<Family> {
    let named = spec.ip_families.iter().flatten().filter_map(|name| match name.as_str() {
        "IPv4" => Some(Family::Ipv4),
        "IPv6" => Some(Family::Ipv6),
        _ => None,
    });
    let named: BTreeSet<Family> = named.collect();
    if !named.is_empty() {
        return named;
    }
    let own: BTreeSet<Family> = frontend::cluster_ips(service).map(Family::of).collect();
    match (own.is_empty(), spec.ip_family_policy.as_deref()) {
        (_, Some("PreferDualStack" | "RequireDualStack")) => Family::BOTH.into(),
        (false, _) => own,
        (true, _) => [Family::Ipv4].into(),
    }
}

/// The addresses that a Service asks for: by annotation, else by `loadBalancerIP`, which is deprecated and has room for one.
fn requested(
    service: &Service,
    spec: &ServiceSpec,
    families: &BTreeSet<Family>,
    faults: &mut Faults,
) -> BTreeMap<Family, IpAddr> {
    let annotation = service.metadata.annotations.as_ref().and_then(|all| all.get(ADDRESSES)).filter(|text| !text.is_empty());
    let (field, text) = match (annotation, &spec.load_balancer_ip) {
        (Some(text), _) => (format!("metadata.annotations[{ADDRESSES:?}]"), text.as_str()),
        (None, Some(text)) => ("spec.loadBalancerIP".to_owned(), text.as_str()),
        (None, None) => return BTreeMap::new(),
    };
    let mut found = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let Ok(address) = part.parse::<IpAddr>() else {
            let message = format!("{part:?} isn't an IP address: it isn't asked for");
            faults.error(field.clone(), Reason::InvalidValue, message, "write addresses of a pool, with commas between them");
            continue;
        };
        let family = Family::of(address);
        if !families.contains(&family) {
            let message = format!("{address} isn't of a family that the Service has: it isn't asked for");
            faults.error(field.clone(), Reason::InvalidValue, message, "name its family in spec.ipFamilies, or leave it out");
        } else if found.insert(family, address).is_some() {
            let message = "more than one address of a family is asked for: the last one counts";
            faults.warning(field.clone(), Reason::InvalidValue, message, "ask for one of each family");
        }
    }
    found
}

fn ports(service: &Service) -> BTreeSet<(Transport, u16)> {
    let numbered = |(_, port)| Some((frontend::transport(port)?, validate::port_number(port.port)?));
    frontend::ports(service).filter_map(numbered).collect()
}

/// Whether labels meet a selector (`LabelSelector` of the API).
pub(super) fn selects(pool: &AddressPool, labels: &BTreeMap<String, String>) -> bool {
    let Some(selector) = &pool.spec.service_selector else { return true };
    let named = selector.match_labels.iter().flatten().all(|(name, value)| labels.get(name) == Some(value));
    let met = selector.match_expressions.iter().flatten().all(|expression| {
        let (value, values) = (labels.get(&expression.key), expression.values.as_deref().unwrap_or_default());
        match expression.operator.as_str() {
            "In" => value.is_some_and(|value| values.contains(value)),
            "NotIn" => value.is_none_or(|value| !values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    named && met
}
