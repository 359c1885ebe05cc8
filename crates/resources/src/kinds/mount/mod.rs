//! `mount`: a file system that is mounted, and its line in `/etc/fstab`.
//!
//! The line belongs to [`fstab`], what is mounted to [`table`].

mod fstab;
pub mod table;

use std::path::{Path, PathBuf};

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, PropertyChange, Shown, Type, Verb};

use crate::actor::{Actor, ApplyError};
use crate::kind::{Kind, Planned};
use crate::kinds::edited;
use crate::kinds::new_folder::{self, NewFolder};
use crate::kinds::programs;
use crate::overlay::Effect;
use crate::system::processes::Command;
use crate::view::{LookError, Need, Seen, View};
use crate::wish::{Reader, Text};
use fstab::Line;
use table::{Mounted, Mounts};

/// The kind.
pub struct Mount;

/// What should be mounted.
pub struct Wish {
    path: PathBuf,
    mounted: Option<bool>,
    line: Line,
}

/// What was found.
pub struct Found {
    file: edited::Found,
    folder: Option<NewFolder>,
    live: Live,
    mount: Need,
}

/// What is mounted at the place.
enum Live {
    Nothing,
    /// What is asked.
    Right,
    /// What is asked, but without these options, of which the kernel tells.
    Options(String),
    /// Something else: its source and type.
    Other(String),
}

