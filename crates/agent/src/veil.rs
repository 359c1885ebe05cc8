//! The parts of a plan that may be shown. Secrecy follows the path, under any of its names, and the text. If a file
//! holds or held a secret, a diff shows only lines that are known to hold none. Everywhere else the secrets
//! themselves are masked, and values derived from them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use converge_model::claim::Extent;
use converge_model::secret::MASK;
use converge_model::{Change, Claim, Masker, PropertyChange, Resource, Shown};
use converge_resources::View;
use converge_resources::kit::attributes::METADATA;

use crate::decoded::Decoded;
use crate::state::ledger::{Ledger, LineDigest, LineKey, holds_secret};

/// The veil over one catalog.
#[derive(Clone, Default)]
pub(crate) struct Veil {
    masker: Masker,
    /// The resources that are declared sensitive: none of their values is shown.
    sensitive: BTreeSet<u32>,
    /// The resources that held a secret, according to the ledger: what was found of them is not shown.
    held: BTreeSet<u32>,
    /// The resources with a path that holds or held a secret, each with the lines without one.
    covered: BTreeMap<u32, Known>,
    /// The lines without a secret that each resource writes.
    clean: BTreeMap<u32, HashSet<Vec<u8>>>,
}

/// The lines at the paths of a resource that are known to hold no secret.
#[derive(Clone, Default)]
struct Known {
    lines: HashSet<Vec<u8>>,
    digests: HashSet<LineDigest>,
    key: Option<LineKey>,
}

impl Veil {
    /// Makes the veil over the catalog of `decoded`, whose paths have these `names`. `ledger` and the key of its
    /// lines are what the host remembers.
    pub(crate) fn over(decoded: &Decoded<'_>, names: &Names<'_>, ledger: Option<(&Ledger, LineKey)>) -> Self {
        let catalog = decoded.catalog;
        let all = || (0_u32..).zip(&catalog.resources);
        let of = |holds: &dyn Fn(&Resource) -> bool| {
            all().filter(|(_, resource)| holds(resource)).map(|(index, _)| index).collect()
        };
        let mut veil = Self {
            masker: Masker::new(&catalog.secrets),
            sensitive: of(&|resource| resource.options.sensitive),
            held: of(&|resource| ledger.is_some_and(|(ledger, _)| ledger.held_secret(resource))),
            ..Self::default()
        };
        let holders: BTreeSet<u32> = of(&holds_secret);
        let mut secret: BTreeSet<String> = holders.iter().flat_map(|index| names.paths(*index)).collect();
        let before = ledger.into_iter().flat_map(|(ledger, _)| ledger.secret_paths());
        secret.extend(before.flat_map(|path| names.of(path)));
        if secret.is_empty() {
            return veil;
        }
        let covered: BTreeMap<u32, BTreeSet<String>> = all()
            .map(|(index, _)| {
                (index, names.paths(index).into_iter().filter(|path| is_within(&secret, path)).collect())
            })
            .filter(|(_, paths): &(u32, BTreeSet<String>)| !paths.is_empty())
            .collect();
        veil.clean = clean_lines(decoded, covered.keys().copied());
        veil.covered = veil.known(&covered, names, ledger);
        veil
    }

    /// Returns, for each resource of `covered` with its secret paths, the lines that are known to hold no secret.
    fn known(
        &self,
        covered: &BTreeMap<u32, BTreeSet<String>>,
        names: &Names<'_>,
        ledger: Option<(&Ledger, LineKey)>,
    ) -> BTreeMap<u32, Known> {
        let mut owners: HashMap<&str, Vec<u32>> = HashMap::new();
        for (index, paths) in covered {
            paths.iter().for_each(|path| owners.entry(path).or_default().push(*index));
        }
        let mut digests: HashMap<String, Vec<LineDigest>> = HashMap::new();
        for (path, lines) in ledger.into_iter().flat_map(|(ledger, _)| ledger.clean_lines()) {
            names.of(path).into_iter().for_each(|name| digests.entry(name).or_default().extend(&lines));
        }
        let known = |paths: &BTreeSet<String>| {
            let sharing = paths.iter().filter_map(|path| owners.get(path.as_str())).flatten();
            Known {
                lines: sharing.filter_map(|other| self.clean.get(other)).flatten().cloned().collect(),
                digests: paths.iter().filter_map(|path| digests.get(path)).flatten().copied().collect(),
                key: ledger.map(|(_, key)| key),
            }
        };
        covered.iter().map(|(index, paths)| (*index, known(paths))).collect()
    }

