//! Cases of `suite ingress` that change objects while it serves: status, Events, updates, deletes.

use anyhow::{Result, bail, ensure};

use super::rows::Want;
use super::{Named, Rig, expect};

/// On everything that is applied by then.
pub const CASES: [Named; 7] = [
    ("ingress class", "the status of an unknown class stays empty", foreign_status),
    ("ingress class", "an Ingress that comes to our class is served, and one that leaves is not", moves),
    ("events", "an Ingress with a guard that is not supported has an Event that names it", guard_event),
    ("events", "an Ingress whose Secret is missing has an Event that names it", secret_event),
    ("changes", "a path that changes is live, the old one is gone", path_changes),
    ("changes", "endpoints that come make a 503 go away", endpoints_come),
    ("changes", "an Ingress that is deleted is not served", deleted),
];

fn addresses(rig: &Rig<'_>, ingress: &str) -> Result<String> {
    rig.kubectl(&["get", "ingress", ingress, "-o", "jsonpath={.status.loadBalancer.ingress}"])
}

fn foreign_status(rig: &Rig<'_>) -> Result<()> {
    // Ours has its addresses by now, so a writer that took this one for ours would have written it too.
    rig.until(|| {
        ensure!(!addresses(rig, "beyond")?.is_empty(), "the Ingress of our class has no address");
        Ok(())
    })?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    let found = addresses(rig, "unknown-class")?;
    ensure!(found.is_empty(), "status: {found}");
    Ok(())
}

fn class(rig: &Rig<'_>, ingress: &str, class: &str) -> Result<()> {
    let patch = format!(r#"{{"spec":{{"ingressClassName":"{class}"}}}}"#);
    rig.kubectl(&["patch", "ingress", ingress, "--type=merge", "-p", &patch]).map(drop)
}

fn moves(rig: &Rig<'_>) -> Result<()> {
    rig.apply(&ingress("moves", "moves", "/", "foo-exact", "some-invalid-class-name"))?;
    class(rig, "moves", "rust-ingress")?;
    rig.until(|| expect(&rig.ask(&rig.get("moves", "/"))?, Want::Service("foo-exact")))?;
    rig.until(|| {
        ensure!(!addresses(rig, "moves")?.is_empty(), "no address in its status");
        Ok(())
    })?;
    class(rig, "moves", "some-invalid-class-name")?;
    rig.until(|| expect(&rig.ask(&rig.get("moves", "/"))?, Want::Service("default")))?;
    rig.until(|| {
        let left = addresses(rig, "moves")?;
        ensure!(left.is_empty(), "our addresses are still in its status: {left}");
        Ok(())
    })
}

fn ingress(name: &str, host: &str, path: &str, service: &str, class: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\nspec:\n  ingressClassName: {class}\n  rules:\n  - host: {host}\n    http:\n      paths:\n      - path: {path}\n        pathType: Prefix\n        backend: {{service: {{name: {service}, port: {{number: 80}}}}}}\n"
    )
}

fn event(rig: &Rig<'_>, ingress: &str, words: &str) -> Result<()> {
    rig.until(|| {
        let selector = format!("regarding.kind=Ingress,regarding.name={ingress}");
        let path = "jsonpath={range .items[*]}{.reason}: {.note}{\"\\n\"}{end}";
        let notes = rig.kubectl(&["get", "events.events.k8s.io", "--field-selector", &selector, "-o", path])?;
        ensure!(notes.contains(words), "no Event of {ingress} holds {words:?}; there are: {}", notes.trim());
        Ok(())
    })
}

fn guard_event(rig: &Rig<'_>) -> Result<()> {
    event(rig, "guarded", "auth-url")
}

fn secret_event(rig: &Rig<'_>) -> Result<()> {
    event(rig, "tls-without-secret", "not-there")
}

fn path_changes(rig: &Rig<'_>) -> Result<()> {
    rig.apply(&ingress("changes", "changes", "/before", "foo-exact", "rust-ingress"))?;
    rig.until(|| expect(&rig.ask(&rig.get("changes", "/before"))?, Want::Service("foo-exact")))?;
    rig.apply(&ingress("changes", "changes", "/after", "aaa-prefix", "rust-ingress"))?;
    rig.until(|| expect(&rig.ask(&rig.get("changes", "/after"))?, Want::Service("aaa-prefix")))?;
    // One object, so one snapshot: the old path can't be there when the new one is.
    expect(&rig.ask(&rig.get("changes", "/before"))?, Want::Status(404))
}

fn endpoints_come(rig: &Rig<'_>) -> Result<()> {
    rig.kubectl(&["scale", "deployment", "aaa-bbb-prefix", "--replicas=0"])?;
    rig.until(|| expect(&rig.ask(&rig.get("prefix-path-rules", "/aaa/bbb"))?, Want::Status(503)))?;
    rig.kubectl(&["scale", "deployment", "aaa-bbb-prefix", "--replicas=1"])?;
    rig.until(|| expect(&rig.ask(&rig.get("prefix-path-rules", "/aaa/bbb"))?, Want::Service("aaa-bbb-prefix")))
}

fn deleted(rig: &Rig<'_>) -> Result<()> {
    rig.apply(&ingress("deleted", "deleted", "/", "foo-exact", "rust-ingress"))?;
    rig.until(|| expect(&rig.ask(&rig.get("deleted", "/"))?, Want::Service("foo-exact")))?;
    rig.kubectl(&["delete", "ingress", "deleted"])?;
    rig.until(|| match rig.ask(&rig.get("deleted", "/"))?.service() {
        Ok(service) if service == "foo-exact" => bail!("still served"),
        _ => Ok(()),
    })
}
