//! The banner: what `run` prints when it serves. Where it listens, the routes it found, and a line to try.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use rust_ingress_model::{BackendRef, HostPattern, ListenerName, PathMatch, Protocol, RouteMatch, Rule, Snapshot};

use crate::sandbox::Sandbox;
use crate::source::files::Folder;

/// Routes beyond these are counted, not shown.
const MOST_ROUTES: usize = 20;

pub(super) struct Banner<'a> {
    pub(super) root: &'a Path,
    pub(super) folder: &'a Folder,
    pub(super) bound: Vec<(ListenerName, SocketAddr)>,
    pub(super) admin: Option<SocketAddr>,
    pub(super) health: Option<SocketAddr>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) sandbox: Option<&'a Sandbox>,
}

/// One line of the list of routes.
struct Route<'a> {
    host: &'a HostPattern,
    matched: &'a RouteMatch,
    rule: &'a Rule,
}

impl Banner<'_> {
    /// Prints it on standard output. A reader that went away is no reason not to serve.
    pub(super) fn print(&self) {
        let mut text = String::new();
        if self.write(&mut text).is_ok() {
            let mut out = std::io::stdout().lock();
            drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
        }
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let (objects, files) = (self.folder.objects(), self.folder.files());
        writeln!(
            out,
            "rust-ingress {}: {} from {} in {}",
            env!("CARGO_PKG_VERSION"),
            count(objects, "object"),
            count(files, "file"),
            self.root.display()
        )?;
        for (scheme, address) in self.listeners() {
            writeln!(out, "  {scheme:<7} {scheme}://{address}")?;
        }
        for (what, address, path) in [("admin", self.admin, "/snapshot"), ("health", self.health, "/readyz")] {
            if let Some(address) = address {
                writeln!(out, "  {what:<7} http://{address}{path}")?;
            }
        }
        if !self.snapshot.services.is_empty() {
            writeln!(out, "  {:<7} {} in the kernel", "l4", count(self.snapshot.services.len(), "Service"))?;
        }
        if self.snapshot.listeners.is_empty() {
            return self.write_faults(out);
        }
        let routes = self.routes();
        writeln!(out, "routes:")?;
        for route in routes.iter().take(MOST_ROUTES) {
            let host = route.host.to_string();
            writeln!(out, "  {host:<24} {:<24} -> {}", path(&route.matched.path), target(route.rule))?;
        }
        match routes.len() {
            0 => writeln!(out, "  none: there is no Ingress of class rust-ingress in this folder that can be served")?,
            some if some > MOST_ROUTES => writeln!(out, "  and {} more", some - MOST_ROUTES)?,
            _ => {}
        }
        self.write_faults(out)?;
        self.write_trial(&routes, out)?;
        self.sandbox.map_or(Ok(()), |sandbox| write!(out, "{sandbox}"))
    }

    fn write_faults(&self, out: &mut String) -> fmt::Result {
        match self.snapshot.faults().count() {
            0 => Ok(()),
            faults => {
                let (faults, root) = (count(faults, "fault"), self.root.display());
                writeln!(out, "{faults} (see the log, or: rust-ingress check --manifests {root})")
            }
        }
    }

    /// Scheme and real address of each listener, HTTP first.
    fn listeners(&self) -> Vec<(&'static str, SocketAddr)> {
        let scheme = |name| match self.snapshot.listeners.get(name)?.protocol {
            Protocol::Http => Some("http"),
            Protocol::Https => Some("https"),
            Protocol::Tls | Protocol::Tcp | Protocol::Udp => None,
        };
        let mut found: Vec<_> = self.bound.iter().filter_map(|(name, address)| Some((scheme(name)?, *address))).collect();
        found.sort_unstable();
        found
    }

    fn routes(&self) -> Vec<Route<'_>> {
        let hosts = self.snapshot.route_sets.values().flat_map(|set| set.hosts.values());
        let rules = hosts.flat_map(|host| host.rules.iter().map(|rule| (&host.host, rule)));
        rules.flat_map(|(host, rule)| rule.matches.iter().map(move |matched| Route { host, matched, rule })).collect()
    }

    /// A curl line for each scheme, for a route that one can be written for.
    fn write_trial(&self, routes: &[Route<'_>], out: &mut String) -> fmt::Result {
        let answers = |route: &&Route<'_>| {
            let served = matches!(route.rule.backends.first().map(|b| &b.backend), Some(BackendRef::Service(_)));
            let plain = matches!(&route.matched.path, PathMatch::Exact(_) | PathMatch::Prefix(_));
            served && plain && route.rule.guards.is_empty()
        };
        // Shortest first: what a user tries first should be the least to type.
        let best = routes
            .iter()
            .filter(answers)
            .min_by_key(|route| (route.rule.filters.len(), rank(route.host), path(&route.matched.path).len()));
        let Some(best) = best else { return Ok(()) };
        let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = &best.matched.path else { return Ok(()) };
        writeln!(out, "try:")?;
        for (scheme, address) in self.listeners() {
            let insecure = if scheme == "https" { " -k" } else { "" };
            match host_name(best.host) {
                None => writeln!(out, "  curl{insecure} {scheme}://{address}{path}")?,
                Some(host) => {
                    let port = address.port();
                    writeln!(out, "  curl{insecure} --resolve {host}:{port}:{} {scheme}://{host}:{port}{path}", address.ip())?;
                }
            }
        }
        Ok(())
    }
}

fn rank(host: &HostPattern) -> u8 {
    match host {
        HostPattern::Any => 0,
        HostPattern::Exact(_) => 1,
        HostPattern::OneLabel(_) | HostPattern::AnyLabels(_) => 2,
    }
}

/// A name that the pattern takes; `None` where any will do.
fn host_name(host: &HostPattern) -> Option<String> {
    match host {
        HostPattern::Any => None,
        HostPattern::Exact(name) => Some(name.to_string()),
        HostPattern::OneLabel(suffix) | HostPattern::AnyLabels(suffix) => Some(format!("try.{suffix}")),
    }
}

fn path(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("{path} (exact)"),
        PathMatch::Prefix(path) => path.to_string(),
        PathMatch::Regex(path) => format!("{path} (regex)"),
        PathMatch::LastElement(name) => format!("*/{name}"),
    }
}

fn target(rule: &Rule) -> String {
    let one = |backend: &BackendRef| match backend {
        BackendRef::Service(key) => key.to_string(),
        BackendRef::Fail { status, reason } => format!("{status} ({reason})"),
    };
    let all: Vec<String> = rule.backends.iter().map(|backend| one(&backend.backend)).collect();
    match all.is_empty() {
        true => "answered here".into(),
        false => all.join(", "),
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