    /// Returns the masker, which masks secrets in shown text.
    pub(crate) fn masker(&self) -> &Masker {
        &self.masker
    }

    /// Whether what the resource at `index` replaces is kept only in memory.
    pub(crate) fn hides(&self, index: u32) -> bool {
        self.sensitive.contains(&index) || self.held.contains(&index) || self.covered.contains_key(&index)
    }

    /// Notes that the resource at `index` writes `text`, in which no line depends on a secret. The controller sends
    /// it as plain content.
    pub(crate) fn learn(&mut self, index: u32, text: &[u8]) {
        if self.sensitive.contains(&index) {
            return;
        }
        if let Some(known) = self.covered.get_mut(&index) {
            known.lines.extend(lines(text).map(<[u8]>::to_vec));
            self.clean.entry(index).or_default().extend(lines(text).map(<[u8]>::to_vec));
        }
    }

    /// Returns the digests of the lines without a secret that the resource at `index` writes, for the ledger.
    pub(crate) fn clean_digests(&self, index: u32, key: &LineKey) -> Vec<LineDigest> {
        let lines = self.clean.get(&index).filter(|lines| lines.len() <= LINES);
        lines.into_iter().flatten().map(|line| key.digest(line)).collect()
    }

    /// Masks everything secret in `change`, which the resource at `index` makes.
    pub(crate) fn cover(&self, index: u32, change: &mut Change) {
        let known = self.covered.get(&index);
        if self.hides(index) {
            // No backup is made of a secret file, so the plan shows none.
            change.properties.retain(|property| property.property != "backup");
        }
        for property in &mut change.properties {
            if self.sensitive.contains(&index) && property.property != "action" {
                property.diff = None;
                mask_values(property);
            } else if self.held.contains(&index) && !is_metadata(property) {
                mask_values(property);
            }
            let tells_content = !is_metadata(property);
            match (&mut property.diff, known) {
                (Some(diff), Some(known)) => {
                    diff.unified = known.mask(&diff.unified);
                    mask_values(property);
                }
                // The property shows the content at the path, or a digest of it.
                (None, Some(_)) if tells_content => mask_value(&mut property.before),
                (Some(_), None) if self.held.contains(&index) => property.diff = None,
                _ => {}
            }
            mask_texts(property, &self.masker);
        }
    }
}

/// The largest number of lines of one resource in the ledger. Of a longer text the ledger keeps none, and all of it
/// is masked once it held a secret.
const LINES: usize = 4096;

impl Known {
    fn is_clean(&self, line: &[u8]) -> bool {
        let digest = || self.key.is_some_and(|key| self.digests.contains(&key.digest(line)));
        line.is_empty() || self.lines.contains(line) || digest()
    }

    /// Masks a unified diff: each line that may hold a secret is masked.
    fn mask(&self, unified: &str) -> String {
        let mut masked = String::with_capacity(unified.len());
        for line in unified.split_inclusive('\n') {
            match line.strip_prefix([' ', '-', '+']) {
                Some(text) if !self.is_clean(text.strip_suffix('\n').unwrap_or(text).as_bytes()) => {
                    masked.push_str(&line[..1]);
                    masked.push_str(MASK);
                    masked.push('\n');
                }
                // The header of a hunk, or the note that a line has no end.
                _ => masked.push_str(line),
            }
        }
        masked
    }
}

/// The names of the paths of a catalog: as written, and as on the host.
pub(crate) struct Names<'a> {
    decoded: &'a Decoded<'a>,
    owned: &'a BTreeMap<u32, Vec<Claim>>,
    view: View<'a>,
}

impl<'a> Names<'a> {
    /// Makes the names in the catalog of `decoded`. `owned` is what its plan found of resources that were looked at,
    /// because an earlier step may make a link. The rest is looked up by `view`.
    pub(crate) fn new(
        decoded: &'a Decoded<'a>,
        owned: &'a BTreeMap<u32, Vec<Claim>>,
        view: View<'a>,
    ) -> Self {
        Self { decoded, owned, view }
    }

