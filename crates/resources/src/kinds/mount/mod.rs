//! `mount`: a mounted file system, and its line in `/etc/fstab`.
//!
//! [`fstab`] has the line, [`table`] the kernel's table. [`live`] compares the two, with [`source`] for the source
//! and [`options`] for the options. [`point`] is the mount point. [`busy`] finds the processes that use a mount.

mod busy;
pub mod fstab;
mod live;
mod options;
mod point;
#[cfg(test)]
mod real;
mod source;
pub mod table;

use std::path::{Path, PathBuf};

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, PropertyChange, Shown, Type, Verb};

use crate::access::Login;
use crate::actor::{Actor, ApplyError};
use crate::claims;
use crate::kind::{Kind, Planned};
use crate::kit::edited_file;
use crate::kit::programs;
use crate::overlay::{Effect, PlannedMount};
use crate::system::services;
use crate::view::{LookError, Need, Seen, UNIT_FOLDERS, View};
use crate::wish::{Reader, Text};
use fstab::Line;
use live::{Judged, Layer, Live, on};
use point::Point;
use source::Source;

/// The kind.
pub struct Mount;

/// The desired mount.
pub struct Wish {
    path: PathBuf,
    mounted: Option<bool>,
    line: Line,
}

/// The state of the host.
pub struct Found {
    file: edited_file::Found,
    point: Option<Point>,
    live: Live,
    /// The needs for mounting: the source and the program.
    to_mount: Vec<Need>,
    mount: Need,
    umount: Need,
    /// The file that overrides the line at boot.
    overridden: Option<PathBuf>,
}

/// The work on the mounts at the place: first unmount some, then mount or remount one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deed {
    /// The number of mounts to unmount, from the top.
    unmount: usize,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    Mount,
    Remount,
    /// Stop systemd's automount.
    Forget,
}

