//! The plan against itself: whatever changed, the changes applied to the old elements are the elements of a plan made from nothing;
//! no set has a key twice; what a verdict goes to is there.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use rust_ingress_model::l4::{
    Data, DataType, EgressSnat, Element, Family, Field, FieldType, Key, L4Endpoint, L4Port, L4Service, L4Settings, NodeFacts,
    Plan, SetName, TrafficPolicy, Transport, Verdict,
};
use rust_ingress_model::{ObjectRef, Part, Snapshot};

fn endpoint() -> impl Strategy<Value = L4Endpoint> {
    let host = (0_u8..12, any::<bool>()).prop_map(|(host, v6)| match v6 {
        false => IpAddr::from(Ipv4Addr::new(10, 244, host % 3, host)),
        true => IpAddr::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, u16::from(host % 3), u16::from(host))),
    });
    let near = (prop::option::of(0..3), prop::collection::vec(0..2, 0..2), prop::collection::vec(0..3, 0..2));
    (host, 0_u16..3, any::<(bool, bool, bool)>(), near).prop_map(
        |(address, port, (ready, serving, terminating), (node, zones, nodes))| L4Endpoint {
            address: SocketAddr::new(address, port),
            ready,
            serving,
            terminating,
            node: node.map(|node: i32| format!("node{node}").into()),
            for_zones: zones.iter().map(|zone| format!("zone{zone}").into()).collect(),
            for_nodes: nodes.iter().map(|node| format!("node{node}").into()).collect(),
        },
    )
}

fn transport() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Tcp), Just(Transport::Udp), Just(Transport::Sctp)]
}

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)]
}

/// Service number `n`: its addresses and ports are its own, as translation sees to.
fn service(n: u8) -> impl Strategy<Value = L4Service> {
    let port = (transport(), prop::option::of(0_u16..2), prop::collection::vec(endpoint(), 0..6));
    let ports = prop::collection::vec(port, 0..3).prop_map(move |ports| {
        let port = |(place, (transport, node_port, endpoints)): (usize, (Transport, Option<u16>, Vec<L4Endpoint>))| L4Port {
            name: format!("port{place}").into(),
            transport,
            port: u16::try_from(place).unwrap(),
            http: None,
            node_port: node_port.map(|port| port * (30_000 + u16::from(n) * 10 + u16::try_from(place).unwrap())),
            without: if n == 5 { vec![Ipv4Addr::new(10, 96, 0, 4).into()] } else { Vec::new() },
            endpoints,
        };
        ports.into_iter().enumerate().map(port).collect::<Vec<_>>()
    });
    let range = prop_oneof![Just("192.0.2.0/24"), Just("192.0.2.0/25"), Just("0.0.0.0/0"), Just("2001:db8::/32")];
    let addresses = (any::<(bool, bool, bool, bool)>(), prop::collection::vec(range, 0..3));
    (addresses, policy(), policy(), prop::option::of(1_u32..3), ports).prop_map(
        move |(((v6, external, balanced, loopback), ranges), internal_policy, external_policy, affinity_s, ports)| {
            let v4 = |kind| IpAddr::from(Ipv4Addr::new(10, 96, kind, n));
            // Two have one ClusterIP: the later isn't served there, and says so.
            let mut cluster_ips = vec![if n == 5 { IpAddr::from(Ipv4Addr::new(10, 96, 0, 4)) } else { v4(0) }];
            cluster_ips.extend(v6.then(|| IpAddr::from(Ipv6Addr::new(0xfd00, 96, 0, 0, 0, 0, 0, n.into()))));
            let mut external_ips: Vec<IpAddr> = external.then(|| v4(1)).into_iter().collect();
            external_ips.extend(loopback.then_some(IpAddr::from(Ipv4Addr::LOCALHOST)));
            L4Service {
                cluster_ips,
                external_ips,
                load_balancer_ips: if balanced { vec![v4(1), v4(2)] } else { Vec::new() },
                source_ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
                internal: internal_policy,
                external: external_policy,
                affinity_s,
                ports,
                ..L4Service::default()
            }
        },
    )
}

fn node() -> impl Strategy<Value = NodeFacts> {
    (0..2, prop::option::of(0..2), any::<bool>(), any::<bool>()).prop_map(|(name, zone, address, leaving)| NodeFacts {
        name: format!("node{name}").into(),
        zone: zone.map(|zone: i32| format!("zone{zone}").into()),
        addresses: address.then(|| "192.0.2.1".parse().unwrap()).into_iter().collect(),
        pod_cidrs: vec![format!("10.244.{name}.0/24").parse().unwrap()],
        leaving,
        ..NodeFacts::default()
    })
}

