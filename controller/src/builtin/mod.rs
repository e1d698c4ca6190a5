//! Builtin backends: Services of a manifest folder that this program answers itself, so that an example needs no other server.
//!
//! `rust-ingress.dev/builtin-backend: echo` gives a Service an ordinary EndpointSlice with the loopback address of
//! [`echo`]'s listener. Everything after that, pools, timeouts and balancing, is as for any other endpoint. Called by the file
//! source; from a cluster the annotation is refused by translation.

pub mod echo;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use rust_ingress_model::{Fault, ObjectRef, Reason, Severity};

/// The annotation of a Service.
pub const ANNOTATION: &str = "rust-ingress.dev/builtin-backend";

/// Where the builtin backends listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Builtin {
    /// The echo backend, on loopback.
    pub echo: SocketAddr,
}

impl Builtin {
    /// For who reads a folder and serves nothing: nothing connects to it.
    pub const NOT_STARTED: Self = Self { echo: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9) };

    /// The endpoints of a Service that asks for a builtin backend; `None` for other Services.
    pub fn slice(self, service: &Service) -> Result<Option<EndpointSlice>, Box<Fault>> {
        let metadata = &service.metadata;
        let Some(asked) = metadata.annotations.as_ref().and_then(|annotations| annotations.get(ANNOTATION)) else {
            return Ok(None);
        };
        let name = metadata.name.clone().unwrap_or_default();
        let namespace = metadata.namespace.clone().unwrap_or_default();
        if asked != "echo" {
            return Err(Box::new(Fault {
                object: ObjectRef::new("Service", &namespace, &name),
                field: format!("metadata.annotations[\"{ANNOTATION}\"]"),
                severity: Severity::Error,
                reason: Reason::InvalidAnnotation,
                message: format!("there is no builtin backend {asked:?}"),
                advice: "write \"echo\", or take the annotation away and give the Service an EndpointSlice".into(),
            }));
        }
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let ports = ports.map(|port| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(i32::from(self.echo.port())),
            protocol: Some("TCP".into()),
            ..EndpointPort::default()
        });
        let mut slice = EndpointSlice {
            address_type: if self.echo.is_ipv4() { "IPv4" } else { "IPv6" }.into(),
            endpoints: Some(vec![Endpoint {
                addresses: vec![self.echo.ip().to_string()],
                conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
                ..Endpoint::default()
            }]),
            ports: Some(ports.collect()),
            ..EndpointSlice::default()
        };
        slice.metadata.name = Some(format!("{name}-builtin-echo"));
        slice.metadata.namespace = Some(namespace);
        slice.metadata.labels.get_or_insert_default().insert("kubernetes.io/service-name".into(), name);
        Ok(Some(slice))
    }
}
