//! The selection of resources for a run, and the check that selected names exist. A misspelt name would select nothing,
//! and a run without resources must not look like a success.

use std::collections::BTreeSet;

use crate::catalog::entry::is_module;
use crate::source::diagnostic::{Code, Diagnostic};
use crate::source::suggest::did_you_mean;

/// A selection of resources of a catalog. An empty selection means all resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `--tags`: only resources with one of these tags.
    pub tags: Vec<String>,
    /// `--skip-tags`: no resources with one of these tags.
    pub skip_tags: Vec<String>,
    /// `--only`: only these addresses, or all resources of these modules.
    pub only: Vec<String>,
    /// `--skip`: no resources with these addresses or in these modules.
    pub skip: Vec<String>,
}

impl Selection {
    /// Whether all resources are selected.
    pub fn is_everything(&self) -> bool {
        let lists = [&self.tags, &self.skip_tags, &self.only, &self.skip];
        lists.iter().all(|list| list.is_empty())
    }
}

/// The names that can be selected, on one host or on several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// The addresses of resources, including those that a `when` left out.
    pub(crate) addresses: BTreeSet<String>,
    /// The instances of modules.
    pub(crate) modules: BTreeSet<String>,
    pub(crate) tags: BTreeSet<String>,
    /// Whether some names depend on facts that are not known yet.
    pub(crate) is_open: bool,
    /// Whether the selection selected something.
    pub(crate) is_met: bool,
}

impl Choices {
    /// Adds the names of another host.
    pub fn add(&mut self, other: Self) {
        self.addresses.extend(other.addresses);
        self.modules.extend(other.modules);
        self.tags.extend(other.tags);
        self.is_open |= other.is_open;
        self.is_met |= other.is_met;
    }

    /// Returns errors for names in `selection` that do not exist. Returns none while unknown facts may still bring
    /// them.
    pub fn missing(&self, selection: &Selection) -> Vec<Diagnostic> {
        if self.is_open || selection.is_everything() {
            return Vec::new();
        }
        let named = selection.only.iter().chain(&selection.skip);
        let unknown = named.filter(|wanted| !self.has(wanted));
        let tags = selection.tags.iter().chain(&selection.skip_tags);
        let tags = tags.filter(|wanted| !self.tags.contains(wanted.as_str()));
        let mut missing: Vec<Diagnostic> = unknown
            .map(|wanted| self.no_address(wanted))
            .chain(tags.map(|wanted| self.no_tag(wanted)))
            .collect();
        if missing.is_empty() && !self.is_met && !self.addresses.is_empty() {
            let report = Diagnostic::error(Code::Selection, "no resource is chosen");
            missing.push(
                report.help("a resource must fit `--only`, `--skip`, `--tags` and `--skip-tags` together"),
            );
        }
        missing
    }

    fn has(&self, wanted: &str) -> bool {
        self.addresses.contains(wanted) || self.modules.iter().any(|module| is_module(module, wanted))
    }

    fn no_address(&self, wanted: &str) -> Diagnostic {
        let known = self.addresses.iter().chain(&self.modules).map(String::as_str);
        let ending = format!(".{wanted}");
        let in_module = self.addresses.iter().find(|address| address.ends_with(&ending));
        let help = match in_module {
            Some(full) => Some(format!("its full address is `{full}`")),
            None => did_you_mean(wanted, known),
        };
        Diagnostic::error(Code::Selection, format!("no resource has the address `{wanted}`"))
            .help("an address is `kind[name]`, or a module's name; `converge plan` shows them")
            .maybe_help(help)
    }

    fn no_tag(&self, wanted: &str) -> Diagnostic {
        let names = || self.tags.iter().map(String::as_str);
        let all = match self.tags.is_empty() {
            true => "no resource has a tag".to_owned(),
            false => format!("the tags are {}", names().take(24).collect::<Vec<_>>().join(", ")),
        };
        Diagnostic::error(Code::Selection, format!("no resource has the tag `{wanted}`"))
            .help(all)
            .maybe_help(did_you_mean(wanted, names()))
    }
}
