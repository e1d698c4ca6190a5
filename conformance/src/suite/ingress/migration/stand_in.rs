//! The other class' controller: it watches Ingresses of class `nginx`, serves their hosts in the outside world, writes its address.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::Rig;

/// Its address: the outside world's own.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// How often it looks. kubectl takes about as long.
const PERIOD: Duration = Duration::from_millis(50);

/// The controller and its view of the Ingresses.
pub struct StandIn {
    listener: TcpListener,
    view: Mutex<View>,
}

#[derive(Default)]
struct View {
    hosts: BTreeSet<String>,
    statuses: BTreeMap<String, Vec<IpAddr>>,
    changes: usize,
}

impl StandIn {
    /// Takes port 80 of its address.
    pub fn bind() -> Result<Self> {
        let listener = TcpListener::bind((ADDRESS, 80)).context("the stand-in can't have port 80 of the outside world")?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, view: Mutex::default() })
    }

    /// What the status of an Ingress had when it was seen last.
    pub fn addresses(&self, ingress: &str) -> Vec<IpAddr> {
        self.view().statuses.get(ingress).cloned().unwrap_or_default()
    }

    /// How often a status was seen to change.
    pub fn changes(&self) -> usize {
        self.view().changes
    }

    /// Answers requests: 200 for hosts of its class, 404 for others; one request a connection.
    pub fn serve(&self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            match self.listener.accept() {
                Ok((stream, _)) => drop(self.answer(stream)),
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Follows the Ingresses and writes status until it is over.
    pub fn watch(&self, rig: &Rig<'_>, over: &AtomicBool) -> Result<()> {
        while !over.load(Ordering::Relaxed) {
            let list: Value = serde_json::from_str(&rig.kubectl(&["get", "ingress", "-o", "json"])?)?;
            for name in self.look(&list) {
                let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": ADDRESS}]}}}).to_string();
                rig.kubectl(&["patch", "ingress", &name, "--subresource=status", "--type=merge", "-p", &status])?;
            }
            thread::sleep(PERIOD);
        }
        Ok(())
    }

    /// Takes over what is there; the names of its Ingresses that lack its address.
    fn look(&self, list: &Value) -> Vec<String> {
        let mut view = self.view();
        let (mut hosts, mut lacking) = (BTreeSet::new(), Vec::new());
        for ingress in list["items"].as_array().into_iter().flatten() {
            let name = ingress["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let entries = ingress["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
            let addresses: Vec<IpAddr> = entries.filter_map(|entry| entry["ip"].as_str()?.parse().ok()).collect();
            let changed = view.statuses.insert(name.clone(), addresses.clone()).is_some_and(|before| before != addresses);
            view.changes += usize::from(changed);
            if ingress["spec"]["ingressClassName"] != "nginx" {
                continue;
            }
            let rules = ingress["spec"]["rules"].as_array().into_iter().flatten();
            hosts.extend(rules.filter_map(|rule| rule["host"].as_str().map(str::to_owned)));
            if addresses != [ADDRESS] {
                lacking.push(name);
            }
        }
        view.hosts = hosts;
        lacking
    }

    fn answer(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut host = String::new();
        for line in BufReader::new(stream.try_clone()?).lines() {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("host")
            {
                value.trim().clone_into(&mut host);
            }
        }
        let status = if self.view().hosts.contains(&host) { "200 OK" } else { "404 Not Found" };
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 9\r\nconnection: close\r\n\r\nstand-in\n")?;
        Ok(())
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