/// What happens between two plans.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, Box<L4Service>),
    Remove(u8),
    Node(NodeFacts),
    ServiceCidrs(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..6).prop_flat_map(|n| service(n).prop_map(move |service| Step::Put(n, Box::new(service)))),
        2 => (0_u8..6).prop_map(Step::Remove),
        1 => node().prop_map(Step::Node),
        1 => (0_u8..3).prop_map(Step::ServiceCidrs),
    ]
}

fn name(n: u8) -> ObjectRef {
    ObjectRef::new("Service", "default", &format!("service{n}"))
}

fn take(step: Step, snapshot: &mut Snapshot, node: &mut NodeFacts) {
    match step {
        Step::Put(n, service) => {
            snapshot.services.insert(name(n), Part::new(*service));
        }
        Step::Remove(n) => {
            snapshot.services.remove(&name(n));
        }
        Step::Node(other) => *node = other,
        Step::ServiceCidrs(bits) => {
            snapshot.service_cidrs = (0..bits).map(|n| format!("10.96.{n}.0/24").parse().unwrap()).collect();
        }
    }
}

/// As the kernel does it: every element that goes was there, none that comes is.
fn apply(kernel: &mut BTreeMap<(Family, SetName, Key), Data>, removed: &[Element], added: &[Element]) {
    for element in removed {
        let was = kernel.remove(&(element.family, element.set, element.key));
        assert_eq!(was, Some(element.data), "removed, and wasn't there so: {element:?}");
    }
    for element in added {
        let was = kernel.insert((element.family, element.set, element.key), element.data);
        assert_eq!(was, None, "added, and was there: {element:?}");
    }
}

/// Each key is as its set is declared.
fn is_declared(element: &Element) -> bool {
    let declared = element.set.declaration(0);
    let same = |(field, declared): (Field, &FieldType)| match field {
        Field::Address(address) => *declared == FieldType::Address && Family::of(address) == element.family,
        Field::Network(net) => {
            *declared == FieldType::Address && Family::of(net.addr()) == element.family && declared_range(element)
        }
        Field::Protocol(_) => *declared == FieldType::Protocol,
        Field::Port(port) => *declared == FieldType::Port && port != 0,
        Field::Index(_) => *declared == FieldType::Index,
    };
    let data = match element.data {
        Data::None => declared.data == DataType::None,
        Data::Verdict(_) => declared.data == DataType::Verdict,
        Data::Endpoint(endpoint) => declared.data == DataType::Endpoint && Family::of(endpoint.ip()) == element.family,
        Data::Network(net) => declared.data == DataType::Range && Family::of(net.addr()) == element.family,
    };
    data && element.key.fields().count() == declared.key.len() && element.key.fields().zip(declared.key).all(same)
}

fn declared_range(element: &Element) -> bool {
    element.set.declaration(0).interval
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn changes_lead_to_the_plan_made_from_nothing(steps in prop::collection::vec(step(), 1..14)) {
        let settings = L4Settings { egress: Some(EgressSnat::default()), ..L4Settings::default() };
        let (mut snapshot, mut node) = (Snapshot::default(), NodeFacts::default());
        let (mut plan, mut kernel) = (Plan::empty(settings.clone()), BTreeMap::new());
        let mut chains = BTreeSet::new();
        for step in steps {
            take(step, &mut snapshot, &mut node);
            let (next, change) = plan.next(&snapshot, &node);
            plan = next;
            chains.extend(change.chains.iter().copied());
            apply(&mut kernel, &change.removed, &change.added);
            let (fresh, all) = Plan::empty(settings.clone()).next(&snapshot, &node);
            let elements: Vec<Element> = kernel.iter().map(|((family, set, key), data)| Element { family: *family, set: *set, key: *key, data: *data }).collect();
            prop_assert_eq!(&elements, &fresh.elements());
            prop_assert_eq!(&elements, &plan.elements());
            prop_assert_eq!(&elements, &all.added);
            prop_assert_eq!(plan.counts(), fresh.counts());
            prop_assert_eq!(plan.faults().collect::<Vec<_>>(), fresh.faults().collect::<Vec<_>>());
            prop_assert!(all.chains.iter().all(|chain| chains.contains(chain)));
            for element in &elements {
                prop_assert!(is_declared(element), "{element:?}");
                if let Data::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain)) = element.data {
                    prop_assert!(!chain.is_on_demand() || chains.contains(&chain));
                }
            }
            let (_, again) = plan.next(&snapshot, &node);
            prop_assert!(again.is_empty(), "nothing changed: {again:?}");
        }
    }
}

