//! `sysctl`: a setting of the kernel, in its own file of `/etc/sysctl.d` and in the running kernel.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, PropertyChange, Type, Verb};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kinds::mount::table::Mounts;
use crate::kit::kernel_value::{self, Setting, canonical};
use crate::kit::parent_folder::{self, NewFolder};
use crate::kit::rendered_file::{self, Rendered};
use crate::overlay::Effect;
use crate::view::{LookError, Need, Seen, View};
use crate::wish::Reader;

/// The kind.
pub struct Sysctl;

/// The desired setting.
pub struct Wish {
    name: String,
    /// The value. None if Converge should not set it any more.
    value: Option<String>,
    /// The file of the setting below `/proc/sys`.
    live: PathBuf,
    ignore_missing: bool,
    file: Rendered,
}

/// The state of the host.
pub struct Found {
    file: rendered_file::Found,
    folder: Option<NewFolder>,
    /// The value in the running kernel.
    live: Setting,
    read_only: bool,
    /// The need that the kernel has the setting.
    there: Need,
    /// A file that sets another value at boot after Converge's own file, with that value.
    overridden: Option<(PathBuf, String)>,
}

/// The folders that systemd-sysctl(8) reads. A file hides files of the same name in later folders.
const FOLDERS: [&str; 5] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];

/// The file that sysctl(8) reads last. systemd reads it only through a link in one of the folders.
const LAST: &str = "/etc/sysctl.conf";

const FOLDER: &str = "/etc/sysctl.d";

