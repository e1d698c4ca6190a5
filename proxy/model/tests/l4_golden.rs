//! Golden folders of the L4 plan: `l4/NAME/in.yaml` (Services, node, settings) becomes `l4/NAME/nft.txt`, the elements as nft text and
//! the faults as comments after them; where it has `packets`, they are explained in `explain.txt`.
//!
//! Each says in its first line which sentence it shows. `UPDATE_GOLDEN=1` writes the results again; look at what changed.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ipnet::IpNet;
use rust_ingress_model::l4::explain::{Packet, explain};
use rust_ingress_model::l4::text::AddElements;
use rust_ingress_model::l4::{L4Service, L4Settings, NodeFacts, Plan};
use rust_ingress_model::{Listener, ListenerAddress, ObjectRef, Parent, Part, Snapshot};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    node: NodeFacts,
    #[serde(default)]
    settings: L4Settings,
    #[serde(default)]
    service_cidrs: Vec<IpNet>,
    services: BTreeMap<ObjectRef, L4Service>,
    /// Where the proxy listens for a Gateway.
    #[serde(default)]
    gateway_ports: Vec<u16>,
    #[serde(default)]
    packets: Vec<String>,
}

#[test]
fn golden_folders() {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/l4")).unwrap();
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(folders.len() >= 20, "golden folders are missing: found {}", folders.len());
    let wrong: Vec<String> = folders.iter().filter_map(|folder| check(folder)).collect();
    assert!(wrong.is_empty(), "differ from what the plan says (UPDATE_GOLDEN=1 rewrites them):\n{}", wrong.join("\n"));
}

fn check(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join("in.yaml")).unwrap();
    assert!(text.starts_with("# "), "{}: in.yaml begins with the sentence that it shows", folder.display());
    let input: Input = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let services = input.services.into_iter().map(|(name, service)| (name, Part::new(service))).collect();
    let listener = |port: u16| Listener {
        parent: Parent::Gateway { object: ObjectRef::new("Gateway", "a", "b") },
        public_port: Some(80),
        ..Listener::http(ListenerAddress::Any, port, "".into())
    };
    let listeners = input.gateway_ports.iter().map(|port| (port.to_string().into(), Part::new(listener(*port)))).collect();
    let snapshot = Snapshot { services, listeners, service_cidrs: input.service_cidrs, ..Snapshot::default() };
    let (plan, change) = Plan::empty(input.settings).next(&snapshot, &input.node);
    assert_eq!(change.added, plan.elements(), "{}: from nothing, all is added", folder.display());
    let faults: String = plan.faults().map(|fault| format!("# {fault}\n")).collect();
    let now = format!("{}{faults}", AddElements(&change.added));
    let explained = |text: &String| explain(&plan, &text.parse::<Packet>().unwrap()).to_string();
    let explained = input.packets.iter().map(explained).collect::<Vec<_>>().join("\n");
    let files = [("nft.txt", now), ("explain.txt", explained)].into_iter().filter(|(_, now)| !now.is_empty());
    files.filter_map(|(name, now)| compare(&folder.join(name), &now)).reduce(|one, other| one + &other)
}

fn compare(file: &Path, now: &str) -> Option<String> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file, now).unwrap();
    }
    (fs::read_to_string(file).unwrap_or_default() != now).then(|| format!("{}; now:\n{now}", file.display()))
}