    /// Returns the paths whose content, or a part of it, the resource at `index` claims.
    fn paths(&self, index: u32) -> BTreeSet<String> {
        let written = &self.decoded.catalog.resources[index as usize].claims;
        let looked_up;
        let owned = match self.owned.get(&index) {
            Some(owned) => owned,
            None => {
                looked_up = self.decoded.wanted[index as usize].owns(&self.view).unwrap_or_default();
                &looked_up
            }
        };
        let paths = written.iter().chain(owned).filter_map(content_path).map(str::to_owned);
        paths.flat_map(|path| self.twin(&path).into_iter().chain([path])).collect()
    }

    /// Returns the claim that the file at `path` shares with its other names (hard links).
    fn twin(&self, path: &str) -> Option<String> {
        self.view.twin(Path::new(path)).ok().flatten().map(|twin| twin.key())
    }

    /// Returns `path` as written, and as on the host.
    fn of(&self, path: &str) -> BTreeSet<String> {
        let resolved = self.view.resolved(Path::new(path)).ok();
        let resolved = resolved.and_then(|path| path.into_os_string().into_string().ok());
        let names = resolved.into_iter().chain([path.to_owned()]);
        names.flat_map(|path| self.twin(&path).into_iter().chain([path])).collect()
    }
}

/// Returns the path whose content, or a part of it, is claimed.
pub(crate) fn content_path(claim: &Claim) -> Option<&str> {
    match claim {
        Claim::Path { extent: Extent::Metadata, .. } | Claim::Named { .. } => None,
        Claim::Path { path, .. } => Some(path),
    }
}

/// Whether `path` is one of `secret`, or below one.
fn is_within(secret: &BTreeSet<String>, path: &str) -> bool {
    let above = path.match_indices('/').map(|(at, _)| &path[..at]);
    above.chain([path]).any(|path| secret.contains(path))
}

/// Returns, for each resource of `which`, the lines that do not depend on a secret. These are the lines that it also
/// writes with other texts in the place of all secrets.
fn clean_lines(decoded: &Decoded<'_>, which: impl Iterator<Item = u32>) -> BTreeMap<u32, HashSet<Vec<u8>>> {
    let catalog = decoded.catalog;
    let others = STAND_INS.map(|stand_in| catalog.secrets.with_stand_in(stand_in));
    let of = |index: u32| {
        let resource = &catalog.resources[index as usize];
        let text = decoded.wanted[index as usize].text()?;
        let mut clean: HashSet<Vec<u8>> = lines(&text).map(<[u8]>::to_vec).collect();
        if resource.options.sensitive {
            return None;
        }
        if holds_secret(resource) {
            let kind = converge_resources::kind(&resource.kind)?;
            for other in &others {
                let text = kind.decode(&resource.params, other).ok()?.text()?;
                let kept: HashSet<&[u8]> = lines(&text).collect();
                clean.retain(|line| kept.contains(line.as_slice()));
            }
        }
        Some((index, clean))
    };
    which.filter_map(of).collect()
}

/// The substitutes for secrets: two texts that have nothing in common.
const STAND_INS: [&str; 2] = ["Zq0-stand-in-of-a-secret-Wk7", "4815162342"];

/// Returns the lines of a text without their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// Whether a property shows nothing of the content of a file: `mode`, and in a tree `NAME: mode`.
fn is_metadata(property: &PropertyChange) -> bool {
    let name = property.property.rsplit(": ").next().unwrap_or_default();
    name == "action" || METADATA.contains(&name)
}

fn mask_values(property: &mut PropertyChange) {
    mask_value(&mut property.before);
    mask_value(&mut property.after);
}

fn mask_value(shown: &mut Shown) {
    if !matches!(shown, Shown::Absent) {
        *shown = Shown::Masked;
    }
}

fn mask_texts(property: &mut PropertyChange, masker: &Masker) {
    for shown in [&mut property.before, &mut property.after] {
        if let Shown::Text(text) | Shown::Unknown(text) = shown {
            *text = masker.mask(text.as_bytes());
        }
    }
    if let Some(diff) = &mut property.diff {
        diff.unified = masker.mask(diff.unified.as_bytes());
    }
}

#[cfg(test)]
mod tests;
