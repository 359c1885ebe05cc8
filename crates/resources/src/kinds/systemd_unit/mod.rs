//! `systemd-unit`: a unit file of the administrator, or a drop-in, written section by section.
//!
//! [`sections`] makes the text, [`check`] runs systemd's check, [`effective`] finds overriding files.
//! [`rendered_file`](crate::kit::rendered_file) writes the file. The kind `service` decides whether the unit runs.

mod check;
mod effective;
mod sections;

use std::path::{Path, PathBuf};

use converge_model::schema::Child;
use converge_model::{Change, Claim, Extent, KindSchema, Param, ParamProblem, PropertyChange, Type, Verb};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Depend, Kind, Planned};
use crate::kit::parent_folder::{self, NewFolder};
use crate::kit::rendered_file::{self, Rendered};
use crate::overlay::{Effect, PlannedUnit};
use crate::system::services::{full_name, is_unit_name};
use crate::view::{LookError, Need, Seen, View};
use crate::wish::Reader;
use effective::Overriding;
use sections::{Hardening, Section};

/// The kind.
pub struct SystemdUnit;

/// The desired file.
pub struct Wish {
    unit: String,
    /// The folder of a drop-in.
    folder: Option<PathBuf>,
    sections: Vec<Section>,
    verify: bool,
    file: Rendered,
}

/// The state of the host.
pub struct Found {
    file: rendered_file::Found,
    /// The folder of a drop-in.
    folder: Option<NewFolder>,
    needs: Vec<Need>,
    /// The file that overrides this one.
    overriding: Option<Overriding>,
    /// Whether systemd has read an older text, and whether an earlier step may make it read the new one.
    stale: bool,
    may_be_read: bool,
}

/// The folder of the administrator's unit files.
const FOLDER: &str = "/etc/systemd/system";

