//! Whose an Ingress is: IngressClasses, the default class, the legacy annotation. Asked by `translate` for each dirty Ingress.
//!
//! The annotation `kubernetes.io/ingress.class` binds straight to a controller's class name, and wins over the field where both
//! stand (networking/v1 types.go). Among several default classes the newest counts, as in the API server's admission.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::IngressClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rust_ingress_model::{Fault, Name, ObjectRef, Reason};

use crate::annotation;
use crate::faults::Faults;
use crate::settings::{CONTROLLER, Origin, Settings};

/// The legacy annotation.
pub(crate) const LEGACY: &str = "kubernetes.io/ingress.class";
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

/// Which class an Ingress asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ClassWish {
    /// None: the default class.
    Default,
    /// `spec.ingressClassName`.
    Field(Name),
    /// `kubernetes.io/ingress.class`.
    Legacy(Name),
}

impl ClassWish {
    /// The name asked for.
    pub(crate) fn name(&self) -> Option<&Name> {
        match self {
            Self::Default => None,
            Self::Field(name) | Self::Legacy(name) => Some(name),
        }
    }
}

/// What is kept of an IngressClass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    controller: Option<String>,
    default: bool,
    created: Option<Time>,
}

impl Class {
    /// Reads an IngressClass.
    pub(crate) fn parse(object: &IngressClass) -> Self {
        let annotation = object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DEFAULT));
        Self {
            controller: object.spec.as_ref().and_then(|spec| spec.controller.clone()).filter(|controller| !controller.is_empty()),
            default: annotation.is_some_and(|value| value == "true"),
            created: object.metadata.creation_timestamp.clone(),
        }
    }

    fn ours(&self) -> bool {
        self.controller.as_deref() == Some(CONTROLLER)
    }
}

/// Whose an Ingress is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Ours.
    Us,
    /// Another controller's, or nobody's.
    Others,
    /// The class isn't there.
    NotFound,
}

/// All IngressClasses, as one translation sees them.
pub(crate) struct Classes<'a> {
    classes: &'a BTreeMap<Name, Class>,
    settings: &'a Settings,
    default_is_ours: bool,
}

impl<'a> Classes<'a> {
    /// Resolves the default class.
    pub(crate) fn new(classes: &'a BTreeMap<Name, Class>, settings: &'a Settings) -> Self {
        let defaults = classes.iter().filter(|(_, class)| class.default);
        let newest = defaults.min_by_key(|(name, class)| (Reverse(class.created.clone()), (*name).clone()));
        let default_is_ours = match newest {
            Some((_, class)) => class.ours(),
            None => classes.is_empty() && settings.origin == Origin::Files,
        };
        Self { classes, settings, default_is_ours }
    }

    /// Whose an Ingress with this wish is.
    pub(crate) fn owner(&self, wish: &ClassWish) -> Owner {
        let Some(name) = wish.name() else {
            return if self.default_is_ours { Owner::Us } else { Owner::Others };
        };
        let our_name = **name == *self.settings.ingress_class;
        match (self.classes.get(name), wish) {
            (Some(class), _) if class.ours() => Owner::Us,
            (Some(_), _) => Owner::Others,
            (None, ClassWish::Legacy(_)) if our_name => Owner::Us,
            (None, _) if our_name && self.settings.origin == Origin::Files => Owner::Us,
            (None, ClassWish::Legacy(_)) if self.settings.origin == Origin::Cluster => Owner::Others,
            (None, _) => Owner::NotFound,
        }
    }

    /// What is wrong with one class.
    pub(crate) fn faults(&self, object: &ObjectRef) -> Vec<Fault> {
        let mut faults = Faults::of(object.clone());
        let Some(class) = self.classes.get(&object.name) else { return Vec::new() };
        if class.controller.is_none() {
            faults.error(
                "spec.controller",
                Reason::Required,
                "the class names no controller: nobody serves its Ingresses",
                format!("write controller: {CONTROLLER}"),
            );
        }
        let others = self.classes.iter().filter(|(name, other)| other.default && **name != object.name);
        let others: Vec<&str> = others.map(|(name, _)| &**name).collect();
        if class.default && class.ours() && !others.is_empty() {
            faults.error(
                annotation::field(DEFAULT),
                Reason::ManyDefaultClasses,
                format!(
                    "{} also say that they are the default class: Ingresses without class go to the newest",
                    others.join(", ")
                ),
                "keep the annotation on one class",
            );
        }
        faults.into_list()
    }

    /// The fault of an Ingress whose class isn't there.
    pub(crate) fn not_found(&self, object: &ObjectRef, wish: &ClassWish) -> Vec<Fault> {
        let mut faults = Faults::of(object.clone());
        let field = match wish {
            ClassWish::Legacy(_) => annotation::field(LEGACY),
            _ => "spec.ingressClassName".into(),
        };
        let name = wish.name().map_or("", |name| &**name);
        faults.error(
            field,
            Reason::ClassNotFound,
            format!("there is no IngressClass {name}: the Ingress isn't served"),
            format!("add it with controller: {CONTROLLER}, or name a class that is there"),
        );
        faults.into_list()
    }
}