impl Kind for Mount {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        KindSchema::new("mount", "A file system: its line in /etc/fstab, and whether it is mounted")
            .details(
                "`mounted` keeps the line and the mount, `present` the line alone, `unmounted` the line without the \
                 mount, `absent` neither. The rest of /etc/fstab keeps its bytes.\n\n\
                 The directory is made where it is missing. Other options are brought into force by a remount; another \
                 source or type is unmounted first, which fails while it is in use. What the kernel does not show \
                 as it was written, like most options of a file system, is compared in /etc/fstab alone.\n\n\
                 /etc/fstab can be read by every user: keep a password in a file and name that, `credentials=/root/share`.",
            )
            .param(Param::new("path", Type::Path, "Where it is mounted; `none` has no place here: swap is not a mount.").argument(0).required())
            .param(Param::new("source", Type::Text, "What is mounted: a device, `UUID=…`, `host:/share`, a directory for `bind`, `tmpfs`."))
            .param(Param::new("fstype", Type::Name, "The type of the file system; `none` with the option `bind`.").default("auto"))
            .param(Param::list("options", Type::Text, "The options; `defaults` if not given."))
            .param(
                Param::new("state", Type::Text, "What should be.")
                    .one_of(&["mounted", "present", "unmounted", "absent"])
                    .default("mounted"),
            )
            .param(Param::new("dump", Type::Int, "The fifth field of the line, for dump(8).").range(0, 1).default(0))
            .param(Param::new("pass", Type::Int, "The sixth field of the line: in which turn fsck(8) checks it, 0 for never.").range(0, 9).default(0))
            .example("A file system in memory", "mount \"/srv/cache\" source=\"tmpfs\" fstype=\"tmpfs\" {\n    options \"size=16m\" \"nosuid\" \"nodev\"\n}")
            .example("A line that should not be there", "mount \"/mnt/old\" state=\"absent\"")
            .whole_system()
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let path = params.path("path");
        let (mounted, there) = params.choice(
            "state",
            &[
                ("mounted", (Some(true), true)),
                ("present", (None, true)),
                ("unmounted", (Some(false), true)),
                ("absent", (Some(false), false)),
            ],
        );
        let source = params.text("source");
        if there && source.is_none() {
            params.problem(ParamProblem::new("source", "is missing"));
        }
        let options = params.maybe_secrets("options");
        let bad = |option: &Text| option.expose().iter().any(|byte| matches!(byte, 0 | b'\n' | b' ' | b'\t'));
        if options.iter().any(bad) {
            params.problem(ParamProblem::new("options", "an option holds a blank or a line end"));
        }
        let fstype = params.text("fstype").unwrap_or_else(|| "auto".to_owned());
        let number = |number: Option<i64>| u8::try_from(number.unwrap_or(0)).unwrap_or(0);
        let (dump, pass) = (number(params.number("dump")), number(params.number("pass")));
        let line = Line::new(&path, there.then(|| source.unwrap_or_default()), fstype, options, (dump, pass));
        Wish { path, mounted, line }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        let place = wish.path.to_string_lossy().into_owned();
        let mut claims = edited::claim(edited::Part::target(&wish.line), place.clone());
        claims.push(Claim::path(place.clone(), Extent::Part("mount".to_owned())));
        claims.push(Claim::named("mount", place));
        claims
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let mounts = Mounts::read(view)?;
        let live = match mounts.at(&wish.path) {
            None => Live::Nothing,
            Some(mounted) => compare(view, &wish.line, mounted)?,
        };
        let folder = match wish.mounted {
            Some(true) => Some(new_folder::observe(view, &wish.path)?),
            _ => None,
        };
        let program = if wish.mounted == Some(false) { "umount" } else { "mount" };
        Ok(Found {
            file: edited::observe(view, edited::Part::target(&wish.line))?,
            folder,
            live,
            mount: programs::need(view, program)?,
        })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        let planned = edited::plan(&wish.line, &found.file);
        let planned = match live_change(wish, found, planned.is_in_sync()) {
            None => planned,
            Some((verb, property)) => planned.also(verb, property).given([found.mount.clone()]),
        };
        match planned {
            Planned::InSync(_) => Planned::InSync(in_sync(wish).to_owned()),
            other => other.given(found.folder.iter().map(|folder| folder.need.clone())),
        }
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let mut effects: Vec<_> = found.folder.iter().filter_map(NewFolder::effect).collect();
        if !edited::plan(&wish.line, &found.file).is_in_sync() {
            effects.extend(edited::effects(&wish.line, &found.file));
        }
        effects
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        found.folder.iter().try_for_each(|folder| folder.make(actor))?;
        let same_line = edited::plan(&wish.line, &found.file).is_in_sync();
        if !same_line {
            // systemd makes units of the lines.
            actor.change_unit_files(|actor| edited::apply(actor, &wish.line, &found.file))?;
        }
        match (wish.mounted, &found.live) {
            (Some(true), Live::Nothing) => mount(actor, wish),
            (Some(true), Live::Other(_)) => {
                actor.run(&on(&["umount"], &wish.path))?;
                mount(actor, wish)
            }
            (Some(true), Live::Options(_)) => remount(actor, wish),
            (Some(true), Live::Right) if !same_line => remount(actor, wish),
            (Some(false), Live::Right | Live::Options(_) | Live::Other(_)) => {
                actor.run(&on(&["umount"], &wish.path)).map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// What happens to the mount itself.
fn live_change(wish: &Wish, found: &Found, same_line: bool) -> Option<(Verb, PropertyChange)> {
    let shown = |live: &Live| match live {
        Live::Nothing => Shown::Absent,
        Live::Right => Shown::Text("mounted".to_owned()),
        Live::Options(missing) => Shown::Text(format!("mounted without {missing}")),
        Live::Other(other) => Shown::Text(other.clone()),
    };
    let change = |verb, after: Shown| Some((verb, PropertyChange::new("mount", shown(&found.live), after)));
    match (wish.mounted?, &found.live) {
        (true, Live::Nothing) => change(Verb::Create, "mounted".into()),
        (true, Live::Other(_)) => change(Verb::Replace, wish.line.shown_source().into()),
        (true, Live::Options(_)) => change(Verb::Update, "mounted".into()),
        (true, Live::Right) if !same_line => change(Verb::Update, "mounted, with the new options".into()),
        (false, Live::Right | Live::Options(_) | Live::Other(_)) => change(Verb::Remove, Shown::Absent),
        (true, Live::Right) | (false, Live::Nothing) => None,
    }
}

const fn in_sync(wish: &Wish) -> &'static str {
    match (wish.mounted, wish.line.is_absent()) {
        (Some(true), _) => "it is mounted, and its line is as asked",
        (_, true) => "it is not mounted, and has no line",
        (Some(false), false) => "it is not mounted, and its line is as asked",
        (None, false) => "its line is as asked",
    }
}

/// Holds what is mounted against the line, as far as the kernel shows it as it was written.
fn compare(view: &View<'_>, line: &Line, mounted: &Mounted) -> Result<Live, LookError> {
    if line.is_absent() {
        return Ok(Live::Right);
    }
    let same_type = matches!(line.fstype(), "auto" | "none" | "") || line.fstype() == mounted.fstype;
    if !same_type || !same_source(view, line, mounted)? {
        return Ok(Live::Other(format!("{} ({})", mounted.source, mounted.fstype)));
    }
    let missing: Vec<_> = line.flags().filter(|flag| !mounted.has(flag)).collect();
    Ok(if missing.is_empty() { Live::Right } else { Live::Options(missing.join(",")) })
}

fn same_source(view: &View<'_>, line: &Line, mounted: &Mounted) -> Result<bool, LookError> {
    let source = line.source();
    if line.is_bind() {
        // A directory of the root file system is shown as itself; one of another by its path in there.
        return Ok(mounted.root != Path::new("/")
            && Path::new(source).ends_with(mounted.root.strip_prefix("/").unwrap_or(&mounted.root))
            || mounted.root == Path::new("/"));
    }
    let device = ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="].into_iter().find_map(|tag| {
        let name = source.strip_prefix(tag)?.trim_matches('"');
        let folder = tag.trim_end_matches('=').to_ascii_lowercase();
        Some(Path::new("/dev/disk").join(format!("by-{folder}")).join(name))
    });
    let path = match device {
        Some(path) => path,
        None if source.starts_with("/dev/") => PathBuf::from(source),
        // The source of what is no device is a word (`tmpfs`), or told as it was written (`host:/share`).
        None => return Ok(!source.contains(":/") || source == mounted.source),
    };
    let ends = |path: &Path| match view.followed(path)? {
        Seen::Known((end, _)) => Ok::<_, LookError>(Some(end)),
        _ => Ok(None),
    };
    let (wanted, found) = (ends(&path)?, ends(Path::new(&mounted.source))?);
    Ok(path == Path::new(&mounted.source) || wanted.is_none() || found.is_none() || wanted == found)
}

