//! Resolves addresses in `after` and `notify` on one host.

use std::collections::{BTreeSet, HashMap};

use crate::catalog::entry::{Entry, Parts, is_module, is_true, is_vague};
use crate::expand::options::Named;
use crate::project::Data;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::ids::{EntryId, Table};
use crate::source::suggest::did_you_mean;

/// All addresses of a host.
pub(crate) struct References<'a> {
    entries: &'a Table<EntryId, Entry>,
    data: &'a Data,
    by_address: HashMap<&'a str, EntryId>,
    dropped: &'a BTreeSet<String>,
    /// The names of all bodies, including module instances.
    bodies: &'a [String],
    has_unknown_names: bool,
}

/// Returns the address that a text such as `restart nginx` probably means; a service comes first.
fn spoken_of<'a>(text: &str, addresses: &[&'a str]) -> Option<&'a str> {
    let is_word = |name: &str| text.split(|c: char| c.is_whitespace() || c == '_').any(|word| word == name);
    let named = addresses.iter().filter_map(|address| {
        let (kind, name) = address.strip_suffix(']')?.split_once('[')?;
        is_word(name).then_some((!kind.ends_with("service"), *address))
    });
    named.min().map(|(_, address)| address)
}

/// The target of an address.
pub(crate) enum Referent {
    /// One resource.
    Resource(EntryId),
    /// All resources of a module.
    Module(Vec<EntryId>),
}

impl Referent {
    /// Returns the resources.
    pub(crate) fn all(self) -> Vec<EntryId> {
        match self {
            Self::Resource(entry) => vec![entry],
            Self::Module(entries) => entries,
        }
    }
}

impl<'a> References<'a> {
    /// Collects the addresses of `entries`.
    pub(crate) fn new(entries: &'a Table<EntryId, Entry>, parts: &'a Parts<'_>) -> Self {
        let addresses = entries.entries().flat_map(|(id, entry)| {
            entry.address.iter().chain(&entry.aliases).map(move |address| (address.as_str(), id))
        });
        Self {
            entries,
            data: parts.data,
            by_address: addresses.collect(),
            dropped: &parts.dropped,
            bodies: &parts.bodies,
            has_unknown_names: parts.has_unknown_names,
        }
    }

    /// Resolves `address` as seen from the module instance `within`. `Ok(None)` if the target was left out on purpose.
    pub(crate) fn find(
        &self,
        address: &str,
        within: Option<&str>,
    ) -> Result<Option<Referent>, Option<String>> {
        let own = within.map(|module| format!("{module}.{address}"));
        for candidate in own.as_deref().into_iter().chain([address]) {
            if let Some(entry) = self.by_address.get(candidate) {
                return Ok(Some(Referent::Resource(*entry)));
            }
            let of_module = |entry: &Entry| entry.modules.iter().any(|module| is_module(module, candidate));
            let entries: Vec<EntryId> =
                self.entries.entries().filter(|(_, entry)| of_module(entry)).map(|(id, _)| id).collect();
            if !entries.is_empty() {
                return Ok(Some(Referent::Module(entries)));
            }
            if self.is_dropped(candidate) || self.may_come(candidate) {
                return Ok(None);
            }
        }
        // A module whose resources were all dropped, or a name that is not known yet.
        let is_empty_module = self.bodies.iter().any(|body| is_module(body, address));
        if self.has_unknown_names || is_empty_module { Ok(None) } else { Err(self.help(address)) }
    }

    fn is_dropped(&self, address: &str) -> bool {
        let in_module = |module: &String| {
            address.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with(['.', '[']))
        };
        let longer = |dropped: &String| {
            dropped.strip_suffix(']').is_some_and(|dropped| address.starts_with(&format!("{dropped}:")))
        };
        self.dropped.contains(address)
            || self.dropped.iter().any(|name| in_module(name) && !name.ends_with(']') || longer(name))
    }

    /// Whether a resource whose address is not fully known may turn out to have this address.
    fn may_come(&self, address: &str) -> bool {
        let vague = self.entries.iter().filter(|entry| is_vague(entry));
        let mut begun = vague.filter_map(|entry| entry.address.as_ref()?.as_str().strip_suffix(']'));
        begun.any(|begun| address.strip_prefix(begun).is_some_and(|rest| rest.starts_with(": ")))
    }

    fn help(&self, address: &str) -> Option<String> {
        let ending = format!(".{address}");
        let mut addresses: Vec<&str> = self.by_address.keys().copied().collect();
        addresses.sort_unstable();
        match addresses.iter().find(|known| known.ends_with(&ending)) {
            Some(full) => Some(format!("its full address is `{full}`")),
            None => did_you_mean(address, addresses.iter().copied()).or_else(|| {
                let kind = address.split('[').next().unwrap_or_default();
                let some: Vec<&str> =
                    addresses.iter().copied().filter(|known| known.starts_with(kind)).take(5).collect();
                let what = "an address is `kind[name]`, or a module's name";
                if let Some(meant) = spoken_of(address, &addresses) {
                    return Some(format!("{what}: write `{meant}`"));
                }
                Some(if some.is_empty() {
                    what.to_owned()
                } else {
                    format!("{what}; there are {}", some.join(", "))
                })
            }),
        }
    }

    /// Returns the resources of `referent` that can be notified. For a module these are its services.
    pub(crate) fn notifiable(
        &self,
        referent: Referent,
        named: &Named,
        diagnostics: &mut Diagnostics,
    ) -> Vec<EntryId> {
        let (found, whole) = match referent {
            Referent::Resource(entry) => (vec![entry], false),
            Referent::Module(entries) => (entries, true),
        };
        let ready: Vec<EntryId> =
            found.iter().copied().filter(|entry| self.can_be_notified(*entry, whole)).collect();
        if ready.is_empty() {
            let report = Diagnostic::error(Code::Notify, format!("`{}` cannot be notified", named.text));
            let help = match whole {
                true => "the module has no service; name a resource in it by its full address",
                false => "notify a service, or a command with `only-notified=#true`",
            };
            diagnostics.push(report.label(named.at, "named here").help(help));
        }
        ready
    }

    fn can_be_notified(&self, entry: EntryId, of_module: bool) -> bool {
        let entry = &self.entries[entry];
        let schema = self.data.library.kinds[entry.declared.kind].info.schema();
        // A command is a handler only if it is `only-notified`. The name of a module means only its services.
        let handler = self.data.library.kinds[entry.declared.kind].schema.param("only-notified").is_some();
        schema.notifiable && (!handler || !of_module && is_true(entry, "only-notified"))
    }
}
