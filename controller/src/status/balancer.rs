//! What pools give a Service, on the Service: addresses, a condition, and the finalizer that keeps it until they are taken back.
//!
//! Pure: what has to be written ([`due`]), and the bodies of the requests. `desk` asks, `write` sends.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as Written, Time};
use k8s_openapi::jiff::Timestamp;
use rust_ingress_model::status::{Balancer, Condition, ObjectStatus};
use rust_ingress_translate::pool::FINALIZER;
use serde_json::{Value, json};

use crate::source::cluster::SeenService;
use crate::status::desk::Write;

/// What to write on a Service.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// `metadata.resourceVersion` that it was decided on.
    pub version: String,
    /// All its finalizers, where they become others.
    pub finalizers: Option<Vec<String>>,
    /// `status.loadBalancer.ingress`
    addresses: Vec<IpAddr>,
    /// Ours, and those of others, which stay.
    conditions: Vec<Condition>,
    others: Vec<Written>,
    /// Whether the status is already so.
    status_stands: bool,
}

impl Balance {
    /// The status to write, of this version; nothing where it stands there already.
    pub fn status(&self, version: &str, now: Timestamp) -> Option<Value> {
        let ingress: Vec<Value> = self.addresses.iter().map(|ip| json!({"ip": ip.to_string(), "ipMode": "VIP"})).collect();
        let ours = self.conditions.iter().map(|condition| Written {
            type_: condition.r#type.clone(),
            status: truth(condition.status).into(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            last_transition_time: Time(now),
            observed_generation: None,
        });
        let conditions: Vec<Written> = self.others.iter().cloned().chain(ours).collect();
        let ingress = if ingress.is_empty() { Value::Null } else { Value::from(ingress) };
        let status = json!({"loadBalancer": {"ingress": ingress}, "conditions": conditions});
        (!self.status_stands).then(|| json!({"metadata": {"resourceVersion": version}, "status": status}))
    }
}

/// What has to be written on a Service, as it was last seen.
pub fn due(service: &SeenService, status: &ObjectStatus) -> Option<Write> {
    let held = service.finalizers.iter().any(|one| one == FINALIZER);
    let addresses = match &status.balancer {
        Some(Balancer::Given(addresses)) => addresses.clone(),
        Some(Balancer::Released) => return held.then(|| Write::Release(service.resource_version.clone())),
        None => return None,
    };
    let finalizers = (!held && !addresses.is_empty()).then(|| {
        let all = service.finalizers.iter().map(String::as_str).chain([FINALIZER]);
        all.map(str::to_owned).collect::<Vec<_>>()
    });
    let ours = |written: &&Written| status.conditions.iter().any(|condition| condition.r#type == written.type_);
    let stands = |condition: &Condition| {
        let same = |written: &Written| {
            let alike = written.type_ == condition.r#type && written.status == truth(condition.status);
            alike && written.reason == condition.reason && written.message == condition.message
        };
        service.conditions.iter().any(same)
    };
    let wanted: BTreeSet<String> = addresses.iter().map(IpAddr::to_string).collect();
    let there: BTreeSet<String> = service.addresses.iter().filter_map(|entry| entry.ip.clone()).collect();
    let status_stands = wanted == there && there.len() == service.addresses.len() && status.conditions.iter().all(stands);
    if status_stands && finalizers.is_none() {
        return None;
    }
    Some(Write::Balance(Box::new(Balance {
        version: service.resource_version.clone(),
        finalizers,
        addresses,
        conditions: status.conditions.clone(),
        others: service.conditions.iter().filter(|written| !ours(written)).cloned().collect(),
        status_stands,
    })))
}

fn truth(yes: bool) -> &'static str {
    if yes { "True" } else { "False" }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn given(ips: &[&str], assigned: bool) -> ObjectStatus {
        let condition = Condition { r#type: "x/Y".into(), status: assigned, reason: "R".into(), message: "m".into() };
        let balancer = Some(Balancer::Given(ips.iter().map(|ip| ip.parse().unwrap()).collect()));
        ObjectStatus { balancer, conditions: vec![condition], ..ObjectStatus::default() }
    }

    fn seen(finalizers: &[&str], status: &Value) -> SeenService {
        let metadata = json!({"resourceVersion": "7", "finalizers": finalizers});
        SeenService::of(&serde_json::from_value(metadata).unwrap(), Some(&serde_json::from_value(status.clone()).unwrap()))
    }

    fn balance(service: &SeenService, status: &ObjectStatus) -> Option<Balance> {
        due(service, status).map(|write| match write {
            Write::Balance(balance) => *balance,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_finalizer_goes_before_the_address_and_others_stay() {
        let other =
            json!({"type": "z/Z", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let service = seen(&["a/b"], &json!({"conditions": [other]}));
        let balance = balance(&service, &given(&["192.0.2.1"], true)).unwrap();
        assert_eq!(balance.finalizers.as_deref(), Some(&["a/b".to_owned(), FINALIZER.to_owned()][..]));
        let body = balance.status("8", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(body["metadata"]["resourceVersion"], "8");
        assert_eq!(body["status"]["loadBalancer"]["ingress"], json!([{"ip": "192.0.2.1", "ipMode": "VIP"}]));
        let types: Vec<&Value> = body["status"]["conditions"].as_array().unwrap().iter().map(|one| &one["type"]).collect();
        assert_eq!(types, ["z/Z", "x/Y"]);
    }

    #[test]
    fn what_stands_is_not_written_again() {
        let condition =
            json!({"type": "x/Y", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}, "conditions": [condition]});
        assert_eq!(due(&seen(&[FINALIZER], &status), &given(&["192.0.2.1"], true)), None);
        assert!(due(&seen(&[FINALIZER], &status), &given(&["192.0.2.2"], true)).is_some());
        assert!(due(&seen(&[FINALIZER], &status), &given(&["192.0.2.1"], false)).is_some());
        let only_finalizer = balance(&seen(&[], &status), &given(&["192.0.2.1"], true)).unwrap();
        assert_eq!(only_finalizer.status("8", Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn without_an_address_there_is_no_finalizer_and_one_that_goes_is_released() {
        assert_eq!(balance(&seen(&[], &json!({})), &given(&[], false)).unwrap().finalizers, None);
        let released = ObjectStatus { balancer: Some(Balancer::Released), ..ObjectStatus::default() };
        assert_eq!(due(&seen(&[FINALIZER], &json!({})), &released), Some(Write::Release("7".into())));
        assert_eq!(due(&seen(&[], &json!({})), &released), None);
    }
}
