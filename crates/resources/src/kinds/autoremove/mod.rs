//! `autoremove`: removes dependencies that no package needs any more.

use converge_model::{Change, Claim, KindSchema, Param, PropertyChange, Shown, Type, Verb};

use crate::actor::{Actor, ApplyError};
use crate::kind::{Kind, Planned};
use crate::overlay::Effect;
use crate::view::{LookError, View};
use crate::wish::Reader;

/// The kind.
pub struct Autoremove;

/// The names of unneeded packages, or the name of a manager that cannot list them.
pub struct Found(Result<Vec<String>, &'static str>);

impl Kind for Autoremove {
    type Wish = ();
    type Found = Found;

    fn schema() -> KindSchema {
        KindSchema::new("autoremove", "Removal of packages that no other package needs any more")
            .details(
                "The kind removes packages that were installed as dependencies and that no package needs any \
                 more. The plan names each of them, as the package manager foresees them. This includes \
                 packages that an earlier step of the plan leaves unneeded. Packages that a user or Converge \
                 installed by name always stay. Write the resource after the packages that the host needs. If \
                 more packages than in the plan turn out to be unneeded, the step stops, and the next plan \
                 names them.",
            )
            .param(
                Param::new("name", Type::Text, "Name; always `packages`").argument(0).one_of(&["packages"]).default("packages"),
            )
            .example("Cleanup after the packages of the host", "package \"less\"\nautoremove \"packages\"")
            .whole_system()
    }

    fn decode(params: &mut Reader<'_>) {
        params.choice("name", &[("packages", ())]);
    }

    fn claims((): &()) -> Vec<Claim> {
        vec![Claim::named("package", "(unneeded)")]
    }

    fn observe(view: &View<'_>, (): &()) -> Result<Found, LookError> {
        let manager = view.package_manager();
        if !manager.features.autoremove {
            return Ok(Found(Err(manager.name)));
        }
        // Leave out packages that an earlier step installs or removes itself.
        let unneeded = view.unneeded_packages()?;
        Ok(Found(Ok(unneeded.into_iter().filter(|name| !view.is_package_planned(name)).collect())))
    }

    fn plan((): &(), Found(unneeded): &Found) -> Planned {
        let unneeded = match unneeded {
            Ok(unneeded) => unneeded,
            Err(manager) => {
                return Planned::impossible(format!("{manager} cannot list unneeded packages"));
            }
        };
        if unneeded.is_empty() {
            return Planned::InSync("every package is needed".to_owned());
        }
        let change = Change::new(Verb::Remove).irreversible("packages are not restored");
        Planned::change(change.property(PropertyChange::new("removes", unneeded.join(", "), Shown::Absent)))
    }

    fn effects((): &(), Found(unneeded): &Found) -> Vec<Effect> {
        let gone = unneeded.iter().flatten().map(|name| Effect::Package(name.clone(), None));
        gone.chain([Effect::Elsewhere]).collect()
    }

    fn apply(actor: &mut Actor<'_>, (): &(), _: &Found) -> Result<(), ApplyError> {
        actor.remove_unneeded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{Trial, change, params};
    use crate::overlay::Version;

    fn wish() -> converge_model::Params {
        params([("name", "packages".into())])
    }

    #[test]
    fn what_nothing_needs_is_named_and_goes() {
        let trial = Trial::new();
        trial.assert_in_sync("autoremove", &wish());
        trial.world().unneeded(&["libold1", "libold2"]);
        let planned = change(trial.plan("autoremove", &wish()));
        assert_eq!(planned.verb, Verb::Remove);
        assert_eq!(planned.properties[0].before, Shown::Text("libold1, libold2".into()));
        let effects = trial.look("autoremove", &wish()).effects;
        let [Effect::Package(first, None), Effect::Package(second, None), Effect::Elsewhere] = &effects[..]
        else {
            panic!("packages go, and with them files that no plan can name")
        };
        assert_eq!([first, second], ["libold1", "libold2"]);
        trial.apply("autoremove", &wish()).unwrap();
        trial.assert_in_sync("autoremove", &wish());
    }

    #[test]
    fn only_packages_are_unneeded() {
        let problems = Trial::new().problems("autoremove", &params([("name", "snaps".into())]));
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn what_a_step_before_asks_for_stays() {
        let trial = Trial::new();
        trial.world().unneeded(&["libold1"]);
        let asked = vec![Effect::Package("libold1".into(), Some(Version::Unknown))];
        assert!(matches!(trial.plan_after(asked, "autoremove", &wish()), Planned::InSync(_)));
    }
}
