//! The faults that a file meets on a real host: no space, no permission, another entry in its place, changes by
//! others. Some tests need root and the right to mount; without it they print a message and skip.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use converge_model::{Certainty, Change, Content, Digest, Params, Scalar, Shown, Value, Verb};
use rustix::fs::{CWD, FileType, IFlags, Mode};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use crate::kind::Planned;
use crate::kinds::testing::{Trial, change, impossible, params};
use crate::overlay::Effect;
use crate::system::files::adorned;
use crate::view::{Body, Place, Seen};

/// A user that is neither root nor the agent.
const OTHER_USER: u32 = 65534;

fn file(trial: &Trial, path: &str, text: impl AsRef<[u8]>) -> Params {
    params([("path", path.into()), ("content", trial.content(text))])
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// Something mounted below a trial host until the test ends.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// A file system of 64 KiB at `/small`. None if the test may not mount.
fn small(trial: &Trial, flags: MountFlags) -> Option<Mounted> {
    let at = trial.at("/small");
    fs::create_dir_all(&at).unwrap();
    match mount("none", &at, "tmpfs", flags, Some(c"size=64k")) {
        Ok(()) => Some(Mounted(at)),
        Err(error) => {
            eprintln!("skipped: no right to mount: {error}");
            None
        }
    }
}

#[test]
fn a_full_disk_leaves_the_old_file_and_no_temporary() {
    let trial = Trial::new();
    let Some(_mounted) = small(&trial, MountFlags::empty()) else { return };
    trial.write("/small/x", "old");
    let before = trial.image();
    let error = trial.apply("file", &file(&trial, "/small/x", vec![b'x'; 200_000])).err().unwrap();
    assert!(error.message.contains("bytes are free there"), "{}", error.message);
    assert_eq!(trial.image(), before);
}

#[test]
fn a_read_only_file_system_is_found_in_the_plan() {
    let trial = Trial::new();
    let Some(_mounted) = small(&trial, MountFlags::RDONLY) else { return };
    let why = impossible(trial.plan("file", &file(&trial, "/small/x", "new")));
    assert_eq!(why, "/small/x cannot change: it is on a read-only file system");
}

#[test]
fn a_mounted_file_is_found_in_the_plan() {
    let trial = Trial::new();
    trial.write("/etc/x", "a");
    trial.write("/etc/y", "b");
    if let Err(error) = mount_bind(trial.at("/etc/y"), trial.at("/etc/x")) {
        return eprintln!("skipped: no right to mount: {error}");
    }
    let _mounted = Mounted(trial.at("/etc/x"));
    let why = impossible(trial.plan("file", &file(&trial, "/etc/x", "new")));
    assert_eq!(why, "/etc/x cannot change: it is a mount point");
}

#[test]
fn an_immutable_file_or_folder_is_found_in_the_plan() {
    let check = |target: &str, expected: &str| {
        let trial = Trial::new();
        trial.write("/srv/x", "old");
        let held = fs::File::open(trial.at(target)).unwrap();
        if let Err(error) = rustix::fs::ioctl_setflags(&held, IFlags::IMMUTABLE) {
            return eprintln!("skipped: this file system has no immutable files, or no right: {error}");
        }
        let planned = trial.plan("file", &file(&trial, "/srv/x", "new"));
        rustix::fs::ioctl_setflags(&held, IFlags::empty()).unwrap();
        assert!(impossible(planned).contains(expected));
    };
    check("/srv/x", "it is immutable");
    check("/srv", "its folder is immutable");
}

#[test]
fn what_else_is_in_the_way_is_never_replaced_silently() {
    let check = |make: fn(&Trial), expected: &str| {
        let trial = Trial::new();
        make(&trial);
        assert_eq!(impossible(trial.plan("file", &file(&trial, "/etc/x", "new"))), expected);
    };
    check(|trial| fs::create_dir(trial.at("/etc/x")).unwrap(), "a directory is in the way");
    check(|trial| symlink("/etc/passwd", trial.at("/etc/x")).unwrap(), "a link is in the way");
    let fifo = |trial: &Trial| {
        rustix::fs::mknodat(CWD, trial.at("/etc/x"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    };
    check(fifo, "a special file is in the way");
}

#[test]
fn a_link_makes_way_where_that_is_asked_and_what_it_led_to_stays() {
    let check = |wish: &dyn Fn(&Trial) -> Params, text: &[u8]| {
        let trial = Trial::new();
        trial.write("/etc/real", "kept\n");
        symlink("real", trial.at("/etc/x")).unwrap();
        let Planned::Impossible { help, .. } = trial.plan("file", &wish(&trial)) else { panic!("replaced") };
        assert_eq!(help.as_deref(), Some("write `replace=#true`, or name the file that it leads to"));
        let mut wish = wish(&trial);
        wish.set("replace", true.into());
        let effects = trial.look("file", &wish).effects;
        let seen = trial.view_after(effects, |view| view.digest("/etc/x".as_ref())).unwrap();
        assert_eq!(seen, Seen::Known(Digest::of(text)), "what later steps see");
        let change = trial.laws("file", &wish);
        assert_eq!(change.verb, Verb::Replace);
        assert_eq!(
            (&change.properties[0].before, &change.properties[0].after),
            (&"real".into(), &Shown::Absent)
        );
        assert_eq!(
            (trial.read("/etc/x").as_slice(), trial.read("/etc/real").as_slice()),
            (text, &b"kept\n"[..])
        );
    };
    check(&|trial| file(trial, "/etc/x", "new\n"), b"new\n");
    check(&|_| params([("path", "/etc/x".into())]), b"");
    let trial = Trial::new();
    fs::create_dir(trial.at("/etc/x")).unwrap();
    for wish in [file(&trial, "/etc/x", "new"), params([("path", "/etc/x".into()), ("replace", true.into())])]
    {
        let Planned::Impossible { help, .. } = trial.plan("file", &wish) else { panic!("a directory goes") };
        assert_eq!(help, None);
    }
}

#[test]
fn a_file_without_content_is_made_empty_and_what_it_holds_later_stays() {
    let trial = Trial::new();
    let wish = params([("path", "/etc/x".into()), ("mode", 0o600.into())]);
    assert_eq!(trial.laws("file", &wish).verb, Verb::Create);
    assert_eq!(trial.read("/etc/x"), b"");
    trial.write("/etc/x", "of another user");
    assert_eq!(trial.laws("file", &wish).verb, Verb::Update);
    assert_eq!(trial.read("/etc/x"), b"of another user");
}

#[test]
fn a_mode_that_changes_alone_neither_writes_nor_copies_the_content() {
    let trial = Trial::new();
    trial.write("/etc/x", "old");
    let inode = || fs::metadata(trial.at("/etc/x")).unwrap().ino();
    let before = inode();
    let wish = |text: &str| {
        let mut wish = file(&trial, "/etc/x", text);
        wish.set("mode", 0o600.into());
        wish.set("backup", true.into());
        wish
    };
    let names = |change: Change| change.properties.into_iter().map(|p| p.property).collect::<Vec<_>>();
    assert_eq!(names(trial.laws("file", &wish("old"))), ["mode"]);
    assert_eq!(inode(), before);
    assert!(!trial.at("/etc/x.converge-backup").exists());
    assert_eq!(names(change(trial.plan("file", &wish("new")))), ["content", "backup"]);
    trial.apply("file", &wish("new")).unwrap();
    assert_eq!(trial.read("/etc/x.converge-backup"), b"old");
}

#[test]
fn the_content_is_compared_line_by_line_where_both_sides_are_short() {
    const LIMIT: usize = converge_model::wire::TEXT_LIMIT as usize;
    let text = |length: usize| "x".repeat(length);
    // The text before, the desired text, and whether the plan shows the lines.
    let cases = [
        (None, text(3), true),
        (None, text(LIMIT), true),
        (None, text(LIMIT + 1), false),
        (Some(text(3)), text(4), true),
        (Some(text(LIMIT)), text(4), true),
        (Some(text(LIMIT + 1)), text(4), false),
        (Some(text(3)), text(LIMIT + 1), false),
    ];
    for (before, after, shown) in cases {
        let trial = Trial::new();
        before.iter().for_each(|text| trial.write("/etc/x", text));
        let what = format!("{:?} to {}", before.as_ref().map(String::len), after.len());

        let Planned::Change(plain) = trial.plan("file", &file(&trial, "/etc/x", &after)) else {
            panic!("{what}")
        };
        assert_eq!(plain.diffs.len(), usize::from(shown), "{what}");
        if let Some(diff) = plain.diffs.first() {
            assert_eq!(diff.before.as_deref(), before.as_deref().map(str::as_bytes), "{what}");
            assert_eq!(plain.change.properties[diff.property].property, "content", "{what}");
        }
        assert_eq!(plain.change.irreversible, None, "{what}");

        let Scalar::Secret(secret) = trial.secret(&after) else { unreachable!() };
        let secret = Value::Content(Content::Secret(secret));
        let hidden = change(trial.plan("file", &params([("path", "/etc/x".into()), ("content", secret)])));
        let content = &hidden.properties[0];
        assert_eq!(content.diff.is_some(), shown, "{what}");
        let masked = if before.is_some() { Shown::Masked } else { Shown::Absent };
        assert_eq!((&content.before, &content.after), (&masked, &Shown::Masked), "{what}");
        assert_eq!(hidden.irreversible.is_some(), before.is_some(), "{what}: the old text is kept nowhere");
    }
}

#[test]
fn a_text_that_an_earlier_step_decides_is_compared_at_its_turn() {
    let trial = Trial::new();
    trial.write("/etc/x", "new");
    let wish = file(&trial, "/etc/x", "new");
    let Effect::Path(path, Some(place)) = trial.planned_file("/etc/x", b"") else { unreachable!() };
    let unknown = Effect::Path(path, Some(Place { body: Body::Unknown(vec![0]), ..place }));
    let planned = change(trial.plan_after(vec![unknown], "file", &wish));
    assert_ne!(planned.certainty, Certainty::Exact);
    let known = vec![trial.planned_file("/etc/x", b"old")];
    let Planned::Change(planned) = trial.plan_after(known, "file", &wish) else { panic!("not a change") };
    assert_eq!(planned.diffs[0].before.as_deref(), Some(&b"old"[..]));
    assert_eq!(planned.change.certainty, Certainty::Exact);
    assert!(trial.plan_after(vec![trial.planned_file("/etc/x", b"new")], "file", &wish).is_in_sync());
}

#[test]
fn a_parent_that_its_owner_swapped_for_a_link_is_not_followed() {
    if !is_root() {
        return;
    }
    let trial = Trial::new();
    fs::create_dir_all(trial.at("/home/other")).unwrap();
    chown(trial.at("/home/other"), Some(OTHER_USER), None).unwrap();
    symlink("/etc", trial.at("/home/other/app")).unwrap();
    std::os::unix::fs::lchown(trial.at("/home/other/app"), Some(OTHER_USER), None).unwrap();
    let wish = file(&trial, "/home/other/app/passwd", "root::0:0:::\n");
    let why = trial.failure("file", &wish);
    assert!(why.contains("leads to a folder of another owner"), "{why}");
}

#[test]
fn a_second_name_of_anothers_file_gets_neither_owner_nor_mode() {
    if !is_root() {
        return;
    }
    let trial = Trial::new();
    trial.write("/etc/shadow", "secret");
    fs::set_permissions(trial.at("/etc/shadow"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir_all(trial.at("/home/other")).unwrap();
    chown(trial.at("/home/other"), Some(OTHER_USER), None).unwrap();
    fs::hard_link(trial.at("/etc/shadow"), trial.at("/home/other/x")).unwrap();
    for (name, value) in [("owner", "nobody".into()), ("mode", 0o644.into())] {
        let wish = params([("path", "/home/other/x".into()), (name, value)]);
        let error = trial.apply("file", &wish).err().unwrap();
        assert!(error.message.contains("several names"), "{}", error.message);
    }
    let shadow = fs::metadata(trial.at("/etc/shadow")).unwrap();
    assert_eq!((shadow.uid(), shadow.mode() & 0o777), (0, 0o600));
    // With content the resource makes it a separate file.
    trial.laws("file", &file(&trial, "/home/other/x", "new"));
    assert_eq!(trial.read("/etc/shadow"), b"secret");
}

#[test]
fn a_large_sparse_file_is_compared_with_flat_memory() {
    let trial = Trial::new();
    trial.write("/etc/x", "");
    fs::File::options().write(true).open(trial.at("/etc/x")).unwrap().set_len(1 << 30).unwrap();
    let before = peak();
    let planned = trial.plan("file", &file(&trial, "/etc/x", "new"));
    assert!(matches!(planned, Planned::Change(_)));
    assert!(peak() - before < 32 * 1024, "{} KiB more", peak() - before);
}

/// The peak memory of this process, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The warnings of a plan.
fn warnings(trial: &Trial, params: &Params) -> Vec<String> {
    match trial.plan("file", params) {
        Planned::Change(planned) => planned.warnings,
        other => panic!("not a change: {other:?}"),
    }
}

#[test]
fn another_name_of_a_file_that_is_replaced_is_told_and_of_one_that_stays_is_not() {
    let trial = Trial::new();
    trial.write("/etc/x", "old");
    fs::hard_link(trial.at("/etc/x"), trial.at("/etc/y")).unwrap();
    let told = warnings(&trial, &file(&trial, "/etc/x", "new"));
    assert_eq!(told, ["/etc/x has 1 other names (hard links), which keep the old content"]);
    let mode = params([("path", "/etc/x".into()), ("content", trial.content("old")), ("mode", 0o600.into())]);
    assert_eq!(warnings(&trial, &mode), [""; 0]);
    trial.laws("file", &file(&trial, "/etc/x", "new"));
    assert_eq!(trial.read("/etc/y"), b"old");
}

#[test]
fn the_mode_of_a_file_with_an_acl_is_told_to_set_its_mask() {
    let trial = Trial::new();
    trial.write("/etc/x", "old");
    adorned::adorn(&trial.at("/etc/x"));
    let mode = params([("path", "/etc/x".into()), ("content", trial.content("new")), ("mode", 0o600.into())]);
    let told = warnings(&trial, &mode);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("/etc/x has an ACL"), "{told:?}");
    trial.apply("file", &mode).unwrap();
    adorned::assert_adorned(&trial.at("/etc/x"));
    trial.assert_in_sync("file", &mode);
}

#[test]
fn a_new_file_keeps_the_acl_of_its_folder_and_a_replaced_one_has_its_own_alone() {
    let trial = Trial::new();
    trial.write("/etc/old", "old");
    adorned::set(&trial.at("/etc"), "system.posix_acl_default", &adorned::acl(0o755));
    trial.apply("file", &file(&trial, "/etc/new", "new")).unwrap();
    assert!(adorned::of(&trial.at("/etc/new")).has_acl());
    trial.apply("file", &file(&trial, "/etc/old", "new")).unwrap();
    assert!(!adorned::of(&trial.at("/etc/old")).has_acl());
    trial.assert_in_sync("file", &file(&trial, "/etc/old", "new"));
}

#[test]
fn a_file_with_another_owner_is_no_program_of_its_owner_any_more() {
    if !is_root() {
        return;
    }
    let check = |content: bool, mode: Option<i64>, shown: &[&str], after: u32| {
        let trial = Trial::new();
        trial.write("/etc/x", "old");
        chown(trial.at("/etc/x"), Some(OTHER_USER), None).unwrap();
        adorned::adorn(&trial.at("/etc/x"));
        fs::set_permissions(trial.at("/etc/x"), fs::Permissions::from_mode(0o4755)).unwrap();
        let mut wish = params([("path", "/etc/x".into()), ("owner", "0".into())]);
        if content {
            wish.set("content", trial.content("new"));
        }
        mode.into_iter().for_each(|mode| wish.set("mode", mode.into()));
        assert_eq!(warnings(&trial, &wish), ["/etc/x loses its capabilities with its owner"]);
        let change = change(trial.plan("file", &wish));
        let names = change.properties.iter().map(|property| property.property.as_str());
        assert_eq!(names.filter(|name| *name != "content").collect::<Vec<_>>(), shown);
        trial.apply("file", &wish).unwrap();
        let found = fs::metadata(trial.at("/etc/x")).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (0, after));
        assert!(!adorned::of(&trial.at("/etc/x")).has_capabilities());
        trial.assert_in_sync("file", &wish);
    };
    for content in [true, false] {
        check(content, None, &["mode", "owner"], 0o755);
        check(content, Some(0o4755), &["owner"], 0o4755);
    }
}

#[test]
fn something_new_has_the_group_of_the_agent_whatever_its_folder_gives() {
    if !is_root() {
        return;
    }
    let trial = Trial::new();
    chown(trial.at("/etc"), None, Some(OTHER_USER)).unwrap();
    fs::set_permissions(trial.at("/etc"), fs::Permissions::from_mode(0o2755)).unwrap();
    trial.laws("file", &file(&trial, "/etc/new", "new"));
    trial.laws("directory", &params([("path", "/etc/folder".into())]));
    trial.laws("link", &params([("path", "/etc/link".into()), ("to", "new".into())]));
    for name in ["/etc/new", "/etc/folder", "/etc/link"] {
        assert_eq!(fs::symlink_metadata(trial.at(name)).unwrap().gid(), 0, "{name}");
    }
}

#[test]
fn what_a_user_puts_in_the_place_of_their_file_is_not_given_to_them() {
    if !is_root() {
        return;
    }
    let trial = Trial::new();
    let at = |name: &str| trial.at("/home/ada").join(name);
    trial.write("/home/ada/own", "theirs\n");
    trial.write("/home/ada/roots", "root only\n");
    for name in ["", "own"] {
        chown(at(name), Some(OTHER_USER), None).unwrap();
    }
    fs::set_permissions(at("roots"), fs::Permissions::from_mode(0o600)).unwrap();
    let line = params([("path", "/home/ada/own".into()), ("text", "managed".into())]);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(CWD, at("own"), CWD, at("roots"), exchange);
            }
        });
        for _ in 0..300 {
            let (look, mut undo) = (trial.look("line", &line), trial.undo());
            if matches!(look.planned, Planned::Change(_)) {
                // The step may refuse a file that changes during the apply.
                let _ = trial.apply_look("line", &line, &look, &mut undo);
                let _ = trial.try_restore(undo);
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    for name in ["own", "roots"] {
        let found = fs::metadata(at(name)).unwrap();
        let holds = fs::read_to_string(at(name)).unwrap().contains("root only");
        assert!(!holds || (found.uid(), found.mode() & 0o777) == (0, 0o600), "{name} was given away");
    }
}

#[test]
fn a_mode_that_is_left_alone_is_not_shown() {
    let trial = Trial::new();
    let line = params([("path", "/etc/l".into()), ("text", "x".into()), ("mode", 0o640.into())]);
    for (kind, wish, path) in [("file", file(&trial, "/etc/f", "x"), "/etc/f"), ("line", line, "/etc/l")] {
        let created = trial.laws(kind, &wish);
        let shown: Vec<_> = created.properties.iter().map(|property| property.property.as_str()).collect();
        assert_eq!(shown, ["content"], "{kind}");
        fs::set_permissions(trial.at(path), fs::Permissions::from_mode(0o666)).unwrap();
        trial.assert_in_sync(kind, &wish);
    }
}
