//! What a field name means to a proxy. One table for every stage that drops, replaces or reads fields of a head.

use std::borrow::Cow;

/// The longest name of the table.
const LONGEST: usize = 24;

/// What a field is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Nothing: it passes as it is.
    #[default]
    Plain,
    /// `Host`.
    Host,
    /// `Content-Length`.
    Length,
    /// `Cookie`.
    Cookie,
    /// `Expect`.
    Expect,
    /// `Max-Forwards`.
    MaxForwards,
    /// `Date`, in responses.
    Date,
    /// `Connection`: of one hop, and it may nominate others.
    Connection,
    /// `TE`: of one hop, but for `trailers`.
    Te,
    /// `Upgrade`: of one hop.
    Upgrade,
    /// `Transfer-Encoding`: of one hop.
    TransferEncoding,
    /// Other fields of one hop (RFC 9110 §7.6.1).
    Hop,
    /// `X-Forwarded-For`.
    ForwardedFor,
    /// `X-Forwarded-Host`.
    ForwardedHost,
    /// `X-Forwarded-Proto`.
    ForwardedProto,
    /// `X-Forwarded-Port`.
    ForwardedPort,
    /// `X-Real-IP`.
    RealIp,
    /// `X-Request-Id`.
    RequestId,
    /// Other fields by which endpoints learn who the client is.
    Identity,
    /// A field such as `X_Forwarded_For`: CGI-like endpoints can't tell it from one that we write.
    Impostor,
}

impl Kind {
    /// The kind of a field, by its name in any case.
    pub fn of(name: &[u8]) -> Self {
        let mut lower = [0; LONGEST];
        match lower.get_mut(..name.len()) {
            Some(lower) => {
                lower.copy_from_slice(name);
                lower.make_ascii_lowercase();
                Self::of_lower(lower)
            }
            None => Self::other(&name.to_ascii_lowercase()),
        }
    }

    fn of_lower(name: &[u8]) -> Self {
        match name {
            b"te" => Self::Te,
            b"host" => Self::Host,
            b"date" => Self::Date,
            b"cookie" => Self::Cookie,
            b"expect" => Self::Expect,
            b"upgrade" => Self::Upgrade,
            b"connection" => Self::Connection,
            b"max-forwards" => Self::MaxForwards,
            b"content-length" => Self::Length,
            b"transfer-encoding" => Self::TransferEncoding,
            b"keep-alive" | b"proxy-connection" | b"http2-settings" | b"proxy-authorization" => Self::Hop,
            b"x-real-ip" => Self::RealIp,
            b"x-request-id" => Self::RequestId,
            b"x-forwarded-for" => Self::ForwardedFor,
            b"x-forwarded-host" => Self::ForwardedHost,
            b"x-forwarded-proto" => Self::ForwardedProto,
            b"x-forwarded-port" => Self::ForwardedPort,
            b"forwarded"
            | b"x-scheme"
            | b"x-client-ip"
            | b"true-client-ip"
            | b"x-cluster-client-ip"
            | b"x-original-forwarded-for" => Self::Identity,
            _ => Self::other(name),
        }
    }

    /// The kinds that aren't told by a whole name.
    fn other(name: &[u8]) -> Self {
        if name.starts_with(b"x-forwarded") {
            return Self::Identity;
        }
        if name.iter().any(|byte| matches!(byte, b'_' | b'.')) && poses(name) { Self::Impostor } else { Self::Plain }
    }

    /// Whether it belongs to one hop, beside what `Connection` nominates.
    pub fn one_hop(self) -> bool {
        matches!(self, Self::Connection | Self::Te | Self::Upgrade | Self::TransferEncoding | Self::Hop)
    }

    /// Whether endpoints learn by it who the client is. From anybody but a trusted proxy it goes.
    pub fn identity(self) -> bool {
        matches!(
            self,
            Self::ForwardedFor
                | Self::ForwardedHost
                | Self::ForwardedProto
                | Self::ForwardedPort
                | Self::RealIp
                | Self::RequestId
                | Self::Identity
        )
    }
}

/// Whether a lower-case name with `_` or `.` reads, when they are taken for `-`, as a field that we or the endpoints'
/// frameworks act on.
fn poses(name: &[u8]) -> bool {
    const MANAGED: [&[u8]; 20] = [
        b"authorization",
        b"connection",
        b"content-length",
        b"content-type",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"via",
        b"x-original-url",
        b"x-real-ip",
        b"x-request-id",
        b"x-rewrite-url",
    ];
    let read: Cow<'_, [u8]> = name.iter().map(|byte| if matches!(byte, b'_' | b'.') { b'-' } else { *byte }).collect();
    MANAGED.contains(&&*read) || read.starts_with(b"x-forwarded-") || read.starts_with(b"x-auth-")
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn names_are_told_in_any_case() {
        for (name, kind) in [
            ("Host", Kind::Host),
            ("TRANSFER-ENCODING", Kind::TransferEncoding),
            ("X-Forwarded-For", Kind::ForwardedFor),
            ("x-forwarded-prefix", Kind::Identity),
            ("X-Forwarded-", Kind::Identity),
            ("X-Forwarded-Something-Longer-Than-The-Table", Kind::Identity),
            ("X_Forwarded_For", Kind::Impostor),
            ("x.auth.anything-longer-than-the-table", Kind::Impostor),
            ("Content_Length", Kind::Impostor),
            ("my_field", Kind::Plain),
            ("", Kind::Plain),
            ("accept", Kind::Plain),
        ] {
            assert_eq!(Kind::of(name.as_bytes()), kind, "{name}");
        }
    }
}
