//! What is spoken to endpoints, as Services and annotations name it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is spoken to an endpoint.
///
/// Text forms are `appProtocol` values of KEP-3726 where there is one, as annotations write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AppProtocol {
    /// HTTP/1.1; `http`, `kubernetes.io/ws`.
    #[default]
    Http,
    /// HTTP/1.1 over TLS; `https`, `kubernetes.io/wss`.
    Https,
    /// HTTP/2 with prior knowledge; `kubernetes.io/h2c`, `grpc`.
    H2c,
    /// HTTP/2 over TLS; `grpcs`.
    H2Tls,
}

impl AppProtocol {
    /// Whether the connection is made over TLS.
    pub fn tls(self) -> bool {
        matches!(self, Self::Https | Self::H2Tls)
    }

    /// The same over TLS.
    pub fn over_tls(self) -> Self {
        if self.h2() { Self::H2Tls } else { Self::Https }
    }

    /// Whether HTTP/2 is spoken.
    pub fn h2(self) -> bool {
        matches!(self, Self::H2c | Self::H2Tls)
    }
}

impl fmt::Display for AppProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::H2Tls => "grpcs",
        })
    }
}

impl FromStr for AppProtocol {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "http" | "kubernetes.io/ws" => Ok(Self::Http),
            "https" | "kubernetes.io/wss" => Ok(Self::Https),
            "h2c" | "kubernetes.io/h2c" | "grpc" => Ok(Self::H2c),
            "grpcs" => Ok(Self::H2Tls),
            _ => Err(()),
        }
    }
}
