//! Claims: the things that a resource owns on its host, and conflicts between claims.

use serde::{Deserialize, Serialize};

/// A thing on a host that a resource owns. The ledger uses claims as keys, so a renamed resource is still the same
/// resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Claim {
    /// A path, or a part of its content.
    Path {
        /// The absolute path, without `.`, `..` and doubled slashes.
        path: String,
        /// The owned part of the path.
        extent: Extent,
    },
    /// A name in a registry of the host: `package:nginx`, `user:ada`.
    Named {
        /// The registry.
        space: String,
        /// The name in it.
        name: String,
    },
}

/// The registry of what runs once for all hosts: `once:command[migrate] 1.5.0`.
const ONCE: &str = "once";

/// The part of a path that a resource owns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Extent {
    /// Its content, mode and owner.
    Whole,
    /// Mode and owner alone.
    Metadata,
    /// Only mode and owner.
    Part(String),
    /// The absence of the path.
    Absence,
}

impl Claim {
    /// Returns a claim on a path.
    pub fn path(path: impl Into<String>, extent: Extent) -> Self {
        Self::Path { path: path.into(), extent }
    }

    /// Returns a claim on a name in a registry.
    pub fn named(space: &str, name: impl Into<String>) -> Self {
        Self::Named { space: space.to_owned(), name: name.into() }
    }

    /// Returns the claim of something that runs once for all hosts.
    pub fn once(key: impl Into<String>) -> Self {
        Self::named(ONCE, key)
    }

    /// Returns the key of a once-claim; None for other claims.
    pub fn as_once(&self) -> Option<&str> {
        match self {
            Self::Named { space, name } if space == ONCE => Some(name),
            _ => None,
        }
    }

    /// Returns its key in the ledger: `path:/etc/motd`, `path:/etc/hosts#line:x`, `user:ada`.
    pub fn key(&self) -> String {
        match self {
            Self::Path { path, extent: Extent::Part(part) } => format!("path:{path}#{part}"),
            Self::Path { path, .. } => format!("path:{path}"),
            Self::Named { space, name } => format!("{space}:{name}"),
        }
    }

    /// Whether two resources of one host cannot both hold these claims.
    pub fn conflicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Named { .. }, Self::Named { .. }) => self == other,
            (Self::Path { path: a, extent: of_a }, Self::Path { path: b, extent: of_b }) => {
                if a == b {
                    overlap(of_a, of_b)
                } else {
                    (*of_a == Extent::Absence && is_below(b, a) && *of_b != Extent::Absence)
                        || (*of_b == Extent::Absence && is_below(a, b) && *of_a != Extent::Absence)
                }
            }
            _ => false,
        }
    }
}

fn overlap(a: &Extent, b: &Extent) -> bool {
    match (a, b) {
        (Extent::Part(a), Extent::Part(b)) => a == b,
        (Extent::Part(_), Extent::Metadata) | (Extent::Metadata, Extent::Part(_)) => false,
        _ => true,
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/') || folder == "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_a_path_with_each_other_and_with_its_metadata() {
        let claim = |path: &str, extent: Extent| Claim::path(path, extent);
        let part = |name: &str| Extent::Part(name.to_owned());
        let check = |a: Claim, b: Claim, conflict: bool| {
            assert_eq!(a.conflicts(&b), conflict, "{a:?} {b:?}");
            assert_eq!(b.conflicts(&a), conflict, "{b:?} {a:?}");
        };
        check(claim("/a", Extent::Whole), claim("/a", Extent::Whole), true);
        check(claim("/a", Extent::Whole), claim("/a", part("x")), true);
        check(claim("/a", Extent::Metadata), claim("/a", part("x")), false);
        check(claim("/a", part("x")), claim("/a", part("y")), false);
        check(claim("/a", part("x")), claim("/a", part("x")), true);
        check(claim("/a", Extent::Absence), claim("/a/b", Extent::Whole), true);
        check(claim("/a", Extent::Absence), claim("/ab", Extent::Whole), false);
        check(claim("/a", Extent::Absence), claim("/a/b", Extent::Absence), false);
        check(Claim::named("user", "a"), Claim::named("user", "a"), true);
        check(Claim::named("user", "a"), Claim::named("group", "a"), false);
    }
}
