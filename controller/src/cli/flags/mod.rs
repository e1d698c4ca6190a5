//! The flags of `run` that become the proxy's options: limits, timeouts, logs. Defaults are the proxy's own.

pub(super) mod cluster;
pub(super) mod l4;
pub(super) mod state;
pub(super) mod status;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rust_ingress_proxy::options::{AccessLog, DefaultTimeouts, Drain, Limits, Options};

/// Where something is served, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(pub(super) Option<SocketAddr>);

pub(super) fn place(text: &str) -> Result<Place, String> {
    match text {
        "off" => Ok(Place(None)),
        _ => address(text).map(|address| Place(Some(address))),
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an address and a port, such as 127.0.0.1:8080 or [::]:8080".into())
}

/// The admin port shows the whole configuration, so it is for this machine alone.
pub(super) fn loopback_place(text: &str) -> Result<Place, String> {
    match place(text)? {
        Place(Some(address)) if !address.ip().is_loopback() => {
            Err("the admin port is served on loopback only: 127.0.0.1:PORT, [::1]:PORT or off".into())
        }
        place => Ok(place),
    }
}

fn network(text: &str) -> Result<ipnet::IpNet, String> {
    let host = |ip: IpAddr| ipnet::IpNet::from(ip);
    text.parse().or_else(|_| text.parse().map(host)).map_err(|_| "expected an address or a CIDR such as 10.0.0.0/8".into())
}

fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|byte: char| !byte.is_ascii_digit() && byte != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" if number == "0" => 1.0,
        _ => return Err("expected a time with its unit, such as 500ms, 10s, 5m or 0".into()),
    };
    let value: f64 = number.parse().map_err(|_| format!("{number:?} is not a number"))?;
    Duration::try_from_secs_f64(value * seconds).map_err(|error| error.to_string())
}

fn access_log(text: &str) -> Result<AccessLog, String> {
    Ok(match text {
        "off" => AccessLog::Off,
        "stdout" => AccessLog::Stdout,
        "" => return Err("expected off, stdout or the path of a file".into()),
        path => AccessLog::File(PathBuf::from(path)),
    })
}

/// What becomes [`Options`].
#[derive(Args)]
pub(super) struct ProxyArgs {
    /// Threads that serve requests, each with its own connections [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Where the access log goes, as JSON lines: off, stdout or a file
    #[arg(long, value_name = "off|stdout|FILE", default_value = "off", value_parser = access_log)]
    access_log: AccessLog,
    /// Whose X-Forwarded-*, Forwarded and X-Request-Id are believed; may be repeated
    #[arg(long, value_name = "CIDR", value_parser = network, value_delimiter = ',')]
    trusted_proxy: Vec<ipnet::IpNet>,
    /// Also send Forwarded (RFC 7239) to endpoints
    #[arg(long)]
    send_forwarded: bool,
    /// After SIGTERM: how long to go on accepting while reporting not ready
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration)]
    drain_delay: Duration,
    /// After that: how long requests in flight may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    drain_timeout: Duration,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    timeouts: TimeoutArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Connections, all workers together [default: 50000]
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
    /// Connections from one address; 0: no limit [default: 0]
    #[arg(long, value_name = "N")]
    max_connections_per_address: Option<usize>,
    /// Requests in flight per worker; over it 503 [default: 25000]
    #[arg(long, value_name = "N")]
    max_requests_in_flight: Option<usize>,
    /// Bytes of a request's head [default: 65536]
    #[arg(long, value_name = "BYTES")]
    max_head: Option<usize>,
    /// Header fields of a request [default: 100]
    #[arg(long, value_name = "N")]
    max_headers: Option<usize>,
    /// Bytes of a request's body where an Ingress says nothing; 0: no limit [default: 0]
    #[arg(long, value_name = "BYTES")]
    max_body: Option<u64>,
    /// Streams of an HTTP/2 connection [default: 100]
    #[arg(long, value_name = "N")]
    max_h2_streams: Option<u32>,
}

#[derive(Args)]
#[command(next_help_heading = "Timeouts where an Ingress says nothing (0: none)")]
struct TimeoutArgs {
    /// To the whole head of a request [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    header_timeout: Option<Duration>,
    /// A connection without a request [default: 75s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    keep_alive_timeout: Option<Duration>,
    /// To a connection with an endpoint [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    connect_timeout: Option<Duration>,
    /// To the head of an endpoint's response [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    response_timeout: Option<Duration>,
    /// A body or an upgraded connection without a byte [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    idle_timeout: Option<Duration>,
    /// The whole request [default: 0]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    request_timeout: Option<Duration>,
}

impl ProxyArgs {
    /// The proxy's options.
    pub(super) fn options(self, admin: Place, health: Place) -> Options {
        let default = Options::default();
        Options {
            workers: self.workers.map_or(default.workers, usize::from),
            admin: admin.0,
            health: health.0,
            trusted_proxies: self.trusted_proxy,
            send_forwarded: self.send_forwarded,
            access_log: self.access_log,
            limits: self.limits.limits(&default.limits),
            timeouts: self.timeouts.timeouts(&default.timeouts),
            drain: Drain { delay: self.drain_delay, timeout: self.drain_timeout },
            sharing: default.sharing,
        }
    }
}

impl LimitArgs {
    fn limits(&self, default: &Limits) -> Limits {
        Limits {
            connections: self.max_connections.unwrap_or(default.connections),
            connections_per_address: self.max_connections_per_address.unwrap_or(default.connections_per_address),
            requests_in_flight: self.max_requests_in_flight.unwrap_or(default.requests_in_flight),
            head_bytes: self.max_head.unwrap_or(default.head_bytes),
            headers: self.max_headers.unwrap_or(default.headers),
            body_bytes: self.max_body.unwrap_or(default.body_bytes),
            h2_streams: self.max_h2_streams.unwrap_or(default.h2_streams),
            ..default.clone()
        }
    }
}

impl TimeoutArgs {
    fn timeouts(&self, default: &DefaultTimeouts) -> DefaultTimeouts {
        DefaultTimeouts {
            header_read: self.header_timeout.unwrap_or(default.header_read),
            keep_alive: self.keep_alive_timeout.unwrap_or(default.keep_alive),
            connect: self.connect_timeout.unwrap_or(default.connect),
            response_headers: self.response_timeout.unwrap_or(default.response_headers),
            idle: self.idle_timeout.unwrap_or(default.idle),
            request: self.request_timeout.unwrap_or(default.request),
            upstream_idle: default.upstream_idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for bad in ["", "5", "s", "-1s", "1 s", "1d", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_may_be_single_addresses() {
        assert_eq!(network("10.0.0.1").map(|net| net.to_string()), Ok("10.0.0.1/32".into()));
        assert_eq!(network("fd00::/8").map(|net| net.to_string()), Ok("fd00::/8".into()));
        assert!(network("10.0.0.0/33").is_err());
    }

    #[test]
    fn the_admin_port_is_loopback() {
        assert!(loopback_place("0.0.0.0:9901").is_err());
        assert_eq!(loopback_place("off"), Ok(Place(None)));
        assert!(loopback_place("[::1]:9901").is_ok());
    }
}
