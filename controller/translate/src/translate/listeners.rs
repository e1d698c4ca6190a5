//! The listeners of Ingress: one for each address of the settings, named `http`, `http-1`, …, `https`, `https-1`, ….

use std::collections::BTreeSet;
use std::net::SocketAddr;

use rust_ingress_model::{Listener, ListenerAddress, Protocol};

use super::{INGRESS, Work, share};

impl Work<'_> {
    pub(super) fn listeners(&mut self) {
        let mut seen = BTreeSet::new();
        self.listeners_of("http", &self.settings.http, Protocol::Http, &mut seen);
        self.listeners_of("https", &self.settings.https, Protocol::Https, &mut seen);
    }

    /// Port 0 stands for any free port, so two of it aren't the same place.
    fn listeners_of(
        &mut self,
        name: &str,
        addresses: &[SocketAddr],
        protocol: Protocol,
        seen: &mut BTreeSet<(ListenerAddress, u16)>,
    ) {
        let mut count = 0;
        for address in addresses {
            let place = match address.ip() {
                ip if ip.is_unspecified() => ListenerAddress::Any,
                ip => ListenerAddress::Ip(ip),
            };
            if address.port() != 0 && !seen.insert((place, address.port())) {
                continue;
            }
            let name = if count == 0 { name.to_owned() } else { format!("{name}-{count}") };
            count += 1;
            let listener = Listener {
                protocol,
                tls: (protocol == Protocol::Https).then(|| INGRESS.into()),
                proxy_protocol: self.settings.proxy_protocol,
                ..Listener::http(place, address.port(), INGRESS.into())
            };
            let part = share(self.previous.listeners.get(name.as_str()), listener);
            self.snapshot.listeners.insert(name.into(), part);
        }
    }
}