impl Kind for Mount {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        KindSchema::new("mount", "A mounted file system and its line in /etc/fstab")
            .details(
                "`mounted` keeps the line and the mount, `present` only the line, `unmounted` the line without \
                 the mount, `absent` neither. All other lines of /etc/fstab keep their bytes. A second line \
                 for the same place is removed.\n\n\
                 The kernel tells what is mounted, so a mount by hand counts too. Converge compares the \
                 source, the type and the options of the mount: `ro`, `nosuid`, `nodev`, `noexec`, `noatime` \
                 and their opposites. It compares these options even if you do not write them, with the value \
                 of `defaults`: a disk that became read-only is a difference. Of the file system's own options \
                 it compares those that the kernel shows, such as `size`, `mode`, `uid` and `gid` of a tmpfs. \
                 It compares all other options only in /etc/fstab.\n\n\
                 A remount applies changed options; for a bind, it leaves the file system itself unchanged. A \
                 new source or type, or an option that no remount changes, needs an unmount first. Everything \
                 that is mounted over it is unmounted too. `unmounted` and `absent` unmount all mounts at the \
                 place. If a process uses the mount, the step fails, and the error names the process. After a \
                 failed step Converge mounts the old file systems again. A file system in memory loses its \
                 content, and the plan says so.\n\n\
                 A missing source is an error of the plan, unless an earlier step may create it. Converge \
                 creates a missing mount point: a directory, or a file for a bound file. With \
                 `x-systemd.automount`, a mount that systemd starts at its first use counts as mounted. A \
                 systemd unit for the place in /etc/systemd/system overrides the line, and is an error of the \
                 plan.\n\n\
                 Every user can read /etc/fstab. Keep a password in a file, and write the path of that file: \
                 `credentials=/root/share`.",
            )
            .param(Param::new("path", Type::Path, "Mount point; swap (`none`) is not a mount").argument(0).required())
            .param(Param::new("source", Type::Text, "Source: a device, `UUID=…`, `host:/share`, a directory or a file for `bind`, `tmpfs`"))
            .param(Param::new("fstype", Type::Name, "Type of the file system; `none` with the option `bind`").default("auto"))
            .param(Param::list("options", Type::Text, "Options; default: `defaults`"))
            .param(
                Param::new("state", Type::Text, "Wanted state")
                    .one_of(&["mounted", "present", "unmounted", "absent"])
                    .default("mounted"),
            )
            .param(Param::new("dump", Type::Int, "Fifth field of the line, for dump(8).").range(0, 1).default(0))
            .param(Param::new("pass", Type::Int, "Sixth field of the line, for fsck(8): the order of its check; 0 for never").range(0, 9).default(0))
            .example("A file system in memory", "mount \"/srv/cache\" source=\"tmpfs\" fstype=\"tmpfs\" {\n    options \"size=16m\" \"nosuid\" \"nodev\"\n}")
            .example("A line to remove", "mount \"/mnt/old\" state=\"absent\"")
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
        if params.text("fstype").as_deref() == Some("swap") {
            params.problem(ParamProblem::new(
                "fstype",
                "must be the type of a file system: swap is not mounted",
            ));
        }
        if options.iter().any(bad) {
            params.problem(ParamProblem::new("options", "an option must not contain a blank or a line end"));
        }
        let fstype = params.text("fstype").unwrap_or_else(|| "auto".to_owned());
        let number = |number: Option<i64>| u8::try_from(number.unwrap_or(0)).unwrap_or(0);
        let (dump, pass) = (number(params.number("dump")), number(params.number("pass")));
        let line = Line::new(&path, there.then(|| source.unwrap_or_default()), fstype, options, (dump, pass));
        Wish { path, mounted, line }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        claims_at(wish, &wish.path)
    }

    fn owns(view: &View<'_>, wish: &Wish) -> Result<Vec<Claim>, LookError> {
        Ok(claims_at(wish, &claims::end(view, &wish.path)?))
    }

    fn warnings(wish: &Wish) -> Vec<ParamProblem> {
        let message = "every user of the host can read the secret in /etc/fstab";
        let help =
            "write it into a `file` of mode 0600, and write the path of that file: `credentials=/root/share`";
        let is_secret = edited_file::Part::target(&wish.line).secret;
        is_secret.then(|| ParamProblem::new("options", message).help(help)).into_iter().collect()
    }

    fn text(wish: &Wish) -> Option<Vec<u8>> {
        edited_file::text(&wish.line)
    }

    /// Other paths may lead through this one.
    fn access(wish: &Wish, login: &Login) -> bool {
        login.passes_through(&Self::claims(wish))
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let live = live::observe(view, &wish.path, &wish.line)?;
        let source = Source::of(&wish.line);
        let (point, to_mount) = match wish.mounted {
            Some(true) => {
                let point = point::observe(view, &wish.path, source.is_bound_file(view)?)?;
                (Some(point), source.needs(view, &wish.line)?)
            }
            _ => (None, Vec::new()),
        };
        Ok(Found {
            file: edited_file::observe(view, edited_file::Part::target(&wish.line))?,
            point,
            to_mount,
            mount: programs::need(view, "mount")?,
            umount: programs::need(view, "umount")?,
            overridden: if wish.line.is_absent() { None } else { overriding(view, &live.at)? },
            live,
        })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        if let Some(unit) = &found.overridden {
            return Planned::Impossible {
                message: format!("{} overrides the line in /etc/fstab", unit.display()),
                help: Some("remove it, or remove this `mount`".to_owned()),
            };
        }
        let planned = edited_file::plan(&wish.line, &found.file);
        let deed = deed(wish, found, planned.is_in_sync());
        let (kept, taken) = found.live.stack.split_at(found.live.stack.len() - deed.unmount);
        if let Some(below) = taken.iter().find_map(|layer| layer.below.first()) {
            return Planned::Impossible {
                message: format!(
                    "{} cannot be unmounted: {} is mounted in it",
                    wish.path.display(),
                    below.display()
                ),
                help: Some(format!("unmount it first: `mount \"{}\" state=\"absent\"`", below.display())),
            };
        }
        let planned = match live_change(wish, found, deed, kept) {
            None => planned,
            Some((verb, property)) => planned.also(verb, property).given(needs(found, deed)),
        };
        let planned = match planned {
            Planned::InSync(_) => Planned::InSync(in_sync(wish).to_owned()),
            other => other.given(found.point.iter().map(|point| point.need.clone())),
        };
        lossy(planned, taken)
    }

    fn written(wish: &Wish, found: &Found) -> Vec<PathBuf> {
        let line = !edited_file::plan(&wish.line, &found.file).is_in_sync();
        let file = line.then(|| edited_file::Part::target(&wish.line).path.clone());
        let point = found.point.as_ref().filter(|point| point.is_new()).map(|_| found.live.at.clone());
        file.into_iter().chain(point).collect()
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let mut effects: Vec<_> = found.point.iter().filter_map(Point::effect).collect();
        let same_line = edited_file::plan(&wish.line, &found.file).is_in_sync();
        if !same_line {
            effects.extend(edited_file::effects(&wish.line, &found.file));
        }
        let deed = deed(wish, found, same_line);
        let planned = match wish.mounted {
            Some(true) if deed.then == Then::Nothing && deed.unmount == 0 => None,
            Some(true) if deed.then == Then::Remount && deed.unmount == 0 => Some(PlannedMount::Kept),
            Some(true) if deed.then == Then::Mount && live::is_in_memory(wish.line.fstype()) => {
                Some(PlannedMount::Empty)
            }
            Some(true) => Some(PlannedMount::Mounted),
            _ => (deed.unmount > 0).then_some(PlannedMount::Unmounted),
        };
        effects.extend(planned.map(|planned| Effect::Mount(found.live.at.clone(), planned)));
        effects
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        found.point.iter().try_for_each(|point| point.make(actor))?;
        let same_line = edited_file::plan(&wish.line, &found.file).is_in_sync();
        let Deed { unmount: taken, then } = deed(wish, found, same_line);
        let (_, taken) = found.live.stack.split_at(found.live.stack.len() - taken);
        taken.iter().rev().try_for_each(|layer| unmount(actor, wish, &found.live.at, layer))?;
        if then == Then::Forget {
            // Stop the automount before its line and unit disappear.
            let unit = unit_of(&found.live.at, "automount");
            actor.unit(services::Verb::Stop, &unit, Some(services::Verb::Start))?;
        }
        if !same_line {
            // systemd generates units from the lines.
            actor.change_unit_files(|actor| edited_file::apply(actor, &wish.line, &found.file))?;
        }
        match (then, &found.live.remount) {
            (Then::Mount, _) if wish.line.options().is_automount() => {
                let unit = unit_of(&found.live.at, "automount");
                actor.unit(services::Verb::Start, &unit, Some(services::Verb::Stop))
            }
            (Then::Mount, _) => {
                actor.run(&on(&["mount"], &wish.path))?;
                actor.keep_command(on(&["umount"], &found.live.at))
            }
            (Then::Remount, Some(remount)) => {
                actor.run(&on(&["mount", "-o", &remount.options], &wish.path))?;
                actor.keep_command(on(&["mount", "-o", &remount.back], &found.live.at))
            }
            _ => Ok(()),
        }
    }
}

