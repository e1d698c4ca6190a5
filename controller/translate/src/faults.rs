//! A list of faults of one object, as parsers fill it.

use rust_ingress_model::{Fault, ObjectRef, Reason, Severity};

/// Collects the faults of one object.
pub(crate) struct Faults {
    object: ObjectRef,
    list: Vec<Fault>,
}

impl Faults {
    /// None yet.
    pub(crate) fn of(object: ObjectRef) -> Self {
        Self { object, list: Vec::new() }
    }

    /// Something that the object asks for isn't served.
    pub(crate) fn error(
        &mut self,
        field: impl Into<String>,
        reason: Reason,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(Severity::Error, field.into(), reason, message.into(), advice.into());
    }

    /// Served, but perhaps not as meant.
    pub(crate) fn warning(
        &mut self,
        field: impl Into<String>,
        reason: Reason,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(Severity::Warning, field.into(), reason, message.into(), advice.into());
    }

    fn push(&mut self, severity: Severity, field: String, reason: Reason, message: String, advice: String) {
        self.list.push(Fault { object: self.object.clone(), field, severity, reason, message, advice });
    }

    /// All of them, in the order found.
    pub(crate) fn into_list(self) -> Vec<Fault> {
        self.list
    }
}
