//! Ownership on this host: the claims of a catalog under the names that the host uses. The language finds two
//! resources with the same name for a thing. This file finds those that reach it by different names.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use converge_model::{Claim, Extent};

/// The claims of the resources so far, each with the place of its resource in the catalog.
#[derive(Default)]
pub(crate) struct Owners {
    names: HashMap<(String, String), u32>,
    paths: BTreeMap<String, Vec<(Extent, u32)>>,
}

/// Two resources that own one thing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    /// The place of the other resource.
    pub(crate) with: u32,
    /// The thing, under its name in the ledger.
    pub(crate) thing: String,
}

impl Owners {
    /// Adds what the resource at `index` owns. Returns the first thing that another resource owns already.
    pub(crate) fn add(&mut self, index: u32, owned: Vec<Claim>) -> Option<Clash> {
        let clash = owned.iter().find_map(|claim| {
            let with = self.owner(index, claim)?;
            Some(Clash { with, thing: claim.key() })
        });
        for claim in owned {
            match claim {
                Claim::Named { space, name } => {
                    self.names.entry((space, name)).or_insert(index);
                }
                Claim::Path { path, extent } => self.paths.entry(path).or_default().push((extent, index)),
            }
        }
        clash
    }

    /// Returns the other resource that owns what `claim` claims.
    fn owner(&self, index: u32, claim: &Claim) -> Option<u32> {
        let (path, extent) = match claim {
            Claim::Named { space, name } => {
                let owner = self.names.get(&(space.clone(), name.clone())).copied();
                return owner.filter(|owner| *owner != index);
            }
            Claim::Path { path, extent } => (path, extent),
        };
        let conflicting = |(other, (held, owner)): (&String, &(Extent, u32))| {
            (*owner != index && claim.conflicts(&Claim::path(other, held.clone()))).then_some(*owner)
        };
        let each = |path: &'_ str| self.paths.get_key_value(path);
        let above = Path::new(path).ancestors().filter_map(|above| each(above.to_str()?));
        let mut above = above.flat_map(|(path, held)| held.iter().map(move |one| (path, one)));
        above.find_map(conflicting).or_else(|| {
            let below = format!("{}/", path.trim_end_matches('/'));
            let inside = self.paths.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below));
            let mut inside = inside.flat_map(|(path, held)| held.iter().map(move |one| (path, one)));
            if *extent == Extent::Absence { inside.find_map(conflicting) } else { None }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, resource};
    use converge_model::Resource;

    #[test]
    fn a_thing_has_one_owner() {
        let path = |path: &str, extent: Extent| Claim::path(path, extent);
        let mut owners = Owners::default();
        assert_eq!(
            owners.add(0, vec![path("/run/x", Extent::Whole), path("/run/x", Extent::Metadata)]),
            None
        );
        assert_eq!(owners.add(1, vec![path("/run", Extent::Metadata), Claim::named("unit", "a")]), None);
        let clash = |with: u32, thing: &str| Some(Clash { with, thing: thing.into() });
        assert_eq!(owners.add(2, vec![path("/run/x", Extent::Part("p".into()))]), clash(0, "path:/run/x#p"));
        assert_eq!(owners.add(3, vec![path("/run", Extent::Absence)]), clash(1, "path:/run"));
        assert_eq!(owners.add(4, vec![path("/run/y/z", Extent::Whole)]), clash(3, "path:/run/y/z"));
        assert_eq!(owners.add(5, vec![Claim::named("unit", "a")]), clash(1, "unit:a"));
        assert_eq!(owners.add(6, vec![path("/", Extent::Absence)]).map(|clash| clash.with), Some(1));
        assert_eq!(owners.add(7, vec![path("/running", Extent::Metadata)]).map(|clash| clash.with), Some(6));
    }

    #[test]
    fn a_thing_has_one_owner_by_whatever_name_two_lead_to_it() {
        let bench = Bench::new();
        let link = |target: &str, path: &str| {
            let path = bench.root().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
        };
        link("../run", "var/run");
        link("/usr/lib/systemd/system/ssh.service", "etc/systemd/system/sshd.service");
        for unit in ["ssh.service", "sshd.service"] {
            bench.world.unit(unit);
        }
        let check = |resources: &[Resource], expected: &str| {
            let problems = bench.look(resources).problems;
            assert_eq!(
                problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>(),
                [expected]
            );
            assert!(problems[0].address.is_none(), "it is the host that has two plans");
        };
        let files = |one: &str, other: &str| [bench.file(one, "one\n"), bench.file(other, "other\n")];
        check(
            &files("/run/x", "/var/run/x"),
            "file[/run/x] and file[/var/run/x] both own path:/run/x on this host",
        );
        check(
            &[resource("service", "ssh"), resource("service", "sshd")],
            "service[ssh] and service[sshd] both own unit:ssh.service on this host",
        );
        // An earlier step may make the link.
        let mut current = resource("link", "/run/current");
        current.params.set("to", converge_model::Value::from("/run"));
        let [one, other] = files("/run/current/y", "/run/y");
        check(
            &[current, one, other],
            "file[/run/current/y] and file[/run/y] both own path:/run/y on this host",
        );
        assert_eq!(bench.look(&files("/run/x", "/run/y")).problems, []);
        // One file with two names would get one mode after the other in every run.
        std::fs::write(bench.root().join("run/x"), "one\n").unwrap();
        assert_eq!(bench.look(&files("/run/x", "/run/y")).problems, []);
        std::fs::hard_link(bench.root().join("run/x"), bench.root().join("run/y")).unwrap();
        let problems = bench.look(&files("/run/x", "/run/y")).problems;
        let told = &problems[0].message;
        assert!(told.starts_with("file[/run/x] and file[/run/y] both own inode:"), "{told}");
        assert!(problems[0].help.as_ref().is_some_and(|help| help.contains("hard links")));
        assert_eq!(
            bench.look(&files("/run/x", "/run/z")).problems,
            [],
            "another name alone is not asked for"
        );
    }
}
