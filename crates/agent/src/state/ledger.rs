//! The ledger of a host: what Converge applied there or found there, by claim.
//!
//! It is one JSON file, with its `version` first. Values are kept as keyed digests. They are enough to see whether
//! the inventory or the host changed, and they reveal no secret.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use converge_model::claim::Extent;
use converge_model::{Cell, Claim, Content, Digest, Resource, Scalar, SecretTable, Tree, Value};
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
    /// Paths with a secret that differ from the claimed path. A link in the claimed path may lead elsewhere since.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    secret_places: BTreeSet<String>,
}

/// The known facts about one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The address of the resource that last applied it.
    pub(crate) address: String,
    /// The kind.
    pub(crate) kind: String,
    /// The projects that ask for it.
    pub(crate) owners: Vec<String>,
    /// How the thing came to be there.
    pub(crate) origin: Origin,
    /// The parameters that were last applied: a keyed digest of each.
    pub(crate) applied: BTreeMap<String, Digest>,
    /// Whether that held a secret. The secret is then still there.
    #[serde(default)]
    pub(crate) secret: bool,
    /// If its path held a secret: the lines without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) clean: Vec<LineDigest>,
}

/// The write that a resource is about to make, with the facts that reach the ledger only when the run ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The keys of its claims.
    pub(crate) claims: Vec<String>,
    /// Its address.
    pub(crate) address: String,
    /// Its kind.
    pub(crate) kind: String,
    /// The project that asks for it.
    pub(crate) project: String,
    /// How the thing came to be there, if the ledger does not know it yet.
    pub(crate) origin: Origin,
    /// Whether it holds a secret.
    pub(crate) secret: bool,
    /// If its path holds or held a secret: the lines without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) clean: Vec<LineDigest>,
    /// If it holds a secret: its paths on the host, if they differ from the claimed ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) places: Vec<String>,
}

/// A keyed digest of a line: enough to recognise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct LineDigest(u64);

/// The key for digests of lines.
#[derive(Clone, Copy)]
pub(crate) struct LineKey([u8; 32]);

impl LineKey {
    /// Derives the key of a host's lines from the key of the host.
    pub(crate) fn of(key: &[u8; 32]) -> Self {
        Self(blake3::derive_key("converge 2026 lines without secrets", key))
    }

    /// Returns the digest of `line`.
    pub(crate) fn digest(&self, line: &[u8]) -> LineDigest {
        let mut first = [0; 8];
        blake3::Hasher::new_keyed(&self.0).update(line).finalize_xof().fill(&mut first);
        LineDigest(u64::from_be_bytes(first))
    }
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
    /// Reads the ledger of `state`. A missing ledger is empty.
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

