//! The ledger of a host: what Converge put there or found there, by claim.
//!
//! One JSON file, its `version` first. Values are kept as keyed digests: enough to tell whether the inventory or the
//! host moved, and nothing that a secret could be read from.

use std::collections::BTreeMap;

use converge_model::{Cell, Content, Digest, Resource, Scalar, SecretTable, Value};
use converge_resources::kind;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{State, StateError};

const FORMAT: u32 = 1;
const LIMIT: u64 = 64 * 1024 * 1024;

/// The ledger.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    version: u32,
    entries: BTreeMap<String, Entry>,
}

/// What is known of one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The address of the resource that last applied it.
    pub(crate) address: String,
    /// The kind.
    pub(crate) kind: String,
    /// The projects that ask for it.
    pub(crate) owners: Vec<String>,
    /// How it came to be there.
    pub(crate) origin: Origin,
    /// What was last applied: a keyed digest of each parameter.
    pub(crate) applied: BTreeMap<String, Digest>,
    /// Whether that held a secret, which is then still to be found there.
    #[serde(default)]
    pub(crate) secret: bool,
}

/// How a thing came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// Converge made it.
    Created,
    /// It was there before.
    Found,
}

impl Ledger {
    /// Reads the ledger of `state`; an absent one is empty.
    pub(crate) fn read(state: &State) -> Result<Self, StateError> {
        let path = state.path("ledger");
        let Some(bytes) = super::read(&path, LIMIT)? else { return Ok(Self::default()) };
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let damaged = |_| StateError::Damaged(path.clone());
        let Version { version: found } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if found > FORMAT {
            return Err(StateError::Newer { path, found, known: FORMAT });
        }
        serde_json::from_slice(&bytes).map_err(damaged)
    }