impl Kind for SystemdUnit {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        KindSchema::new("systemd-unit", "A unit file of systemd, or a drop-in, in /etc/systemd/system")
            .details(
                "Each `section` has the options of the unit file. Several values of an option become several \
                 lines. An empty first value resets the option: `ExecStart \"\" \"/usr/bin/app\"`. Timers, \
                 sockets, mounts and paths are also units.\n\n\
                 `systemd-analyze verify` checks the new file before it replaces the old one. An option that \
                 systemd would ignore or refuse is an error, but a missing program is not. systemd reads its \
                 files again after each change. Use `service` to run the unit, and notify it of changes.\n\n\
                 Another file may override this one: a drop-in, or a unit file of higher rank. If no resource \
                 declares that file, this is an error of the plan, which names it. If the file is as asked, \
                 but systemd has not read it since its change, the step lets systemd read it.\n\n\
                 `hardening` adds a sandbox that most services tolerate. `standard` gives no new privileges, a \
                 read-only system except /etc and the paths in the unit, a private /tmp, no devices, and no \
                 kernel settings. `strict` adds a read-only /etc, no home folders, and only the usual system \
                 calls and sockets. Options in the section override the sandbox.\n\n\
                 If an option is a secret, the file has mode 0600. systemd still shows options to every user \
                 (`systemctl show`). `LoadCredential` and `EnvironmentFile` show a secret only to the service.",
            )
            .param(Param::new("name", Type::Name, "Unit with its type: `backup.timer`; default type: service").argument(0).required())
            .param(
                Param::new("state", Type::Text, "Wanted state of the file")
                    .one_of(&["present", "absent"])
                    .default("present"),
            )
            .param(Param::new("drop-in", Type::Name, "Name of a drop-in that adds the sections to an existing unit: `10-limits`"))
            .param(
                Param::new("hardening", Type::Text, "Sandbox level of a service")
                    .one_of(&["none", "standard", "strict"])
                    .default("none"),
            )
            .param(Param::new("verify", Type::Bool, "Check the new file with systemd first").default(true))
            .param(Param::new("mode", Type::Mode, "Mode of the file; default: 0644, or 0600 if it holds a secret"))
            .child(
                Child::new("section", "A section of the file, with its options.")
                    .param(Param::new("name", Type::Name, "`Unit`, `Service`, `Timer`, `Install`, …").argument(0).required())
                    .free_keys("options"),
            )
            .example(
                "Your own service",
                "systemd-unit \"ticker\" hardening=\"standard\" notify=\"service[ticker]\" {\n    section \"Unit\" { Description \"Ticks\" }\n    section \"Service\" {\n        ExecStart \"/bin/sleep infinity\"\n        Environment \"INTERVAL=5\" \"LEVEL=info\"\n        Restart \"on-failure\"\n    }\n    section \"Install\" { WantedBy \"multi-user.target\" }\n}\nservice \"ticker\" running=#true enabled=#true",
            )
            .example(
                "A timer",
                "systemd-unit \"tidy.service\" {\n    section \"Service\" {\n        Type \"oneshot\"\n        ExecStart \"/bin/true\"\n    }\n}\nsystemd-unit \"tidy.timer\" notify=\"service[tidy.timer]\" {\n    section \"Timer\" {\n        OnCalendar \"daily\"\n        Persistent #true\n        RandomizedDelaySec \"15min\"\n    }\n    section \"Install\" { WantedBy \"timers.target\" }\n}\nservice \"tidy.timer\" running=#true enabled=#true",
            )
            .example(
                "Limits for a service that a package brings",
                "package \"cron\"\nsystemd-unit \"cron\" drop-in=\"10-limits\" notify=\"service[cron]\" {\n    section \"Service\" { MemoryMax \"256M\" }\n}\nservice \"cron\" running=#true",
            )
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let unit = full_name(&params.required_text("name"));
        if !is_unit_name(&unit) {
            params.problem(ParamProblem::new("name", format!("{unit:?} cannot be the name of a unit")));
        }
        let absent = params.choice("state", &[("present", false), ("absent", true)]);
        let drop_in = params.text("drop-in").map(|name| match name.strip_suffix(".conf") {
            Some(_) => name,
            None => format!("{name}.conf"),
        });
        let hardening = params.choice(
            "hardening",
            &[("none", Hardening::None), ("standard", Hardening::Standard), ("strict", Hardening::Strict)],
        );
        let mut sections = sections::decode(params, &unit);
        if absent != sections.is_empty() {
            let message = if absent { "must not be set for an absent unit" } else { "is missing" };
            params.problem(ParamProblem::new("section", message));
        }
        if hardening != Hardening::None && !unit.ends_with(".service") {
            params.problem(ParamProblem::new("hardening", "must not be set for other units than services"));
        }
        sections::harden(&mut sections, hardening);
        let secret = sections.iter().any(|section| section.secrets().next().is_some());
        let mode = params.mode("mode").unwrap_or(if secret { 0o600 } else { 0o644 });
        let folder = drop_in.as_ref().map(|_| Path::new(FOLDER).join(format!("{unit}.d")));
        let path = match (&folder, &drop_in) {
            (Some(folder), Some(name)) => folder.join(name),
            _ => Path::new(FOLDER).join(&unit),
        };
        let file = Rendered {
            path,
            text: (!absent).then(|| sections::text(&sections, false)),
            attributes: Attributes { mode: Some(mode), ..Attributes::default() },
            validate: Vec::new(),
            secret,
        };
        Wish { unit, folder, sections, verify: params.flag("verify").unwrap_or(true), file }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        let extent = if wish.file.text.is_some() { Extent::Whole } else { Extent::Absence };
        let mut claims = vec![Claim::path(wish.file.path.to_string_lossy(), extent)];
        if let (Some(folder), Some(_), Some(name)) =
            (&wish.folder, &wish.file.text, wish.file.path.file_name())
        {
            let part = Extent::Part(name.to_string_lossy().into_owned());
            claims.push(Claim::path(folder.to_string_lossy(), part));
        }
        claims
    }

    fn warnings(wish: &Wish) -> Vec<ParamProblem> {
        let secret = wish.sections.iter().flat_map(Section::secrets).map(|option| {
            let message = format!("every user of the host can read the secret in {option} with systemctl");
            ParamProblem::new("section", message)
                .help("write it into a `file` of mode 0600, and use `EnvironmentFile` or `LoadCredential`")
        });
        secret.chain(wish.file.warnings()).collect()
    }

    fn suffix(wish: &Wish) -> Option<String> {
        wish.folder.as_ref()?;
        Some(wish.file.path.file_stem()?.to_string_lossy().into_owned())
    }

    fn text(wish: &Wish) -> Option<Vec<u8>> {
        wish.file.text.clone()
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let overriding = match &wish.file.text {
            Some(text) => effective::overriding(view, wish, text)?,
            None => None,
        };
        let mut found = Found {
            file: rendered_file::observe(view, &wish.file)?,
            folder: None,
            needs: Vec::new(),
            overriding,
            stale: matches!(view.unit(&wish.unit)?, Seen::Known(state) if state.stale),
            may_be_read: view.may_reload_units(),
        };
        if let (Some(folder), Some(_)) = (&wish.folder, &wish.file.text) {
            let folder = parent_folder::observe(view, folder)?;
            found.file = found.file.without_folder();
            found.needs = vec![view.need_unit(&wish.unit)?, folder.need.clone()];
            found.folder = Some(folder);
        }
        Ok(found)
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        if let Some(Overriding { file, option }) = &found.overriding {
            return outdone(wish, file, option.as_deref());
        }
        let planned = rendered_file::plan(&wish.file, &found.file).given(found.needs.iter().cloned());
        if !planned.is_in_sync() || !found.stale {
            return planned;
        }
        let loaded = PropertyChange::new("loaded", "an older text", "the file as it is");
        let mut change = Change::new(Verb::Update).property(loaded);
        if found.may_be_read {
            change.depend("a reload of systemd", &[]);
        }
        Planned::change(change)
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let mut effects: Vec<_> = found.folder.iter().filter_map(NewFolder::effect).collect();
        effects.extend(rendered_file::effects(&wish.file, &found.file));
        // A reload for this resource also covers later resources of the same unit.
        effects.extend(found.stale.then(|| Effect::Unit(wish.unit.clone(), PlannedUnit::default())));
        effects
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        if rendered_file::plan(&wish.file, &found.file).is_in_sync() {
            return actor.change_unit_files(|_| Ok(()));
        }
        if wish.verify && wish.file.text.is_some() {
            check::check(actor, &wish.unit, &wish.file.path, &sections::text(&wish.sections, true))?;
        }
        actor.change_unit_files(|actor| {
            found.folder.iter().try_for_each(|folder| folder.make(actor))?;
            rendered_file::apply(actor, &wish.file, &found.file)
        })
    }

    fn units(wish: &Wish) -> Vec<String> {
        vec![wish.unit.clone()]
    }
}

