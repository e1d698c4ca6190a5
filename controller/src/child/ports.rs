//! The health and admin ports, beside a predecessor that still has them: the Pod before, on the host network.
//!
//! Who asks the health port must not hear of a successor that serves nothing yet, nor of a predecessor that drains. So a
//! successor opens it once it serves, or once nobody else has it; and who drains closes it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rust_ingress_proxy::observe::Ports;
use rust_ingress_proxy::options::Options;
use rust_ingress_proxy::server::sockets::Sharing;

use super::state::{Shared, State};

/// How often it is looked whether the health port can be opened.
const AGAIN: Duration = Duration::from_millis(250);

/// Binds both ports; the health port not where a predecessor has it.
pub(super) fn bind(options: &Options) -> io::Result<Ports> {
    let Options { health, admin, sharing, .. } = options;
    let admin = Ports::bind(None, *admin, *sharing)?.admin;
    match Ports::bind(*health, None, Sharing::Alone) {
        Ok(Ports { health, .. }) => Ok(Ports { health, admin }),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && *sharing == Sharing::WithOurselves => {
            tracing::info!("another instance has the health port; sharing it once this one serves");
            Ok(Ports { health: None, admin })
        }
        Err(error) => Err(error),
    }
}

/// Opens the health port later where [`bind`] couldn't. A thread of its own until then.
pub(super) fn follow_predecessor(shared: &Arc<Shared>) -> io::Result<()> {
    let asked = shared.options.proxy.health;
    if asked.is_none() || shared.lock().ports.health.is_some() {
        return Ok(());
    }
    let shared = shared.clone();
    let wait = move || {
        let mut said = false;
        while !shared.wait(AGAIN, |state| state.stopping || state.standing.draining) {
            let serves = shared.lock().serves();
            let sharing = if serves { Sharing::WithOurselves } else { Sharing::Alone };
            match Ports::bind(asked, None, sharing) {
                Ok(Ports { health, .. }) => return shared.change(|state| state.open_health(health)),
                Err(error) if serves && !said => {
                    said = true;
                    tracing::error!("{error}; trying again");
                }
                Err(_) => {}
            }
        }
    };
    std::thread::Builder::new().name("health-port".into()).spawn(wait).map(drop)
}

impl State {
    /// Whether what is served is more than the last good state.
    fn serves(&self) -> bool {
        self.answered > 0 && self.standing.last_good.is_none()
    }

    fn open_health(&mut self, socket: Option<std::net::TcpListener>) {
        let Some(socket) = socket.filter(|_| !self.standing.draining) else { return };
        let sent = self.orders.as_mut().map_or(Ok(()), |orders| orders.health(&socket));
        self.ports.health = Some(socket);
        self.check(sent);
    }
}
