//! Cases of `suite ingress` that are requests and need more than one row: default backend, TLS, addresses, load balancing.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use http::{Method, Version};

use super::client::Ask;
use super::rows::Want;
use super::{Named, Rig, expect};

const DEFAULT: &str = "default backend";

/// The default backend outline, six methods and paths.
pub const DEFAULT_BACKEND: [Named; 6] = [
    (DEFAULT, "takes GET of /", |rig| outline(rig, &Method::GET, "my-host", "/")),
    (DEFAULT, "takes GET of a deeper path", |rig| outline(rig, &Method::GET, "my-host", "/sub-path/a")),
    (DEFAULT, "takes POST", |rig| outline(rig, &Method::POST, "some-host", "/")),
    (DEFAULT, "takes PUT of a request whose host is an address", |rig| outline(rig, &Method::PUT, "192.0.2.11", "/resource")),
    (DEFAULT, "takes DELETE", |rig| outline(rig, &Method::DELETE, "some-host", "/resource")),
    (DEFAULT, "takes PATCH", |rig| outline(rig, &Method::PATCH, "my-host", "/resource")),
];

/// On `rules.yaml`.
pub const RULES: [Named; 11] = [
    ("host rules", "TLS for foo.bar.com presents its certificate", tls),
    ("host rules", "plain HTTP for a host with TLS is redirected there", redirect),
    ("ingress class", "status holds the addresses of the nodes", status),
    ("tls", "HTTP/2 by ALPN", h2),
    ("tls", "SNI picks the certificate, Host picks the route", sni_and_host),
    ("tls", "a name without a certificate is not presented another's", unknown_name),
    ("tls", "a certificate that is replaced is used from the next handshake on", replaced),
    ("addresses", "every node answers, in both families", every_node),
    ("requests", "HTTP/2 with prior knowledge", prior_knowledge),
    ("requests", "the endpoint sees the client's address, host and scheme", forwarded),
    ("load balancing", "100 requests reach all of 10 Pods", ten_pods),
];

/// On `beyond.yaml` beside it.
pub const BEYOND: [Named; 3] = [
    ("ingress class", "an unknown class is not served", |rig| expect_default(rig, "unknown-class")),
    ("annotations", "a guard that is not supported answers 503", |rig| {
        let answer = rig.ask(&rig.get("guarded", "/"))?;
        expect(&answer, Want::Status(503))
    }),
    ("tls", "a Secret that is missing costs its certificate, not the redirect", |rig| {
        ensure!(rig.ask(&rig.get("no-secret.bar.com", "/"))?.status == 308, "no redirect");
        let Err(error) = rig.ask(&rig.get("no-secret.bar.com", "/").tls("no-secret.bar.com")) else {
            bail!("whose certificate?")
        };
        untrusted(&error)
    }),
];

/// Taken by the default backend of another Ingress, as any host that nobody claims.
fn expect_default(rig: &Rig<'_>, host: &str) -> Result<()> {
    expect(&rig.ask(&rig.get(host, "/"))?, Want::Service("default"))
}

fn outline(rig: &Rig<'_>, method: &Method, host: &str, path: &str) -> Result<()> {
    let answer = rig.ask(&rig.get(host, path).method(method.clone()).header("user-agent", "suite-ingress"))?;
    ensure!(answer.version == Version::HTTP_11, "answered in {:?}", answer.version);
    // The original suite also asks for Server; this echo server sends none, and none is made up here.
    for name in ["content-length", "content-type", "date"] {
        ensure!(!answer.header(name).is_empty(), "no {name}");
    }
    let echoed = answer.echoed()?;
    let said = |name: &str| echoed[name].as_str().unwrap_or_default().to_owned();
    ensure!(said("service") == "default", "answered by {}", said("service"));
    ensure!(said("method") == method.as_str(), "the endpoint saw method {}", said("method"));
    ensure!(said("path") == path, "the endpoint saw path {}", said("path"));
    ensure!(said("host") == host, "the endpoint saw host {}", said("host"));
    ensure!(said("proto") == "HTTP/1.1", "the endpoint saw {}", said("proto"));
    ensure!(echoed["headers"]["User-Agent"][0] == "suite-ingress", "the endpoint saw {}", echoed["headers"]["User-Agent"]);
    Ok(())
}

pub fn tls(rig: &Rig<'_>) -> Result<()> {
    expect(&rig.ask(&rig.get("foo.bar.com", "/").tls("foo.bar.com"))?, Want::Service("foo-bar-com"))
}

fn redirect(rig: &Rig<'_>) -> Result<()> {
    let answer = rig.ask(&rig.get("foo.bar.com", "/a?b=c"))?;
    ensure!(answer.status == 308, "status {}", answer.status);
    let location = answer.header("location");
    ensure!(location == "https://foo.bar.com/a?b=c", "Location: {location}");
    tls(rig)
}