fn mount(actor: &mut Actor<'_>, wish: &Wish) -> Result<(), ApplyError> {
    actor.run(&on(&["mount"], &wish.path))?;
    actor.keep_command(on(&["umount"], &wish.path))
}

fn remount(actor: &mut Actor<'_>, wish: &Wish) -> Result<(), ApplyError> {
    actor.run(&on(&["mount", "-o", "remount"], &wish.path)).map(drop)
}

/// The command on the place. mount(8) takes all else from the line, so that no option stands in the process list.
fn on(words: &[&str], path: &Path) -> Command {
    let path = path.to_string_lossy().into_owned();
    Command::new(words.iter().map(|word| (*word).to_owned()).chain([path]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{Trial, change, finished, params};
    use converge_model::{Params, Value};

    /// A host whose `mount` and `umount` do what their lines say.
    fn trial(mountinfo: &str) -> Trial {
        let trial = Trial::new();
        for program in ["mount", "umount"] {
            trial.write(&format!("/usr/bin/{program}"), "");
        }
        trial.write("/etc/fstab", "# kept\n/dev/vda / ext4 defaults 0 1\n");
        trial.write("/proc/1/mountinfo", mountinfo);
        let table = trial.at("/proc/1/mountinfo");
        trial.answer(move |command| {
            let path = command.words.last().unwrap();
            let now = std::fs::read_to_string(&table).unwrap();
            let mut lines: Vec<_> = now.lines().filter(|line| !line.contains(&format!(" {path} "))).collect();
            let mounted = format!("40 1 0:9 / {path} rw,nosuid,nodev - tmpfs tmpfs rw");
            if command.words[0] == "mount" {
                lines.push(&mounted);
            }
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            std::fs::write(&table, text).unwrap();
            finished(0, "")
        });
        trial
    }

    fn cache(more: &[(&str, Value)]) -> Params {
        let options = Value::List(vec!["size=16m".into(), "nosuid".into()]);
        let mut params = params([
            ("path", "/srv/cache".into()),
            ("source", "tmpfs".into()),
            ("fstype", "tmpfs".into()),
            ("options", options),
        ]);
        more.iter().for_each(|(name, value)| params.set(name, value.clone()));
        params
    }

    #[test]
    fn a_mount_is_made_with_its_line_and_taken_back() {
        let trial = trial("1 0 254:0 / / rw - ext4 /dev/vda rw\n");
        std::fs::create_dir_all(trial.at("/srv")).unwrap();
        let before = trial.image();
        let undo = trial.apply("mount", &cache(&[])).unwrap();
        trial.assert_in_sync("mount", &cache(&[]));
        let fstab = String::from_utf8(trial.read("/etc/fstab")).unwrap();
        assert_eq!(
            fstab,
            "# kept\n/dev/vda / ext4 defaults 0 1\ntmpfs /srv/cache tmpfs size=16m,nosuid 0 0\n"
        );
        trial.put_back(undo);
        assert_eq!(trial.image(), before);
        trial.apply("mount", &cache(&[])).unwrap();
        let gone = params([("path", "/srv/cache".into()), ("state", "absent".into())]);
        trial.apply("mount", &gone).unwrap();
        trial.assert_in_sync("mount", &gone);
        assert_eq!(trial.read("/etc/fstab"), b"# kept\n/dev/vda / ext4 defaults 0 1\n");
    }

    #[test]
    fn each_state_has_its_plan() {
        let mounted = "1 0 254:0 / / rw - ext4 /dev/vda rw\n40 1 0:9 / /srv/cache rw - tmpfs tmpfs rw\n";
        let check = |mountinfo: &str, state: &str, verb: Verb, properties: &[&str]| {
            let trial = trial(mountinfo);
            std::fs::create_dir_all(trial.at("/srv/cache")).unwrap();
            let planned = change(trial.plan("mount", &cache(&[("state", state.into())])));
            let names: Vec<_> = planned.properties.iter().map(|p| p.property.as_str()).collect();
            assert_eq!((planned.verb, names.as_slice()), (verb, properties), "{state}");
        };
        check("", "mounted", Verb::Update, &["content", "mount"]);
        check("", "present", Verb::Update, &["content"]);
        check(mounted, "mounted", Verb::Update, &["content", "mount"]);
        check(mounted, "unmounted", Verb::Update, &["content", "mount"]);
        check(mounted, "absent", Verb::Remove, &["mount"]);
    }

    #[test]
    fn what_is_mounted_instead_or_without_its_options_is_seen() {
        let line = "tmpfs /srv/cache tmpfs size=16m,nosuid 0 0\n";
        let check = |mountinfo: &str, expected: Option<&str>| {
            let trial = trial(mountinfo);
            std::fs::create_dir_all(trial.at("/srv/cache")).unwrap();
            trial.write("/etc/fstab", line);
            match (trial.plan("mount", &cache(&[])), expected) {
                (Planned::InSync(_), None) => {}
                (planned, Some(expected)) => {
                    assert_eq!(change(planned).properties[0].before, Shown::from(expected));
                }
                (planned, None) => panic!("{planned:?}"),
            }
        };
        check("40 1 0:9 / /srv/cache rw,nosuid - tmpfs tmpfs rw,size=16384k\n", None);
        check("40 1 0:9 / /srv/cache rw - tmpfs tmpfs rw\n", Some("mounted without nosuid"));
        check("40 1 0:9 / /srv/cache rw,nosuid - ext4 /dev/vdb rw\n", Some("/dev/vdb (ext4)"));
    }

    #[test]
    fn a_secret_option_is_in_the_line_and_nowhere_else() {
        let trial = trial("");
        std::fs::create_dir_all(trial.at("/srv/cache")).unwrap();
        let secret = trial.secret("password=hunter2");
        let wish = cache(&[("options", Value::List(vec![secret])), ("state", "present".into())]);
        let planned = change(trial.plan("mount", &wish));
        assert!(!format!("{planned:?}").contains("hunter2"));
        trial.apply("mount", &wish).unwrap();
        trial.assert_in_sync("mount", &wish);
    }
}