/// The claims of a mount at `place`. They include its systemd unit, which would be a second owner.
fn claims_at(wish: &Wish, place: &Path) -> Vec<Claim> {
    let unit = Path::new(UNIT_FOLDERS[0]).join(unit_of(place, "mount"));
    let place = place.to_string_lossy().into_owned();
    let mut claims = edited_file::claim(edited_file::Part::target(&wish.line), place.clone());
    let part = || Extent::Part("mount".to_owned());
    claims.push(Claim::path(place.clone(), part()));
    if !wish.line.is_absent() {
        claims.push(Claim::path(unit.to_string_lossy(), part()));
    }
    claims.push(Claim::named("mount", place));
    claims
}

/// Decides the work on the mounts.
fn deed(wish: &Wish, found: &Found, same_line: bool) -> Deed {
    let (live, all) = (&found.live, found.live.stack.len());
    let deed = |unmount, then| Deed { unmount, then };
    match (wish.mounted, &live.judged) {
        (None, _) => deed(0, Then::Nothing),
        (Some(false), _) => deed(all, if live.waits { Then::Forget } else { Then::Nothing }),
        (Some(true), Judged::Nothing) if live.waits && wish.line.options().is_automount() => {
            deed(0, Then::Nothing)
        }
        (Some(true), Judged::Nothing) => deed(0, Then::Mount),
        (Some(true), Judged::Other) => deed(all, Then::Mount),
        (Some(true), Judged::Options(difference)) if difference.replaces => deed(all, Then::Mount),
        (Some(true), Judged::Options(_)) => deed(all.saturating_sub(1), Then::Remount),
        (Some(true), Judged::Right) if !same_line && all > 0 => deed(all - 1, Then::Remount),
        (Some(true), Judged::Right) => deed(all.saturating_sub(1), Then::Nothing),
    }
}

/// The needs of the work.
fn needs(found: &Found, deed: Deed) -> Vec<Need> {
    let mut needs = Vec::new();
    if deed.unmount > 0 {
        needs.push(found.umount.clone());
    }
    if matches!(deed.then, Then::Mount | Then::Remount) {
        needs.push(found.mount.clone());
    }
    if deed.then == Then::Mount {
        needs.extend(found.to_mount.iter().cloned());
    }
    needs
}

/// The change of the mount itself. `kept` are the mounts that stay.
fn live_change(wish: &Wish, found: &Found, deed: Deed, kept: &[Layer]) -> Option<(Verb, PropertyChange)> {
    let before = before(&found.live, kept.is_empty());
    let change = |verb, after: Shown| Some((verb, PropertyChange::new("mount", before.clone(), after)));
    match (deed.then, &found.live.judged, deed.unmount) {
        (Then::Nothing, _, 0) => None,
        (Then::Forget, ..) => change(Verb::Remove, Shown::Absent),
        (Then::Nothing, ..) if kept.is_empty() => change(Verb::Remove, Shown::Absent),
        (Then::Nothing, ..) => change(Verb::Update, "mounted".into()),
        (Then::Mount, _, 0) => change(Verb::Create, "mounted".into()),
        (Then::Mount, Judged::Options(difference), _) => {
            change(Verb::Replace, format!("mounted anew with {}", difference.wants.join(",")).into())
        }
        (Then::Mount, ..) => change(Verb::Replace, wish.line.shown_source().into()),
        (Then::Remount, Judged::Options(difference), _) => {
            change(Verb::Update, format!("mounted with {}", difference.wants.join(",")).into())
        }
        (Then::Remount, ..) => change(Verb::Update, "mounted, with the new options".into()),
    }
}