/// The error of a plan whose file another file overrides, as a whole or in one option.
fn outdone(wish: &Wish, file: &Path, option: Option<&str>) -> Planned {
    let of_it = option.map(|option| format!("{option} in ")).unwrap_or_default();
    let drop_in = file.file_stem().unwrap_or_default().to_string_lossy();
    let help = match option {
        Some(_) => {
            format!("remove it, or declare it: `systemd-unit \"{}\" drop-in=\"{drop_in}\"`", wish.unit)
        }
        None => "remove that file: systemd reads it instead".to_owned(),
    };
    Planned::Impossible {
        message: format!("{} overrides {of_it}{}", file.display(), wish.file.path.display()),
        help: Some(help),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{Trial, change, finished, impossible, params, values};
    use converge_model::value::Row;
    use converge_model::{Cell, Certainty, Params, Scalar, Value};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// One section with its options.
    fn section(name: &str, options: &[(&str, &[Scalar])]) -> Row {
        let options = options.iter().map(|(key, values)| ((*key).to_owned(), values.to_vec())).collect();
        Row(vec![("name".into(), Cell::Scalar(name.into())), ("options".into(), Cell::Map(options))])
    }

    fn unit(name: &str, rows: Vec<Row>, more: &[(&str, Value)]) -> Params {
        let mut params = params([("name", name.into()), ("section", Value::Rows(rows))]);
        more.iter().for_each(|(name, value)| params.set(name, value.clone()));
        params
    }

    fn trial() -> Trial {
        let trial = Trial::new();
        std::fs::create_dir_all(trial.at(FOLDER)).unwrap();
        trial
    }

    #[test]
    fn a_unit_is_written_in_order_and_systemd_reads_it_and_again_when_it_is_restored() {
        let trial = trial();
        let rows = vec![
            section("Unit", &[("Description", &["An app".into()])]),
            section(
                "Service",
                &[("ExecStart", &["".into(), "/bin/app".into()]), ("RemainAfterExit", &[true.into()])],
            ),
        ];
        trial.laws("systemd-unit", &unit("app", rows, &[]));
        let text = String::from_utf8(trial.read("/etc/systemd/system/app.service")).unwrap();
        assert!(
            text.ends_with("[Unit]\nDescription=An app\n\n[Service]\nExecStart=\nExecStart=/bin/app\nRemainAfterExit=true\n"),
            "{text}"
        );
        assert_eq!(trial.world().log().iter().filter(|line| *line == "daemon-reload").count(), 3);
        let absent = params([("name", "app".into()), ("state", "absent".into())]);
        trial.laws("systemd-unit", &absent);
    }

    #[test]
    fn what_outdoes_the_file_is_named_unless_it_is_declared() {
        let mut trial = trial();
        trial.world().unit("app.service");
        let rows =
            || vec![section("Service", &[("ExecStart", &["/bin/app".into()]), ("User", &["app".into()])])];
        let wish = unit("app", rows(), &[]);
        let drop_in = unit("app", rows(), &[("drop-in", "50-own".into())]);
        trial.apply("systemd-unit", &wish).unwrap();
        trial.apply("systemd-unit", &drop_in).unwrap();
        trial.write("/usr/lib/systemd/system/app.service.d/40-limits.conf", "[Service]\nLimitNOFILE=5\n");
        trial.others = trial.claims("systemd-unit", &drop_in);
        trial.assert_in_sync("systemd-unit", &wish);
        let file = "/usr/lib/systemd/system/app.service.d/40-user.conf";
        trial.write(file, "[Service]\nUser=root\n");
        let why = |wish: &Params| impossible(trial.plan("systemd-unit", wish));
        let expected = format!("{file} overrides User of [Service] in /etc/systemd/system/app.service");
        assert_eq!(why(&wish), expected);
        trial.assert_in_sync("systemd-unit", &drop_in);
        let gone = vec![Effect::Path(file.into(), None)];
        assert!(trial.plan_after(gone, "systemd-unit", &wish).is_in_sync());
        trial.write("/etc/systemd/system/app.service.d/40-user.conf", "");
        trial.assert_in_sync("systemd-unit", &wish);
        trial.write(
            "/run/systemd/system/app.service.d/60-user.conf",
            "[Service]\nExecStart=\nExecStart=/bin/other\n",
        );
        assert!(why(&drop_in).contains("60-user.conf overrides ExecStart of [Service]"), "{}", why(&drop_in));
        trial.write("/etc/systemd/system.control/app.service", "[Service]\n");
        assert!(
            why(&wish).starts_with("/etc/systemd/system.control/app.service overrides /etc"),
            "{}",
            why(&wish)
        );
    }

    #[test]
    fn a_file_that_systemd_has_not_read_is_read() {
        let trial = trial();
        trial.world().unit("app.service");
        let wish = unit("app", vec![section("Service", &[("ExecStart", &["/bin/app".into()])])], &[]);
        trial.apply("systemd-unit", &wish).unwrap();
        trial.assert_in_sync("systemd-unit", &wish);
        trial.world().touch_unit("app.service");
        let planned = change(trial.plan("systemd-unit", &wish));
        assert_eq!(
            (planned.properties[0].property.as_str(), planned.certainty),
            ("loaded", Certainty::Exact)
        );
        let effects = trial.look("systemd-unit", &wish).effects;
        assert!(
            trial.plan_after(effects, "systemd-unit", &wish).is_in_sync(),
            "one step reads all of the unit"
        );
        let other = vec![Effect::Path("/etc/systemd/system/other.service".into(), None)];
        let planned = change(trial.plan_after(other, "systemd-unit", &wish));
        assert!(matches!(planned.certainty, Certainty::Conditional { .. }), "{planned:?}");
        trial.apply("systemd-unit", &wish).unwrap();
        trial.assert_in_sync("systemd-unit", &wish);
    }

    #[test]
    fn a_unit_file_that_another_kind_writes_is_read_too_and_again_when_it_is_restored() {
        let trial = trial();
        let file = params([
            ("path", "/etc/systemd/system/app.service".into()),
            ("content", trial.content("[Service]\nExecStart=/bin/true\n")),
        ]);
        let undo = trial.apply("file", &file).unwrap();
        assert_eq!(trial.world().log(), ["daemon-reload"]);
        trial.restore(undo);
        assert_eq!(trial.world().log(), ["daemon-reload", "daemon-reload"]);
        assert!(!trial.at("/etc/systemd/system/app.service").exists());
    }

    #[test]
    fn a_drop_in_needs_its_unit_and_makes_its_folder() {
        let trial = trial();
        let rows = || vec![section("Service", &[("MemoryMax", &["1G".into()])])];
        let drop_in = unit("app", rows(), &[("drop-in", "10-limits".into())]);
        assert_eq!(impossible(trial.plan("systemd-unit", &drop_in)), "the unit app.service does not exist");
        trial.write("/usr/lib/systemd/system/app.service", "[Service]\nExecStart=/bin/app\n");
        trial.laws("systemd-unit", &drop_in);
        assert!(trial.at("/etc/systemd/system/app.service.d/10-limits.conf").is_file());
        let other = unit("app", rows(), &[("drop-in", "20-more.conf".into())]);
        trial.laws("systemd-unit", &other);
        for a in trial.claims("systemd-unit", &drop_in) {
            for b in trial.claims("systemd-unit", &other) {
                assert!(!a.conflicts(&b), "two drop-ins share a folder");
            }
        }
    }

    #[test]
    fn what_systemd_complains_of_is_refused_before_the_file_is_touched() {
        let trial = trial();
        trial.write("/usr/bin/systemd-analyze", "");
        let wish = unit("app", vec![section("Service", &[("ExecStrat", &["/bin/app".into()])])], &[]);
        trial.answer(|command| {
            let file = command.words.last().unwrap();
            finished(0, &format!("{file}:4: Unknown key name 'ExecStrat' in section 'Service', ignoring.\n"))
        });
        let before = trial.image();
        let error = trial.apply("systemd-unit", &wish).err().unwrap();
        assert!(error.message.contains("Unknown key name 'ExecStrat'"), "{error}");
        assert_eq!(trial.image(), before);
        trial.answer(|_| {
            finished(1, "app.service: Command /bin/app is not executable: No such file or directory\n")
        });
        trial.apply("systemd-unit", &wish).unwrap();
    }

    #[test]
    fn a_secret_is_shown_to_no_user_and_to_no_check() {
        let trial = trial();
        trial.write("/usr/bin/systemd-analyze", "");
        trial.answer(|command| {
            let seen = std::fs::read_to_string(command.words.last().unwrap()).unwrap_or_default();
            // systemd tells an assignment from other text.
            let fine = seen.contains("Environment=SECRET=") && !seen.contains("hunter2");
            finished(i32::from(!fine), if fine { "" } else { "app.service: Refusing" })
        });
        let password = trial.secret("KEY=hunter2");
        let wish = unit("app", vec![section("Service", &[("Environment", &[password])])], &[]);
        let planned = change(trial.plan("systemd-unit", &wish));
        assert!(!values(&planned).contains("bytes"), "a size tells of it: {planned:?}");
        trial.apply("systemd-unit", &wish).unwrap();
        let place = std::fs::metadata(trial.at("/etc/systemd/system/app.service")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&place.permissions()) & 0o777, 0o600);
    }

    #[test]
    fn mistakes_are_found_without_a_host() {
        let trial = trial();
        let check = |params: &Params, expected: &str| {
            let problems = trial.problems("systemd-unit", params);
            assert!(problems.iter().any(|p| p.message.contains(expected)), "{problems:?}");
        };
        let row = |section_name: &str, key: &str, value: &str| {
            vec![section(section_name, &[(key, &[value.into()])])]
        };
        check(&unit("app.timer", row("Service", "ExecStart", "x"), &[]), "a timer cannot have the section");
        check(&unit("app", row("Service", "Exec Start", "x"), &[]), "name of an option");
        check(&unit("app", row("Service", "ExecStart", "a\nb"), &[]), "must be one line");
        check(&unit("app", row("Service", "ExecStart", "a \\"), &[]), "backslash");
        check(&unit("app", Vec::new(), &[]), "is missing");
        check(
            &unit("app.timer", row("Timer", "OnBootSec", "1"), &[("hardening", "strict".into())]),
            "other units than services",
        );
        check(
            &unit("app", row("Service", "A", "x"), &[("state", "absent".into())]),
            "must not be set for an absent unit",
        );
    }

    #[test]
    fn a_drop_in_is_checked_with_the_unit_that_it_is_for() {
        let trial = trial();
        trial.write("/usr/bin/systemd-analyze", "");
        trial.write("/usr/lib/systemd/system/app.service", "[Service]\nExecStart=/bin/vendor\n");
        let rows = || vec![section("Service", &[("MemoryMax", &["1G".into()])])];
        let drop_in = unit("app", rows(), &[("drop-in", "10-limits".into())]);
        let look = |original: &'static str| {
            let asked = Arc::new(AtomicBool::new(false));
            let is_asked = Arc::clone(&asked);
            trial.answer(move |command| {
                is_asked.store(true, Ordering::Relaxed);
                let file = PathBuf::from(command.words.last().unwrap());
                let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
                let below = PathBuf::from(format!("{}.d/10-limits.conf", file.display()));
                let fine = read(file.clone()) == original && read(below).contains("MemoryMax=1G");
                let said = format!("{}:1: not what will be there\n", file.display());
                finished(0, if fine { "" } else { &said })
            });
            let undo = trial.apply("systemd-unit", &drop_in).unwrap_or_else(|error| panic!("{error}"));
            assert!(asked.load(Ordering::Relaxed), "nothing was checked");
            undo
        };
        trial.restore(look("[Service]\nExecStart=/bin/vendor\n"));
        trial.write("/etc/systemd/system/app.service", "[Service]\nExecStart=/bin/own\n");
        look("[Service]\nExecStart=/bin/own\n");
    }

    #[test]
    fn a_text_is_checked_only_where_it_is_new_wanted_and_possible() {
        let refused = || finished(0, "app.service: Refusing\n");
        let rows = || vec![section("Service", &[("ExecStart", &["/bin/app".into()])])];
        let check = |more: &[(&str, Value)], tools: &[&str], passes: bool| {
            let trial = trial();
            tools.iter().for_each(|tool| trial.write(tool, ""));
            trial.answer(move |_| refused());
            if tools.is_empty() {
                std::fs::remove_dir(trial.at("/run")).unwrap();
                trial.write("/usr/bin/systemd-analyze", "");
            }
            assert_eq!(
                trial.apply("systemd-unit", &unit("app", rows(), more)).is_ok(),
                passes,
                "{more:?} {tools:?}"
            );
        };
        let analyze = ["/usr/bin/systemd-analyze"];
        check(&[], &analyze, false);
        check(&[("verify", false.into())], &analyze, true);
        check(&[], &["/usr/bin/other"], true);
        check(&[], &[], true);
        let trial = trial();
        trial.write(analyze[0], "");
        trial.write("/etc/systemd/system/app.service", "[Service]\n");
        trial.answer(move |_| refused());
        trial.apply("systemd-unit", &params([("name", "app".into()), ("state", "absent".into())])).unwrap();
    }

    #[test]
    fn a_unit_is_asked_for_by_its_name_and_a_drop_in_is_told_from_its_unit() {
        let trial = trial();
        let rows = || vec![section("Service", &[("MemoryMax", &["1G".into()])])];
        let whole = unit("app", rows(), &[]);
        let drop_in = unit("app", rows(), &[("drop-in", "10-limits".into())]);
        for wish in [&whole, &drop_in] {
            assert_eq!(trial.units("systemd-unit", wish), ["app.service"]);
        }
        assert_eq!(trial.checked("systemd-unit", &whole).suffix, None);
        assert_eq!(trial.checked("systemd-unit", &drop_in).suffix.as_deref(), Some("10-limits"));
    }
}
