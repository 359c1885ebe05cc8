//! The records of the journal and the ledger about a resource before it is changed.

use std::collections::BTreeSet;

use converge_model::{Claim, Verb};
use converge_resources::View;

use super::Act;
use crate::look::invocation;
use crate::state::StateError;
use crate::state::journal::{Debt, Record};
use crate::state::ledger::{Intent, Origin, holds_secret};
use crate::veil::content_path;

impl Act<'_> {
    /// Journals the intent for the ledger and what is then owed, before the resource at `index` changes. A run that
    /// is killed cannot report it later.
    pub(super) fn note(&self, index: u32, verb: Verb) -> Result<(), StateError> {
        let resource = self.resource(index);
        let debts = resource.notify.iter().map(|notify| {
            Record::Owe(Debt {
                target: self.resource(notify.target).address.to_string(),
                by: resource.address.to_string(),
                invocation: invocation(self.decoded, self.system, notify.target),
            })
        });
        let write = Record::Write(self.intent(index, verb));
        self.journal.write_all(std::iter::once(write).chain(debts))
    }

    /// Returns the entry for the ledger of a resource that is about to be changed.
    pub(super) fn intent(&self, index: u32, verb: Verb) -> Intent {
        let resource = self.resource(index);
        // A once-step counts as run only after it has run.
        let claims = resource.claims.iter().filter(|claim| claim.as_once().is_none()).map(Claim::key);
        Intent {
            claims: claims.collect(),
            address: resource.address.to_string(),
            kind: resource.kind.clone(),
            project: self.decoded.catalog.project.clone(),
            origin: if verb == Verb::Create { Origin::Created } else { Origin::Found },
            secret: holds_secret(resource),
            clean: self.draft.veil.clean_digests(index, &self.lines),
            places: self.secret_places(index),
        }
    }

    /// Returns the paths on the host at which the resource at `index` writes a secret, if they differ from the
    /// declared paths.
    pub(super) fn secret_places(&self, index: u32) -> Vec<String> {
        let resource = self.resource(index);
        if !holds_secret(resource) {
            return Vec::new();
        }
        let named: BTreeSet<&str> = resource.claims.iter().filter_map(content_path).collect();
        let base = self.decoded.base(self.system);
        let owned = self.decoded.wanted[index as usize].owns(&View::bare(&base)).unwrap_or_default();
        let places = owned.iter().filter_map(content_path).filter(|path| !named.contains(path));
        places.map(str::to_owned).collect()
    }
}