fn status(rig: &Rig<'_>) -> Result<()> {
    let wanted: BTreeSet<String> = rig.nodes.iter().map(ToString::to_string).collect();
    rig.until(|| {
        let path = "jsonpath={.status.loadBalancer.ingress[*].ip}";
        let text = rig.kubectl(&["get", "ingress", "host-rules", "-o", path])?;
        let found: BTreeSet<String> = text.split_whitespace().map(str::to_owned).collect();
        ensure!(!found.is_empty(), "no address");
        ensure!(found.is_subset(&wanted), "status has {found:?}, the nodes have {wanted:?}");
        let v4 = wanted.iter().filter(|address| address.contains('.')).count();
        let found_v4 = found.iter().filter(|address| address.contains('.')).count();
        ensure!(found_v4 == v4, "status has {found_v4} IPv4 addresses, there are {v4} nodes");
        Ok(())
    })
}

fn h2(rig: &Rig<'_>) -> Result<()> {
    let answer = rig.ask(&rig.get("foo.bar.com", "/").tls("foo.bar.com").h2())?;
    ensure!(answer.version == Version::HTTP_2, "answered in {:?}", answer.version);
    expect(&answer, Want::Service("foo-bar-com"))
}

fn prior_knowledge(rig: &Rig<'_>) -> Result<()> {
    let answer = rig.ask(&rig.get("bar.foo.com", "/").h2())?;
    ensure!(answer.version == Version::HTTP_2, "answered in {:?}", answer.version);
    expect(&answer, Want::Service("wildcard-foo-com"))
}

fn sni_and_host(rig: &Rig<'_>) -> Result<()> {
    expect(&rig.ask(&rig.get("bar.foo.com", "/").tls("foo.bar.com"))?, Want::Service("wildcard-foo-com"))
}

/// A handshake that ended because the certificate is not of the suite's authority.
fn untrusted(error: &anyhow::Error) -> Result<()> {
    let text = format!("{error:#}");
    ensure!(text.contains("invalid peer certificate"), "the handshake failed otherwise: {text}");
    Ok(())
}

fn unknown_name(rig: &Rig<'_>) -> Result<()> {
    let Err(error) = rig.ask(&rig.get("foo.bar.com", "/").tls("nobody.bar.com")) else { bail!("it was") };
    untrusted(&error)
}

fn replaced(rig: &Rig<'_>) -> Result<()> {
    // Valid for a second name now; that it is presented for that name shows that the new one is in use.
    rig.apply(&rig.authority.secret("foo-bar-com", &["foo.bar.com", "new.foo.bar.com"])?)?;
    let patch = r#"{"spec":{"tls":[{"hosts":["foo.bar.com","new.foo.bar.com"],"secretName":"foo-bar-com"}]}}"#;
    rig.kubectl(&["patch", "ingress", "host-rules", "--type=merge", "-p", patch])?;
    rig.until(|| rig.ask(&rig.get("foo.bar.com", "/").tls("new.foo.bar.com")).map(drop))?;
    tls(rig)
}

fn every_node(rig: &Rig<'_>) -> Result<()> {
    for address in &rig.nodes {
        let answer = rig.ask(&Ask::get(*address, "exact-path-rules", "/foo")).with_context(|| format!("{address}"))?;
        expect(&answer, Want::Service("foo-exact"))?;
    }
    Ok(())
}

fn forwarded(rig: &Rig<'_>) -> Result<()> {
    let forged =
        rig.get("exact-path-rules", "/foo").header("x-forwarded-for", "198.51.100.9").header("x-forwarded-proto", "https");
    let echoed = rig.ask(&forged)?.echoed()?;
    let said = |name: &str| echoed["headers"][name][0].as_str().unwrap_or_default().to_owned();
    ensure!(said("X-Forwarded-For") == crate::cluster::layout::WAN_V4, "X-Forwarded-For: {}", said("X-Forwarded-For"));
    ensure!(said("X-Forwarded-Proto") == "http", "X-Forwarded-Proto: {}", said("X-Forwarded-Proto"));
    ensure!(said("X-Forwarded-Host") == "exact-path-rules", "X-Forwarded-Host: {}", said("X-Forwarded-Host"));
    Ok(())
}

fn ten_pods(rig: &Rig<'_>) -> Result<()> {
    rig.kubectl(&["scale", "deployment", "foo-prefix", "--replicas=10"])?;
    rig.kubectl(&["rollout", "status", "deployment", "foo-prefix", "--timeout=90s"])?;
    let hundred = || -> Result<BTreeSet<String>> {
        let mut pods = BTreeSet::new();
        for _ in 0..100 {
            let echoed = rig.ask(&rig.get("prefix-path-rules", "/foo"))?.echoed()?;
            pods.insert(echoed["pod"].as_str().unwrap_or_default().to_owned());
        }
        Ok(pods)
    };
    // The last Pods are ready in the API server a moment before they are in the proxy.
    rig.until(|| {
        let pods = hundred()?;
        ensure!(pods.len() == 10, "100 requests reached {} Pods", pods.len());
        Ok(())
    })?;
    rig.kubectl(&["scale", "deployment", "foo-prefix", "--replicas=1"]).map(drop)
}
