//! ReferenceGrants: who may refer into a namespace from another.

use rust_ingress_model::Name;

use super::types::ReferenceGrant as Object;
use crate::world::World;

/// What is kept of a ReferenceGrant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Group, kind and namespace.
    from: Vec<(Name, Name, Name)>,
    /// Group, kind and name; no name: all of them.
    to: Vec<(Name, Name, Option<Name>)>,
}

/// Where a reference comes from, or goes: group and kind.
pub(crate) type Kind<'k> = (&'k str, &'k str);

/// A Service as the target of a reference.
pub(crate) const SERVICE: Kind<'static> = ("", "Service");
/// A Secret as the target of a reference.
pub(crate) const SECRET: Kind<'static> = ("", "Secret");

/// A ConfigMap as the target of a reference.
pub(crate) const CONFIG_MAP: Kind = ("", "ConfigMap");

impl Grant {
    /// Reads a ReferenceGrant.
    pub(crate) fn parse(object: &Object) -> Self {
        let spec = &object.spec;
        let from =
            spec.from.iter().map(|from| (from.group.as_str().into(), from.kind.as_str().into(), from.namespace.as_str().into()));
        let to = spec.to.iter().map(|to| {
            let name = to.name.as_deref().filter(|name| !name.is_empty());
            (to.group.as_str().into(), to.kind.as_str().into(), name.map(Into::into))
        });
        Self { from: from.collect(), to: to.collect() }
    }
}

impl World {
    /// Whether an object may refer to another. Within a namespace it always may.
    pub(crate) fn granted(
        &self,
        (from, from_namespace): (Kind<'_>, &Name),
        to: Kind<'_>,
        (namespace, name): (&Name, &Name),
    ) -> bool {
        let grants = || self.gateways.grants.get(namespace).into_iter().flat_map(|grants| grants.values());
        let allows = |grant: &Grant| {
            let here =
                grant.from.iter().any(|(group, kind, namespace)| (&**group, &**kind) == from && namespace == from_namespace);
            let there = |(group, kind, only): &(Name, Name, Option<Name>)| {
                (&**group, &**kind) == to && only.as_ref().is_none_or(|only| only == name)
            };
            here && grant.to.iter().any(there)
        };
        from_namespace == namespace || grants().any(allows)
    }
}
