//! Backends, compiled: what the forward path needs to reach the endpoints of a Service port.
//!
//! [`Upstreams`] belongs to a table and is shared by all cores; the table builds it at every publish, and backends that
//! didn't change are shared with the one before. What belongs to a core (connections, requests in flight) is kept by
//! that core's `Forwarder` and survives the swap of tables.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ahash::AHashMap;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use rust_ingress_model::{Backend, BackendKey, KeyStore, Part, Snapshot};

use crate::fault::{Kind, RequestFault};

/// All backends of a table.
#[derive(Debug, Default)]
pub struct Upstreams {
    by_key: AHashMap<BackendKey, Arc<Upstream>>,
}

/// One backend, compiled.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub key: BackendKey,
    /// What the snapshot says of it.
    pub backend: Part<Backend>,
}

impl Upstreams {
    /// Compiles a snapshot's backends; those that `previous` has unchanged are shared.
    pub fn new(snapshot: &Snapshot, _keys: &KeyStore, previous: Option<&Self>) -> Self {
        let mut by_key = AHashMap::with_capacity(snapshot.backends.len());
        for (key, backend) in &snapshot.backends {
            let kept = previous.and_then(|previous| previous.get(key)).filter(|kept| kept.backend == *backend).cloned();
            let upstream = kept.unwrap_or_else(|| Arc::new(Upstream { key: key.clone(), backend: backend.clone() }));
            by_key.insert(key.clone(), upstream);
        }
        Self { by_key }
    }

    /// The backend of a name.
    pub fn get(&self, key: &BackendKey) -> Option<&Arc<Upstream>> {
        self.by_key.get(key)
    }
}

/// What an endpoint sends as a response's body.
pub(crate) struct ResponseStream {
    pub(crate) incoming: Incoming,
}

impl ResponseStream {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestFault>>> {
        Pin::new(&mut self.incoming).poll_frame(cx).map_err(|error| {
            RequestFault::new(Kind::StreamBroken, "the endpoint's response broke before its end; see the endpoint's log")
                .source(error)
        })
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