/// The present mounts as text. If the lowest is the asked one, it is described by its options, else by its source.
fn before(live: &Live, all_go: bool) -> Shown {
    let Some((lowest, above)) = live.stack.split_first() else {
        return if live.waits { "mounted when it is used".into() } else { Shown::Absent };
    };
    let lowest = match &live.judged {
        Judged::Right if !all_go => "mounted".to_owned(),
        Judged::Options(difference) => format!("mounted with {}", difference.has.join(",")),
        _ => lowest.shown.clone(),
    };
    let above = above.iter().map(|layer| format!(", under {}", layer.shown));
    Shown::Text(above.fold(lowest, |text, more| text + &more))
}

/// Adds to the plan why the unmounted file systems cannot be restored.
fn lossy(mut planned: Planned, taken: &[Layer]) -> Planned {
    if let (Planned::Change(planned), Some(why)) = (&mut planned, taken.iter().find_map(|layer| layer.lost)) {
        planned.change.irreversible.get_or_insert_with(|| why.to_owned());
    }
    planned
}

const fn in_sync(wish: &Wish) -> &'static str {
    match (wish.mounted, wish.line.is_absent()) {
        (Some(true), _) => "it is mounted, and its line is as asked",
        (_, true) => "it is not mounted, and has no line",
        (Some(false), false) => "it is not mounted, and its line is as asked",
        (None, false) => "its line is as asked",
    }
}

/// Unmounts the top mount and notes the command that mounts it again.
fn unmount(actor: &mut Actor<'_>, wish: &Wish, at: &Path, layer: &Layer) -> Result<(), ApplyError> {
    // A recursive bind also brought the mounts below it, so they go with it.
    let deep = wish.line.options().is_deep();
    let words: &[&str] = if deep { &["umount", "--recursive"] } else { &["umount"] };
    actor.run(&on(words, at)).map_err(|error| in_use(actor, at, error))?;
    layer.back.iter().try_for_each(|back| actor.keep_command(back.clone()))
}

/// The error of umount(8), with the processes that use the mount.
fn in_use(actor: &Actor<'_>, at: &Path, error: ApplyError) -> ApplyError {
    let users = busy::users(actor.files(), at);
    if users.is_empty() {
        return error;
    }
    let why = format!("it is in use by {}", users.join(", "));
    ApplyError::at("unmount", at, &why).output(error.output.as_bytes())
}

/// The systemd unit of the administrator that overrides the line, or a drop-in that sets the source, place, type or
/// options.
fn overriding(view: &View<'_>, at: &Path) -> Result<Option<PathBuf>, LookError> {
    let unit = unit_of(at, "mount");
    for folder in ["/etc/systemd/system", "/run/systemd/system"] {
        let file = Path::new(folder).join(&unit);
        if let Seen::Known(_) = view.place(&file)? {
            return Ok(Some(file));
        }
        let more = Path::new(folder).join(format!("{unit}.d"));
        let Seen::Known(names) = view.list(&more)? else { continue };
        for name in names {
            let file = more.join(name);
            let is_read = file.extension().is_some_and(|end| end == "conf");
            if is_read && matches!(view.text(&file)?, Seen::Known(text) if sets_the_mount(&text)) {
                return Ok(Some(file));
            }
        }
    }
    Ok(None)
}

/// Whether a drop-in sets a value of the line.
fn sets_the_mount(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut keys = text.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key.trim());
    keys.any(|key| matches!(key, "What" | "Where" | "Type" | "Options"))
}

/// The systemd unit of the place, named as by systemd-escape(1).
fn unit_of(at: &Path, kind: &str) -> String {
    use std::os::unix::ffi::OsStrExt;
    let plain = at.as_os_str().as_bytes();
    let plain = plain.strip_prefix(b"/").unwrap_or(plain);
    if plain.is_empty() {
        return format!("-.{kind}");
    }
    let mut name = String::new();
    for (place, byte) in plain.iter().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if place == 0 => name.push_str("\\x2e"),
            byte if byte.is_ascii_alphanumeric() || b":_.".contains(byte) => name.push(char::from(*byte)),
            byte => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    format!("{name}.{kind}")
}

#[cfg(test)]
mod tests;