/// 65,535 endpoints and no more.
#[test]
fn more_endpoints_than_indexes_are_left_out_with_a_fault() {
    let endpoint = |n: u32| L4Endpoint {
        address: SocketAddr::new(Ipv4Addr::from(0x0a00_0001 + n).into(), 80),
        ready: true,
        serving: true,
        terminating: false,
        node: None,
        for_zones: Vec::new(),
        for_nodes: Vec::new(),
    };
    let planned = |count: u32| {
        let endpoints = (0..count).map(endpoint).collect();
        let port = L4Port {
            name: "http".into(),
            transport: Transport::Tcp,
            port: 80,
            http: None,
            node_port: None,
            without: Vec::new(),
            endpoints,
        };
        let service = L4Service { cluster_ips: vec!["10.96.0.1".parse().unwrap()], ports: vec![port], ..L4Service::default() };
        let services = [(name(0), Part::new(service))].into();
        let snapshot = Snapshot { services, ..Snapshot::default() };
        let (plan, _) = Plan::empty(L4Settings::default()).next(&snapshot, &NodeFacts::default());
        let endpoints = plan.counts().get(&(Family::Ipv4, SetName::Endpoints)).copied();
        (endpoints, plan.faults().map(|fault| fault.message.clone()).collect::<Vec<_>>())
    };
    assert_eq!(planned(65_535), (Some(65_535), vec![]));
    assert_eq!(planned(65_536), (Some(65_535), vec!["more than 65535 endpoints: the others get no traffic".into()]));
}

/// 10,000 Services of five endpoints: one that changes costs its elements, not those of all.
#[test]
fn a_change_costs_what_changed() {
    let service = |n: u16, last: u8| {
        let endpoint = |e: u8| L4Endpoint {
            address: SocketAddr::new(Ipv4Addr::new(10, 1, e, last).into(), 80),
            ready: true,
            serving: true,
            terminating: false,
            node: Some("node0".into()),
            for_zones: Vec::new(),
            for_nodes: Vec::new(),
        };
        let endpoints = (0..5).map(endpoint).collect();
        let port = L4Port {
            name: "http".into(),
            transport: Transport::Tcp,
            port: 80,
            http: None,
            node_port: None,
            without: Vec::new(),
            endpoints,
        };
        let [high, low] = n.to_be_bytes();
        Part::new(L4Service {
            cluster_ips: vec![Ipv4Addr::new(10, 96, high, low).into()],
            ports: vec![port],
            ..L4Service::default()
        })
    };
    let name = |n: u16| ObjectRef::new("Service", "default", &format!("service{n}"));
    let services = (0..10_000).map(|n| (name(n), service(n, 1))).collect();
    let mut snapshot = Snapshot { services, ..Snapshot::default() };
    let (plan, all) = Plan::empty(L4Settings::default()).next(&snapshot, &NodeFacts::default());
    assert_eq!(all.added.len(), 10_000 * 8);
    snapshot.services.insert(name(77), service(77, 2));
    let began = std::time::Instant::now();
    let (_, change) = plan.next(&snapshot, &NodeFacts::default());
    let took = began.elapsed();
    assert_eq!((change.removed.len(), change.added.len()), (5, 5));
    assert!(took.as_millis() < 50, "one change took {took:?}: as if all were planned again");
}

#[test]
fn packets_are_read_as_they_are_written() {
    use rust_ingress_model::l4::explain::Packet;
    for text in ["tcp 10.244.1.7:40000 -> 10.96.0.10:53", "sctp [fd00::1]:1 -> [fd00::2]:2"] {
        assert_eq!(text.parse::<Packet>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "tcp",
        "icmp 10.0.0.1:1 -> 10.0.0.2:2",
        "tcp 10.0.0.1 -> 10.0.0.2:2",
        "tcp 10.0.0.1:1 -> [fd00::2]:2",
        "tcp 10.0.0.1:1",
    ] {
        let error = text.parse::<Packet>().unwrap_err().to_string();
        assert!(error.contains("expected \"tcp 10.244.1.7:40000 -> 10.96.0.10:53\""), "{error}");
    }
}