    /// Writes the whole ledger.
    pub(crate) fn write(&mut self, state: &State) -> Result<(), StateError> {
        self.version = FORMAT;
        super::replace(&state.path("ledger"), &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Whether everything that `resource` claims is recorded with its current parameters.
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

    /// Whether something that `resource` claims held a secret when it was last applied, by any project.
    pub(crate) fn held_secret(&self, resource: &Resource) -> bool {
        let mut entries = resource.claims.iter().filter_map(|claim| self.entries.get(&claim.key()));
        entries.any(|entry| entry.secret)
    }

    /// The paths that held a secret when something at them was last applied.
    pub(crate) fn secret_paths(&self) -> impl Iterator<Item = &str> {
        let claimed =
            self.entries.iter().filter(|(_, entry)| entry.secret).flat_map(|(key, _)| paths_of(key));
        claimed.chain(self.secret_places.iter().map(String::as_str))
    }

    /// Removes paths that no longer hold a secret: one of `owned` covers them whole and was written without one.
    pub(crate) fn clear_places(&mut self, owned: &[Claim]) {
        let clean = |place: &String| {
            owned.iter().any(|claim| match claim {
                Claim::Path { path, extent: Extent::Whole } => path == place,
                Claim::Path { path, extent: Extent::Absence } => Path::new(place).starts_with(path),
                _ => false,
            })
        };
        self.secret_places.retain(|place| !clean(place));
    }

    /// Adds the `places` at which a secret was written, and removes those that no longer exist.
    pub(crate) fn add_places(&mut self, places: Vec<String>, exists: impl Fn(&str) -> bool) {
        self.secret_places.extend(places);
        self.secret_places.retain(|place| exists(place));
    }

    /// Returns the lines that are known to hold no secret, by path.
    pub(crate) fn clean_lines(&self) -> HashMap<&str, Vec<LineDigest>> {
        let mut lines: HashMap<&str, Vec<LineDigest>> = HashMap::new();
        for (key, entry) in self.entries.iter().filter(|(_, entry)| !entry.clean.is_empty()) {
            paths_of(key).for_each(|path| lines.entry(path).or_default().extend(&entry.clean));
        }
        lines
    }

    /// Returns how the thing of a claim came to be there.
    #[cfg(test)]
    pub(crate) fn origin(&self, key: &str) -> Option<Origin> {
        self.entries.get(key).map(|entry| entry.origin)
    }

    /// Adds what runs that died were about to write. They may have written it or not.
    pub(crate) fn take_in(&mut self, writes: &[Intent]) {
        for write in writes {
            self.secret_places.extend(write.places.iter().cloned());
            for claim in &write.claims {
                let entry = self.entries.entry(claim.clone()).or_insert_with(|| Entry {
                    address: write.address.clone(),
                    kind: write.kind.clone(),
                    owners: vec![write.project.clone()],
                    origin: write.origin,
                    applied: BTreeMap::new(),
                    secret: false,
                    clean: Vec::new(),
                });
                // Either version may be there, so the last applied one is not known.
                entry.applied.clear();
                entry.secret |= write.secret;
                entry.clean.extend(&write.clean);
            }
        }
    }

    /// Returns the entry of each claim of `resource` under `project`. None if one is not known, or belonged to
    /// another kind.
    pub(crate) fn entries(&self, resource: &Resource, project: &str) -> Option<Vec<&Entry>> {
        let of_it =
            |entry: &&Entry| entry.kind == resource.kind && entry.owners.iter().any(|owner| owner == project);
        let claims = resource.claims.iter();
        claims.map(|claim| self.entries.get(&claim.key()).filter(of_it)).collect()
    }

    /// Records that `resource` is in sync with its current parameters.
    pub(crate) fn record(
        &mut self,
        resource: &Resource,
        project: &str,
        applied: &BTreeMap<String, Digest>,
        (origin, clean): (Origin, &[LineDigest]),
    ) {
        let secret = holds_secret(resource);
        for claim in &resource.claims {
            if !secret {
                self.replace_whole(claim);
            }
            let entry = self.entries.entry(claim.key()).or_insert_with(|| Entry {
                address: String::new(),
                kind: String::new(),
                owners: Vec::new(),
                origin,
                applied: BTreeMap::new(),
                secret: false,
                clean: Vec::new(),
            });
            entry.address = resource.address.to_string();
            entry.kind.clone_from(&resource.kind);
            entry.applied.clone_from(applied);
            entry.secret = secret;
            entry.clean = clean.to_vec();
            if !entry.owners.iter().any(|owner| owner == project) {
                entry.owners.push(project.to_owned());
            }
        }
    }
}

impl Ledger {
    /// Clears the secret marks of the parts of a claim. If the whole was written without a secret, or is absent, no
    /// part holds one any more.
    fn replace_whole(&mut self, claim: &Claim) {
        let Claim::Path { path, extent: Extent::Whole | Extent::Absence } = claim else { return };
        let below = format!("path:{}/", path.trim_end_matches('/'));
        let gone = matches!(claim, Claim::Path { extent: Extent::Absence, .. });
        for beginning in [Some(format!("{}#", claim.key())), gone.then_some(below)].into_iter().flatten() {
            let of_it = self.entries.range_mut(beginning.clone()..);
            of_it
                .take_while(|(key, _)| key.starts_with(&beginning))
                .for_each(|(_, entry)| entry.secret = false);
        }
    }
}

/// Returns the paths that the key of a claim may mean: a `#` may begin the name of a part, or belong to the path.
fn paths_of(key: &str) -> impl Iterator<Item = &str> {
    let path = key.strip_prefix("path:");
    path.into_iter().flat_map(|path| path.match_indices('#').map(|(at, _)| &path[..at]).chain([path]))
}

impl Entry {
    /// Whether `property` was last applied with its current value. A property without a parameter of its name depends
    /// on all parameters.
    pub(crate) fn agrees(&self, property: &str, now: &BTreeMap<String, Digest>) -> bool {
        match (self.applied.get(property), now.get(property)) {
            (None, None) => self.applied == *now,
            (before, now) => before == now,
        }
    }
}

/// Returns a keyed digest of each parameter of `resource`. For a secret, its own bytes count, not its place in the
/// table.
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

/// Whether a secret of `resource` stays on the host.
pub(crate) fn holds_secret(resource: &Resource) -> bool {
    let mut walk = Resolve { bytes: &mut Vec::new(), secrets: &SecretTable::default(), met_secret: false };
    let handed_on = kind(&resource.kind).map_or(&[][..], |kind| kind.handed_on());
    let stays = resource.params.0.iter().filter(|(name, _)| !handed_on.contains(&name.as_str()));
    stays.for_each(|(_, value)| walk.value(value));
    walk.met_secret || resource.options.sensitive
}

/// Writes values with their secrets in place. Each part has its length before it.
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
            Value::Tree(entries) => self.entries(entries),
            Value::Rows(rows) => rows.iter().flat_map(|row| &row.0).for_each(|(key, cell)| {
                self.part(key.as_bytes());
                match cell {
                    Cell::Scalar(scalar) => self.scalar(scalar),
                    Cell::List(list) => list.iter().for_each(|scalar| self.scalar(scalar)),
                    Cell::Map(map) => self.map(map),
                    Cell::Content(content) => self.content(content),
                    Cell::Tree(entries) => self.entries(entries),
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

    /// Writes a value of a tree, with its type and its number of values before it. So no other tree has the same
    /// parts.
    fn tree(&mut self, tree: &Tree) {
        match tree {
            Tree::Scalar(scalar) => {
                let kind = if matches!(scalar, Scalar::Secret(_)) { 3u8 } else { 0 };
                self.plain(&(kind, 1usize));
                self.scalar(scalar);
            }
            Tree::List(items) => {
                self.plain(&(1u8, items.len()));
                items.iter().for_each(|item| self.tree(item));
            }
            Tree::Map(entries) => self.entries(entries),
        }
    }

    fn entries(&mut self, entries: &[(String, Tree)]) {
        self.plain(&(2u8, entries.len()));
        for (key, value) in entries {
            self.part(key.as_bytes());
            self.tree(value);
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
    use converge_model::{Row, Secret, SecretRef};

    #[test]
    fn what_was_applied_is_known_until_a_parameter_or_the_secret_behind_it_changes() {
        let mut motd = resource("file", "/etc/motd");
        motd.claims = vec![Claim::path("/etc/motd", Extent::Whole)];
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
        ledger.record(&motd, "shop", &before, (Origin::Created, &[]));
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
        ledger.record(&motd, "shop", &before, (Origin::Found, &[]));
        assert!(!ledger.held_secret(&motd));
        let mut venv = resource("virtualenv", "/opt/venv");
        venv.params.set("path", Value::from("/opt/venv"));
        venv.params.set("index", Value::Scalar(Scalar::Secret(SecretRef(0))));
        assert!(!holds_secret(&venv), "an address that only the installer is given");
    }

    #[test]
    fn trees_that_differ_have_digests_that_differ() {
        let text = |text: &str| Tree::from(text);
        let map = |entries: &[(&str, Tree)]| {
            Tree::Map(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
        };
        let empty = || Tree::List(Vec::new());
        let trees = [
            text("a"),
            text("ab"),
            Tree::Scalar(Scalar::Secret(SecretRef(0))),
            Tree::Scalar(Scalar::Secret(SecretRef(1))),
            Tree::Scalar(Scalar::Secret(SecretRef(2))),
            empty(),
            map(&[]),
            Tree::List(vec![text("a")]),
            Tree::List(vec![Tree::List(vec![text("a")])]),
            Tree::List(vec![text("a"), text("b")]),
            Tree::List(vec![text("b"), text("a")]),
            Tree::List(vec![empty(), empty()]),
            Tree::List(vec![Tree::List(vec![empty()])]),
            Tree::List(vec![Tree::List(vec![text("a")]), text("b")]),
            Tree::List(vec![Tree::List(vec![text("a"), text("b")])]),
            map(&[("a", text("b"))]),
            map(&[("a", Tree::List(vec![text("b")]))]),
            map(&[("a", map(&[])), ("b", map(&[]))]),
            map(&[("a", map(&[("b", map(&[]))]))]),
            map(&[("a", map(&[("b", text("c"))])), ("d", text("e"))]),
            map(&[("a", map(&[("b", text("c")), ("d", text("e"))]))]),
        ];
        let mut secrets = SecretTable::default();
        // The last is a secret whose bytes are those of the text `a` on the wire.
        for secret in ["x", "y", "\x03\x01a"] {
            secrets.add(Secret::new(secret));
        }
        let mut app = resource("file", "/etc/app");
        let mut digest = |value: Value| {
            app.params.set("options", value);
            applied(&app, &[7; 32], &secrets)["options"]
        };
        let entries = |tree: &Tree| vec![("key".to_owned(), tree.clone())];
        let cell = |tree: &Tree| Row(vec![("options".into(), Cell::Tree(entries(tree)))]);
        let values: BTreeSet<_> = trees.iter().map(|tree| digest(Value::Tree(entries(tree)))).collect();
        let cells: BTreeSet<_> = trees.iter().map(|tree| digest(Value::Rows(vec![cell(tree)]))).collect();
        assert_eq!((values.len(), cells.len()), (trees.len(), trees.len()));
    }

    #[test]
    fn secret_in_a_tree_is_found_wherever_it_is() {
        let secret = Tree::Map(vec![("password".into(), Tree::Scalar(Scalar::Secret(SecretRef(0))))]);
        let entries = |leaf: Tree| vec![("logins".to_owned(), Tree::List(vec![Tree::from(1), leaf]))];
        let cell = |leaf: Tree| Value::Rows(vec![Row(vec![("options".into(), Cell::Tree(entries(leaf)))])]);
        let mut app = resource("file", "/etc/app");
        for (value, held) in [
            (Value::Tree(entries(secret.clone())), true),
            (cell(secret), true),
            (Value::Tree(entries(Tree::from("x"))), false),
            (cell(Tree::from("x")), false),
        ] {
            app.params.set("options", value);
            assert_eq!(holds_secret(&app), held, "{:?}", app.params);
        }
    }

    /// An agent compares them with digests that an older agent recorded.
    #[test]
    fn digests_of_values_that_do_not_nest_stay_as_they_are() {
        let map = vec![("key".to_owned(), vec![Scalar::from("x"), Scalar::Secret(SecretRef(0))])];
        let mut secrets = SecretTable::default();
        secrets.add(Secret::new("s"));
        let mut bytes = Vec::new();
        Resolve { bytes: &mut bytes, secrets: &secrets, met_secret: false }.value(&Value::Map(map));
        let part = |part: &[u8]| [&(part.len() as u64).to_le_bytes()[..], part].concat();
        assert_eq!(bytes, [part(b"key"), part(b"\x03\x01x"), part(b"s")].concat());
    }

    #[test]
    fn every_project_that_asks_for_a_resource_owns_it_once() {
        let mut motd = resource("file", "/etc/motd");
        motd.claims = vec![Claim::path("/etc/motd", Extent::Whole)];
        let mut ledger = Ledger::default();
        for project in ["shop", "base", "shop", "base"] {
            ledger.record(&motd, project, &BTreeMap::new(), (Origin::Created, &[]));
        }
        assert_eq!(ledger.entries["path:/etc/motd"].owners, ["shop", "base"]);
    }

    #[test]
    fn a_part_keeps_its_secret_until_the_whole_is_without_one() {
        let claimed = |kind: &str, extent: Extent, secret: bool| {
            let mut resource = resource(kind, "/etc/x");
            resource.claims = vec![Claim::path("/etc/x", extent)];
            let content = if secret {
                Content::Secret(SecretRef(0))
            } else {
                Content::Plain { digest: Digest::of(b""), length: 0 }
            };
            resource.params.set("content", Value::Content(content));
            resource
        };
        let block = claimed("block", Extent::Part("block:app".into()), true);
        let mut ledger = Ledger::default();
        let mut record = |resource: &Resource| {
            ledger.record(resource, "shop", &BTreeMap::new(), (Origin::Created, &[]));
            ledger.entries["path:/etc/x#block:app"].secret
        };
        assert!(record(&block));
        assert!(record(&claimed("file", Extent::Whole, true)), "the whole holds a secret itself");
        assert!(!record(&claimed("file", Extent::Whole, false)));
    }

    #[test]
    fn a_ledger_survives_the_disk_and_a_newer_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::in_folder(folder.path().to_owned());
        let mut ledger = Ledger::read(&state).unwrap();
        ledger.record(&resource("file", "/a"), "shop", &BTreeMap::new(), (Origin::Found, &[]));
        ledger.write(&state).unwrap();
        assert_eq!(Ledger::read(&state).unwrap(), ledger);
        std::fs::write(state.path("ledger"), r#"{"version":2,"entries":"of an unknown shape"}"#).unwrap();
        assert!(matches!(Ledger::read(&state), Err(StateError::Newer { found: 2, .. })));
    }
}