impl Kind for Sysctl {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        KindSchema::new("sysctl", "A setting of the kernel")
            .details(
                "The kind sets the value in the running kernel at once. It also writes a file in /etc/sysctl.d \
                 that is read after all others, so the value stays after a boot. If a later file sets another \
                 value, that is an error of the plan, which names the file. In a container, many settings \
                 belong to the machine outside. To set one of those is an error of the plan.\n\n\
                 `state=\"absent\"` removes the file; the running kernel keeps the value until the next boot.",
            )
            .param(Param::new("name", Type::Text, "Setting, with dots or slashes: `net.core.somaxconn`, `net/ipv4/conf/eth0.100/rp_filter`").argument(0).required())
            .param(Param::new("value", Type::Any, "Value, with several numbers separated by blanks"))
            .param(
                Param::new("state", Type::Text, "Wanted state; `absent` removes the setting from the files of Converge")
                    .one_of(&["present", "absent"])
                    .default("present"),
            )
            .param(Param::new("ignore-missing", Type::Bool, "Accept a setting that the kernel lacks; write it to the file only, for a module that is loaded later").default(false))
            .example("A longer queue of connections", "sysctl \"net.core.somaxconn\" value=1024")
            .example("A range of ports", "sysctl \"net.ipv4.ip_local_port_range\" value=\"20000 60999\"")
            .whole_system()
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let given = params.required_text("name");
        let parts = parts(&given);
        if parts.is_none() {
            params.problem(ParamProblem::new("name", format!("{given:?} cannot be a setting of the kernel")));
        }
        let parts = parts.unwrap_or_default();
        let absent = params.choice("state", &[("present", false), ("absent", true)]);
        let value = params.text("value").map(|value| canonical(&value));
        match &value {
            None if !absent => params.problem(ParamProblem::new("value", "is missing")),
            Some(_) if absent => {
                params.problem(ParamProblem::new("value", "must not be set with `state=\"absent\"`"));
            }
            Some(value) if value.is_empty() => params.problem(ParamProblem::new("value", "is empty")),
            _ => {}
        }
        let name = joined(&parts);
        let file = Rendered {
            path: Path::new(FOLDER).join(format!("zz-converge-{}.conf", parts.join("."))),
            text: value.as_ref().map(|value| format!("{name} = {value}\n").into_bytes()),
            attributes: Attributes { mode: Some(0o644), ..Attributes::default() },
            validate: Vec::new(),
            secret: false,
        };
        let live = Path::new("/proc/sys").join(parts.join("/"));
        let ignore_missing = params.flag("ignore-missing").unwrap_or(false);
        Wish { name, value, live, ignore_missing, file }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        let file = wish.file.path.to_string_lossy().into_owned();
        let Some(name) = wish.file.path.file_name().filter(|_| wish.value.is_some()) else {
            return vec![Claim::path(file, Extent::Absence), Claim::named("sysctl", wish.name.clone())];
        };
        let part = Extent::Part(name.to_string_lossy().into_owned());
        vec![
            Claim::path(file, Extent::Whole),
            Claim::path(FOLDER, part),
            Claim::path(wish.live.to_string_lossy(), Extent::Part("value".to_owned())),
            Claim::named("sysctl", wish.name.clone()),
        ]
    }

    fn text(wish: &Wish) -> Option<Vec<u8>> {
        wish.file.text.clone()
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let mut file = rendered_file::observe(view, &wish.file)?;
        let folder = match wish.value {
            Some(_) => Some(parent_folder::observe(view, Path::new(FOLDER))?),
            None => None,
        };
        if folder.is_some() {
            file = file.without_folder();
        }
        let live = kernel_value::observe(view, &wish.live)?;
        let mounts = Mounts::read(view)?;
        let read_only = mounts.holding(&wish.live).is_some_and(|mounted| mounted.has("ro"));
        let there = if live.value.is_some() { Need::Met } else { missing(view, wish) };
        let overridden = if wish.value.is_some() { overriding(view, wish)? } else { None };
        Ok(Found { file, folder, live, read_only, there, overridden })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        let folder = found.folder.iter().map(|folder| folder.need.clone());
        let planned = rendered_file::plan(&wish.file, &found.file).given(folder);
        let Some(value) = &wish.value else { return planned };
        if let Some((file, other)) = &found.overridden {
            return Planned::Impossible {
                message: format!(
                    "{} sets {} to {other} at boot, after Converge's own file",
                    file.display(),
                    wish.name
                ),
                help: Some("remove the line from it, or remove the file".to_owned()),
            };
        }
        if found.live.differs(value) && found.read_only {
            return Planned::Impossible {
                message: format!("{} cannot be set here: {} is read-only", wish.name, wish.live.display()),
                help: Some("in a container, set it on the machine outside".to_owned()),
            };
        }
        let change =
            |verb, before: Option<String>| (verb, PropertyChange::new("value", before, value.clone()));
        let (verb, property) = match &found.live.value {
            Some(live) if live != value => change(Verb::Update, Some(live.clone())),
            None if !wish.ignore_missing => change(Verb::Create, None),
            _ if planned.is_in_sync() => {
                return Planned::InSync(format!("it is {value}, now and at boot"));
            }
            _ => return planned,
        };
        planned.also(verb, property).given([found.there.clone()])
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let mut effects: Vec<_> = found.folder.iter().filter_map(NewFolder::effect).collect();
        effects.extend(rendered_file::effects(&wish.file, &found.file));
        effects.extend(wish.value.as_ref().and_then(|value| found.live.effect(value)));
        effects
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        found.folder.iter().try_for_each(|folder| folder.make(actor))?;
        if let Some(value) = &wish.value {
            found.live.set(actor, value)?;
        }
        if rendered_file::plan(&wish.file, &found.file).is_in_sync() {
            return Ok(());
        }
        rendered_file::apply(actor, &wish.file, &found.file)
    }
}

/// The last file that sets the setting after Converge's own, if it sets another value.
fn overriding(view: &View<'_>, wish: &Wish) -> Result<Option<(PathBuf, String)>, LookError> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for folder in FOLDERS.map(Path::new) {
        let Seen::Known(names) = view.list(folder)? else { continue };
        for name in names.into_iter().filter(|name| name.as_encoded_bytes().ends_with(b".conf")) {
            files.entry(name.clone()).or_insert_with(|| folder.join(name));
        }
    }
    let own = wish.file.path.file_name().unwrap_or_default();
    let later = files.into_iter().filter(|(name, _)| name.as_os_str() > own).map(|(_, file)| file);
    let systemd = matches!(view.place(Path::new("/run/systemd/system"))?, Seen::Known(_));
    let last = (!systemd).then(|| PathBuf::from(LAST));
    let mut found = None;
    for file in later.chain(last) {
        let Seen::Known((end, _)) = view.followed(&file)? else { continue };
        let Seen::Known(text) = view.text(&end)? else { continue };
        if let Some(value) = value_in(&text, &wish.live) {
            found = Some((file, value));
        }
    }
    Ok(found.filter(|(_, value)| wish.value.as_ref() != Some(value)))
}