    /// Writes the ledger whole.
    pub(crate) fn write(&mut self, state: &State) -> Result<(), StateError> {
        self.version = FORMAT;
        super::replace(&state.path("ledger"), &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Whether all that `resource` claims is recorded as it is asked now.
    pub(crate) fn knows(
        &self,
        resource: &Resource,
        project: &str,
        applied: &BTreeMap<String, Digest>,
    ) -> bool {
        resource.claims.iter().all(|claim| {
            self.entries.get(&claim.key()).is_some_and(|entry| {
                entry.address == resource.address.as_str()
                    && entry.owners.iter().any(|owner| owner == project)
                    && entry.applied == *applied
            })
        })
    }

    /// Whether something that `resource` claims held a secret when it was last applied, whoever asked for it.
    pub(crate) fn held_secret(&self, resource: &Resource) -> bool {
        let mut entries = resource.claims.iter().filter_map(|claim| self.entries.get(&claim.key()));
        entries.any(|entry| entry.secret)
    }

    /// What is known of each claim of `resource`, as `project` asked for it; none where one is not known, or was of
    /// another kind.
    pub(crate) fn entries(&self, resource: &Resource, project: &str) -> Option<Vec<&Entry>> {
        let of_it =
            |entry: &&Entry| entry.kind == resource.kind && entry.owners.iter().any(|owner| owner == project);
        let claims = resource.claims.iter();
        claims.map(|claim| self.entries.get(&claim.key()).filter(of_it)).collect()
    }

    /// Records that `resource` is as it is asked now.
    pub(crate) fn record(
        &mut self,
        resource: &Resource,
        project: &str,
        applied: &BTreeMap<String, Digest>,
        created: bool,
    ) {
        for claim in &resource.claims {
            let origin = if created { Origin::Created } else { Origin::Found };
            let entry = self.entries.entry(claim.key()).or_insert_with(|| Entry {
                address: String::new(),
                kind: String::new(),
                owners: Vec::new(),
                origin,
                applied: BTreeMap::new(),
                secret: false,
            });
            entry.address = resource.address.to_string();
            entry.kind.clone_from(&resource.kind);
            entry.applied.clone_from(applied);
            entry.secret = holds_secret(resource);
            if !entry.owners.iter().any(|owner| owner == project) {
                entry.owners.push(project.to_owned());
            }
        }
    }
}

impl Entry {
    /// Whether `property` was last applied as it is asked now. One that no parameter is called like follows from all of
    /// them.
    pub(crate) fn agrees(&self, property: &str, now: &BTreeMap<String, Digest>) -> bool {
        match (self.applied.get(property), now.get(property)) {
            (None, None) => self.applied == *now,
            (before, now) => before == now,
        }
    }
}

/// A keyed digest of each parameter of `resource`: of a secret, its own bytes count, not its place in the table.
pub(crate) fn applied(
    resource: &Resource,
    key: &[u8; 32],
    secrets: &SecretTable,
) -> BTreeMap<String, Digest> {
    let digest = |value: &Value| {
        let mut bytes = Zeroizing::new(Vec::new());
        Resolve { bytes: &mut bytes, secrets, met_secret: false }.value(value);
        Digest::keyed(key, &bytes)
    };
    resource.params.0.iter().map(|(name, value)| (name.clone(), digest(value))).collect()
}

fn holds_secret(resource: &Resource) -> bool {
    let mut walk = Resolve { bytes: &mut Vec::new(), secrets: &SecretTable::default(), met_secret: false };
    let handed_on = kind(&resource.kind).map_or(&[][..], |kind| kind.handed_on());
    let stays = resource.params.0.iter().filter(|(name, _)| !handed_on.contains(&name.as_str()));
    stays.for_each(|(_, value)| walk.value(value));
    walk.met_secret || resource.options.sensitive
}

/// Writes values with their secrets in place, each part with its length.
struct Resolve<'a> {
    bytes: &'a mut Vec<u8>,
    secrets: &'a SecretTable,
    met_secret: bool,
}

impl Resolve<'_> {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Scalar(scalar) => self.scalar(scalar),
            Value::List(list) => list.iter().for_each(|scalar| self.scalar(scalar)),
            Value::Map(map) => self.map(map),
            Value::Content(content) => self.content(content),
            Value::Rows(rows) => rows.iter().flat_map(|row| &row.0).for_each(|(key, cell)| {
                self.part(key.as_bytes());
                match cell {
                    Cell::Scalar(scalar) => self.scalar(scalar),
                    Cell::List(list) => list.iter().for_each(|scalar| self.scalar(scalar)),
                    Cell::Map(map) => self.map(map),
                    Cell::Content(content) => self.content(content),
                }
            }),
        }
    }

    fn content(&mut self, content: &Content) {
        match content {
            Content::Secret(reference) => self.scalar(&Scalar::Secret(*reference)),
            plain => self.plain(plain),
        }
    }

    fn map(&mut self, map: &[(String, Vec<Scalar>)]) {
        for (key, values) in map {
            self.part(key.as_bytes());
            values.iter().for_each(|scalar| self.scalar(scalar));
        }
    }

    fn scalar(&mut self, scalar: &Scalar) {
        match scalar {
            Scalar::Secret(reference) => {
                let secret = self.secrets.get(*reference).map_or(&[][..], |secret| secret.expose());
                self.met_secret = true;
                self.part(secret);
            }
            plain => self.plain(plain),
        }
    }

    fn plain<T: Serialize>(&mut self, value: &T) {
        let bytes = postcard::to_allocvec(value).unwrap_or_default();
        self.part(&bytes);
    }

    fn part(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::resource;
    use converge_model::{Secret, SecretRef};

    #[test]
    fn what_was_applied_is_known_until_a_parameter_or_the_secret_behind_it_changes() {
        let mut motd = resource("file", "/etc/motd");
        motd.claims = vec![converge_model::Claim::path("/etc/motd", converge_model::Extent::Whole)];
        motd.params.set("content", Value::Content(Content::Secret(SecretRef(1))));
        let table = |secrets: &[&str]| {
            let mut table = SecretTable::default();
            secrets.iter().for_each(|secret| {
                table.add(Secret::new(*secret));
            });
            table
        };
        let before = applied(&motd, &[7; 32], &table(&["x", "secret"]));
        let mut ledger = Ledger::default();
        ledger.record(&motd, "shop", &before, true);
        assert!(ledger.knows(&motd, "shop", &before));
        assert!(ledger.held_secret(&motd));
        assert!(!ledger.knows(&motd, "other", &before), "another project asks for it for the first time");
        assert!(!ledger.knows(&motd, "shop", &applied(&motd, &[7; 32], &table(&["x", "rotated"]))));
        motd.params.set("content", Value::Content(Content::Secret(SecretRef(0))));
        assert!(
            ledger.knows(&motd, "shop", &applied(&motd, &[7; 32], &table(&["secret"]))),
            "its place is nothing"
        );
        motd.params.set("content", Value::from("plain"));
        assert!(ledger.held_secret(&motd), "until it is applied");
        ledger.record(&motd, "shop", &before, false);
        assert!(!ledger.held_secret(&motd));
        let mut venv = resource("virtualenv", "/opt/venv");
        venv.params.set("path", Value::from("/opt/venv"));
        venv.params.set("index", Value::Scalar(Scalar::Secret(SecretRef(0))));
        assert!(!holds_secret(&venv), "an address that only the installer is given");
    }

    #[test]
    fn a_ledger_survives_the_disk_and_a_newer_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::in_folder(folder.path().to_owned());
        let mut ledger = Ledger::read(&state).unwrap();
        ledger.record(&resource("file", "/a"), "shop", &BTreeMap::new(), false);
        ledger.write(&state).unwrap();
        assert_eq!(Ledger::read(&state).unwrap(), ledger);
        std::fs::write(state.path("ledger"), r#"{"version":2,"entries":"of a shape that nobody knows"}"#)
            .unwrap();
        assert!(matches!(Ledger::read(&state), Err(StateError::Newer { found: 2, .. })));
    }
}
