//! A decoded catalog: its resources in the form of their kinds, and what they claim by name.

use std::collections::HashMap;

use converge_model::{Address, Catalog, Problem};

use converge_resources::view::{Base, Claims};
use converge_resources::{System, Wanted};

use crate::channel::{Channel, FromChannel};
use crate::notification::Notifications;

/// A catalog with its resources decoded.
pub(crate) struct Decoded<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) wanted: Vec<Box<dyn Wanted>>,
    pub(crate) notifications: Notifications,
    places: HashMap<&'a str, u32>,
    /// The name of a claimed or declared thing, with the resource that claims or brings it.
    names: HashMap<String, u32>,
    claims: Claims,
    contents: FromChannel<'a>,
}

impl Decoded<'_> {
    /// Begins a new pass over `system`, which knows the claims of the catalog.
    pub(crate) fn base<'s>(&'s self, system: &'s dyn System) -> Base<'s> {
        Base::new(system).claiming(&self.claims).reading(&self.contents)
    }

    /// Returns the resources that claim what `message` names, in its order: a path, a user, a unit.
    pub(crate) fn named(&self, message: &str) -> Vec<u32> {
        message.split([' ', ',']).filter_map(|word| self.names.get(word)).copied().collect()
    }

    /// Returns the place in the catalog of the resource at `address`.
    pub(crate) fn place(&self, address: &str) -> Option<u32> {
        self.places.get(address).copied()
    }
}

/// Decodes each resource and reports all mistakes. Content that kinds need for a plan comes over `channel`.
pub(crate) fn decode<'a>(
    catalog: &'a Catalog,
    channel: &'a dyn Channel,
) -> Result<Decoded<'a>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut wanted = Vec::with_capacity(catalog.resources.len());
    for resource in &catalog.resources {
        let Some(kind) = converge_resources::kind(&resource.kind) else {
            problems.push(problem(&resource.address, format!("there is no kind {}", resource.kind), None));
            continue;
        };
        match kind.decode(&resource.params, &catalog.secrets) {
            Ok(one) => wanted.push(one),
            Err(mistakes) => problems.extend(mistakes.into_iter().map(|mistake| {
                let of = mistake.param.map(|param| format!("`{param}` ")).unwrap_or_default();
                problem(&resource.address, format!("{of}{}", mistake.message), mistake.help)
            })),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let notifications = Notifications::of(&catalog.resources);
    let places =
        (0_u32..).zip(&catalog.resources).map(|(place, one)| (one.address.as_str(), place)).collect();
    let mut names = HashMap::new();
    for (place, claim) in (0_u32..)
        .zip(&catalog.resources)
        .flat_map(|(place, one)| one.claims.iter().map(move |claim| (place, claim)))
    {
        let key = claim.key();
        let name = key.split_once(':').map_or(key.as_str(), |(_, name)| name).to_owned();
        names.entry(name).or_insert(place);
    }
    for (place, one) in (0_u32..).zip(&wanted) {
        for what in one.brings() {
            // A message about a missing unit has its name, which the service claims. The package is the one to name.
            names.insert(what.name(), place);
        }
    }
    let claims = Claims::of(catalog.resources.iter().flat_map(|resource| &resource.claims));
    Ok(Decoded { catalog, wanted, notifications, places, names, claims, contents: FromChannel(channel) })
}

/// Returns a problem of the resource at an address.
pub(crate) fn problem(address: &Address, message: String, help: Option<String>) -> Problem {
    Problem { address: Some(address.clone()), message, help }
}