/// The kernel setting of a line in the format of sysctl.d(5).
pub fn setting_of(line: &str) -> Option<String> {
    let (name, _) = line.trim().split_once('=').filter(|(name, _)| !name.starts_with(['#', ';']))?;
    parts(name.trim().trim_start_matches('-').trim()).map(|parts| joined(&parts))
}

/// Joins the parts with dots, or with slashes if a part contains a dot: sysctl.d(5).
fn joined(parts: &[String]) -> String {
    let dotted = parts.iter().any(|part| part.contains('.'));
    parts.join(if dotted { "/" } else { "." })
}

/// Whether systemd-sysctl(8) or sysctl(8) reads the file at `path`.
pub fn reads(path: &Path) -> bool {
    path == Path::new(LAST) || FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// The value of the setting at `live` in a text of sysctl.d(5). Only exact names count, because a name takes
/// precedence over patterns.
fn value_in(text: &[u8], live: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let settings = lines.filter_map(|line| line.split_once('='));
    let mut of_it = settings.filter(|(name, _)| {
        let name = name.trim().trim_start_matches('-').trim();
        parts(name).is_some_and(|parts| Path::new("/proc/sys").join(parts.join("/")) == live)
    });
    of_it.next_back().map(|(_, value)| canonical(value))
}

/// The need for a setting that the kernel does not have. A kernel module may bring it.
fn missing(view: &View<'_>, wish: &Wish) -> Need {
    Need::of(view.absent::<()>(), format!("the setting {} of the kernel", wish.name), || {
        "correct the name, load its kernel module, or write `ignore-missing=#true`".to_owned()
    })
}

/// The parts of a setting's name. The first separator decides: after a slash, dots belong to the parts.
fn parts(name: &str) -> Option<Vec<String>> {
    let separator = name.chars().find(|c| matches!(c, '.' | '/'))?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:@/".contains(&byte);
    let parts: Vec<String> = name
        .split(separator)
        // sysctl.d(5): if dots separate the parts, a slash means a dot.
        .map(|part| if separator == '.' { part.replace('/', ".") } else { part.to_owned() })
        .collect();
    let fine = |part: &String| !part.is_empty() && !part.contains("..") && *part != ".";
    (parts.iter().all(fine) && name.bytes().all(allowed)).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{Trial, change, impossible, params};
    use converge_model::{Certainty, Params, Value};

    const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

    fn somaxconn(value: Value) -> Params {
        params([("name", "net.core.somaxconn".into()), ("value", value)])
    }

    #[test]
    fn the_running_kernel_and_the_file_get_the_value_and_lose_it_again() {
        let trial = Trial::new();
        trial.write(SOMAXCONN, "4096\n");
        let changed = trial.laws("sysctl", &somaxconn(1024.into()));
        let names: Vec<_> = changed.properties.iter().map(|p| p.property.as_str()).collect();
        assert_eq!(names, ["content", "mode", "value"]);
        assert_eq!(trial.read(SOMAXCONN), b"1024\n");
        let file = trial.read("/etc/sysctl.d/zz-converge-net.core.somaxconn.conf");
        assert_eq!(file, b"net.core.somaxconn = 1024\n");
        trial.write(SOMAXCONN, "128\n");
        trial.laws("sysctl", &somaxconn("1024".into()));
        let absent = params([("name", "net/core/somaxconn".into()), ("state", "absent".into())]);
        trial.laws("sysctl", &absent);
    }

    #[test]
    fn tabs_of_the_kernel_are_blanks() {
        let trial = Trial::new();
        trial.write("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n");
        let wish = params([("name", "net.ipv4.tcp_rmem".into()), ("value", "4096 131072  6291456".into())]);
        trial.laws("sysctl", &wish);
    }

    #[test]
    fn what_the_kernel_lacks_or_does_not_let_be_set_is_a_plan_error() {
        let trial = Trial::new();
        let wish = somaxconn(1024.into());
        assert!(impossible(trial.plan("sysctl", &wish)).contains("does not exist"));
        let later = change(trial.plan_after(vec![Effect::Open], "sysctl", &wish));
        assert!(matches!(later.certainty, Certainty::Conditional { .. }), "a module may come");
        let mut patient = wish.clone();
        patient.set("ignore-missing", true.into());
        trial.laws("sysctl", &patient);
        trial.write(SOMAXCONN, "128\n");
        trial.write("/proc/1/mountinfo", "30 22 0:5 / /proc/sys ro,nosuid - proc proc rw\n");
        assert!(impossible(trial.plan("sysctl", &wish)).contains("read-only"));
    }

    #[test]
    fn a_file_that_is_read_later_and_says_otherwise_is_named() {
        let trial = Trial::new();
        trial.write(SOMAXCONN, "1024\n");
        std::fs::create_dir_all(trial.at("/run/systemd/system")).unwrap();
        let wish = somaxconn(1024.into());
        trial.write("/etc/sysctl.d/99-early.conf", "net.core.somaxconn = 1\n");
        trial.write("/etc/sysctl.d/zzz-same.conf", "net/core/somaxconn=1024\n");
        trial.write(
            "/etc/sysctl.d/zzz-other.conf",
            "# net.core.somaxconn = 5\nnet.core.somaxconn_max = 5\nnet.*.somaxconn = 5\n",
        );
        trial.write("/etc/sysctl.d/zzz.conf.off", "net.core.somaxconn = 5\n");
        trial.write("/etc/sysctl.conf", "net.core.somaxconn = 5\n");
        trial.apply("sysctl", &wish).unwrap();
        trial.assert_in_sync("sysctl", &wish);
        let check = |file: &str, text: &str| {
            trial.write(file, text);
            let why = impossible(trial.plan("sysctl", &wish));
            assert!(why.starts_with(&format!("{file} sets net.core.somaxconn to 2 at boot")), "{why}");
        };
        check(
            "/usr/lib/sysctl.d/zzz-vendor.conf",
            "net.core.somaxconn = 9\n-net.core/somaxconn = 3\nnet.core.somaxconn = 2\n",
        );
        let gone = vec![Effect::Path("/usr/lib/sysctl.d/zzz-vendor.conf".into(), None)];
        assert!(trial.plan_after(gone, "sysctl", &wish).is_in_sync());
        // A file of the same name in an earlier folder hides it.
        trial.write("/etc/sysctl.d/zzz-vendor.conf", "");
        trial.assert_in_sync("sysctl", &wish);
        check("/run/sysctl.d/zzzz.conf", "net.core.somaxconn=2");
        std::fs::remove_file(trial.at("/run/sysctl.d/zzzz.conf")).unwrap();
        // Without systemd, sysctl(8) reads all files, and its own file last.
        std::fs::remove_dir(trial.at("/run/systemd/system")).unwrap();
        check("/etc/sysctl.conf", "net.core.somaxconn = 2\n");
    }

    #[test]
    fn names_are_read_as_sysctl_reads_them() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(parts(name).map(|parts| parts.join("|")).as_deref(), expected, "{name}");
        };
        check("net.core.somaxconn", Some("net|core|somaxconn"));
        check("net/ipv4/conf/eth0.100/rp_filter", Some("net|ipv4|conf|eth0.100|rp_filter"));
        check("net.ipv4.conf.eth0/100.rp_filter", Some("net|ipv4|conf|eth0.100|rp_filter"));
        check("swappiness", None);
        check("vm..swappiness", None);
        check("vm/../../etc/shadow", None);
        check("vm.a b", None);
    }

    #[test]
    fn a_value_must_say_something() {
        let check = |value: Option<&str>, state: &str, expected: &[&str]| {
            let mut wish = params([("name", "net.core.somaxconn".into()), ("state", state.into())]);
            value.into_iter().for_each(|value| wish.set("value", value.into()));
            let problems = Trial::new().problems("sysctl", &wish);
            let said: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
            assert_eq!(said, expected, "{value:?} {state}");
        };
        check(Some("5"), "present", &[]);
        check(Some(" \t"), "present", &["is empty"]);
        check(None, "present", &["is missing"]);
        check(None, "absent", &[]);
        check(Some("5"), "absent", &["must not be set with `state=\"absent\"`"]);
    }
}
