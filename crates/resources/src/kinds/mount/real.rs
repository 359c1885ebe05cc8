//! The kind `mount` with real mounts of the kernel. Each test runs as root in its own mount and process namespaces.
//! `/etc`, `/run` and `/srv` are in memory there, and the mounts stay inside.

use std::os::unix::process::CommandExt;
use std::process::Command;

use converge_model::{Params, Shown, Value, Verb};

use crate::kind::Planned;
use crate::kinds::testing::{Trial, change, impossible, params};

/// The command that makes the namespace a small host and then runs the test.
const ENTER: &str = "mount -t tmpfs run /run && mkdir /run/etc && cp -a /etc/passwd /etc/group /run/etc/ && \
                     cp -a /etc/ld.so.cache /etc/nsswitch.conf /run/etc/ 2>/dev/null; mount --bind /run/etc /etc && \
                     mount -t tmpfs srv /srv && : >/etc/fstab && exec \"$@\"";

/// Runs the test `name` of this module in namespaces of its own.
fn alone(name: &str, test: impl FnOnce()) {
    const INSIDE: &str = "CONVERGE_TEST_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", ENTER, "sh"]);
    command.arg(std::env::current_exe().unwrap()).args([
        "--exact",
        &format!("{module}::{name}"),
        "--nocapture",
    ]);
    let ended = command.env(INSIDE, "1").process_group(0).output().unwrap();
    let text = [ended.stdout, ended.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(ended.status.success() && text.contains("1 passed"), "{text}");
}

/// Runs a shell line that must succeed. Returns its output.
fn shell(line: &str) -> String {
    let ended = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(ended.status.success(), "{line}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap().trim_end().to_owned()
}

/// The output of findmnt(8) for the place: for each mount its own options, then those of the file system.
fn options(path: &str) -> String {
    shell(&format!("findmnt --noheadings --output VFS-OPTIONS,FS-OPTIONS --mountpoint '{path}' || true"))
}

fn mount(path: &str, source: &str, fstype: &str, options: &[&str]) -> Params {
    let options = options.iter().map(|option| (*option).into()).collect();
    params([
        ("path", path.into()),
        ("source", source.into()),
        ("fstype", fstype.into()),
        ("options", Value::List(options)),
    ])
}

fn absent(path: &str) -> Params {
    params([("path", path.into()), ("state", "absent".into())])
}

/// The change of the mount itself in a plan.
fn live(planned: Planned) -> (Verb, Shown, Shown) {
    let change = change(planned);
    let verb = change.verb;
    let property = change.properties.into_iter().find(|property| property.property == "mount").unwrap();
    (verb, property.before, property.after)
}

/// Applies the resource, checks the laws that a real kernel can satisfy, and leaves it applied.
fn applied(trial: &Trial, wish: &Params) {
    let table = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = (table(), shell("cat /etc/fstab"));
    let look = trial.look("mount", wish);
    assert_eq!(table(), before.0, "law 1: a look mounted");
    let again = trial.plan_after(look.effects, "mount", wish);
    assert!(again.is_in_sync(), "law 3: after its own effects: {again:?}");
    let lost = change(look.planned).irreversible.is_some();
    let undo = trial.apply("mount", wish).unwrap_or_else(|error| panic!("{error}: {}", error.output));
    trial.assert_in_sync("mount", wish);
    trial.restore(undo);
    // A new mount has another number. Its place and its content are the same.
    let plain = |table: &str| {
        let words = |line: &str| {
            line.split(' ').skip(if lost { 3 } else { 2 }).map(str::to_owned).collect::<Vec<_>>()
        };
        let mut lines: Vec<_> = table.lines().filter(|line| line.contains(" /srv/")).map(words).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        (plain(&table()), shell("cat /etc/fstab")),
        (plain(&before.0), before.1),
        "law 5: not restored"
    );
    trial.apply("mount", wish).unwrap_or_else(|error| panic!("{error}: {}", error.output));
    trial.assert_in_sync("mount", wish);
}

#[test]
fn a_bind_becomes_read_only_and_its_file_system_does_not() {
    alone("a_bind_becomes_read_only_and_its_file_system_does_not", || {
        let trial = Trial::real();
        shell("mkdir /srv/pool /srv/view && mount -t tmpfs pool /srv/pool && mkdir /srv/pool/a");
        shell("mount --bind /srv/pool/a /srv/view && echo '/srv/pool/a /srv/view none bind 0 0' >/etc/fstab");
        applied(&trial, &mount("/srv/view", "/srv/pool/a", "none", &["bind", "ro"]));
        shell("touch /srv/pool/x && ! touch /srv/view/y 2>/dev/null");
        applied(&trial, &mount("/srv/view", "/srv/pool/a", "none", &["bind", "nosuid"]));
        shell("touch /srv/view/y");
        shell("mount -o remount,bind,ro,noexec,nosuid /srv/view");
        let planned =
            live(trial.plan("mount", &mount("/srv/view", "/srv/pool/a", "none", &["bind", "nosuid"])));
        let (before, after) = ("mounted with ro,noexec".into(), "mounted with rw,exec".into());
        assert_eq!(planned, (Verb::Update, before, after));
    });
}

#[test]
fn a_bind_is_made_of_folders_and_files_wherever_they_are() {
    alone("a_bind_is_made_of_folders_and_files_wherever_they_are", || {
        let trial = Trial::real();
        shell("mkdir -p /srv/x/srv/a /srv/a && echo text >/srv/file");
        // The root file system is in use.
        applied(&trial, &mount("/srv/share", "/usr/share", "none", &["bind", "ro"]));
        shell("[ -d /srv/share/doc ] && ! touch /srv/share/x 2>/dev/null");
        applied(&trial, &mount("/srv/copy", "/srv/file", "none", &["bind"]));
        assert_eq!(shell("cat /srv/copy"), "text");
        applied(&trial, &mount("/srv/my place", "/srv/a", "none", &["rbind"]));
        shell("mkdir /srv/by-hand && mount --bind /srv/x/srv/a /srv/by-hand");
        let wish = mount("/srv/by-hand", "/srv/a", "none", &["bind"]);
        assert_eq!(live(trial.plan("mount", &wish)).1, "/x/srv/a of srv (tmpfs)".into());
        applied(&trial, &wish);
        let onto_a_folder = impossible(trial.plan("mount", &mount("/srv/a", "/srv/file", "none", &["bind"])));
        assert_eq!(onto_a_folder, "a file at /srv/a does not exist");
        let of_nothing = impossible(trial.plan("mount", &mount("/srv/z", "/srv/none", "none", &["bind"])));
        assert_eq!(of_nothing, "the source /srv/none does not exist");
    });
}

#[test]
fn a_read_only_mount_can_be_changed_and_removed() {
    alone("a_read_only_mount_can_be_changed_and_removed", || {
        let trial = Trial::real();
        shell("mkdir /srv/iso && echo 'tmpfs /srv/iso tmpfs ro,size=8m 0 0' >/etc/fstab && mount /srv/iso");
        applied(&trial, &mount("/srv/iso", "tmpfs", "tmpfs", &["size=4m", "nosuid"]));
        assert!(options("/srv/iso").contains("size=4096k"), "{}", options("/srv/iso"));
        shell("mount -o remount,ro /srv/iso");
        let planned = live(trial.plan("mount", &mount("/srv/iso", "tmpfs", "tmpfs", &["size=4m", "nosuid"])));
        assert_eq!(planned, (Verb::Update, "mounted with ro".into(), "mounted with rw".into()));
        applied(&trial, &mount("/srv/iso", "tmpfs", "tmpfs", &["size=4m", "nosuid"]));
        shell("touch /srv/iso/x && mount -o remount,ro /srv/iso");
        applied(&trial, &absent("/srv/iso"));
        assert_eq!(options("/srv/iso"), "");
    });
}

#[test]
fn an_option_that_is_not_in_the_wish_is_a_difference_and_goes() {
    alone("an_option_that_is_not_in_the_wish_is_a_difference_and_goes", || {
        let trial = Trial::real();
        let wish = mount("/srv/t", "tmpfs", "tmpfs", &["defaults"]);
        applied(&trial, &wish);
        for option in ["ro", "nosuid", "nodev", "noexec", "noatime", "strictatime", "nodiratime", "size=8m"] {
            shell(&format!("mount -o remount,{option} /srv/t"));
            let (_, before, _) = live(trial.plan("mount", &wish));
            let shown = option.replace("8m", "8192k");
            assert_eq!(before, format!("mounted with {shown}").into());
            trial.apply("mount", &wish).unwrap();
            trial.assert_in_sync("mount", &wish);
        }
        let private = mount("/srv/t", "tmpfs", "tmpfs", &["mode=0700", "uid=1"]);
        let planned = change(trial.plan("mount", &private));
        assert!(planned.irreversible.unwrap().contains("in memory"), "a remount leaves the mode as it is");
        applied(&trial, &private);
        assert_eq!(shell("stat -c %a:%u /srv/t"), "700:1");
        applied(&trial, &mount("/srv/named", "tmpfs", "tmpfs", &["uid=daemon", "gid=root"]));
        shell("umount /srv/named && mount -t tmpfs -o uid=2 tmpfs /srv/named");
        let named = mount("/srv/named", "tmpfs", "tmpfs", &["uid=daemon", "gid=root"]);
        assert_eq!(live(trial.plan("mount", &named)).1, "mounted with uid=2".into());
    });
}

#[test]
fn a_mount_that_fails_leaves_what_was_mounted() {
    alone("a_mount_that_fails_leaves_what_was_mounted", || {
        let trial = Trial::real();
        shell("mkdir /srv/t && echo 'tmpfs /srv/t tmpfs size=4m,noexec 0 0' >/etc/fstab && mount /srv/t");
        let no_device = |source: &str| impossible(trial.plan("mount", &mount("/srv/t", source, "ext4", &[])));
        assert_eq!(no_device("/dev/vg0/data"), "the device /dev/vg0/data does not exist");
        assert_eq!(no_device("UUID=1-2"), "the device UUID=1-2 does not exist");
        assert_eq!(no_device("LABEL=none"), "the device LABEL=none does not exist");
        shell("truncate -s 1M /srv/image");
        let (before, wish) = (options("/srv/t"), mount("/srv/t", "/srv/image", "ext4", &["loop"]));
        assert!(change(trial.plan("mount", &wish)).irreversible.is_some(), "what is in the tmpfs goes");
        let mut undo = trial.undo();
        trial.apply_keeping("mount", &wish, &mut undo).unwrap_err();
        trial.restore(undo);
        assert_eq!(options("/srv/t"), before);
        assert_eq!(shell("cat /etc/fstab"), "tmpfs /srv/t tmpfs size=4m,noexec 0 0");
    });
}

#[test]
fn a_place_has_one_mount_or_none() {
    alone("a_place_has_one_mount_or_none", || {
        let trial = Trial::real();
        let stack = "mkdir -p /srv/t /srv/b && mount -t tmpfs a /srv/t && mount --bind /srv/b /srv/t && mount -t tmpfs c /srv/t";
        shell(stack);
        let (verb, before, after) = live(trial.plan("mount", &absent("/srv/t")));
        assert_eq!((verb, after), (Verb::Remove, Shown::Absent));
        assert_eq!(before, "a (tmpfs), under /b of srv (tmpfs), under c (tmpfs)".into());
        applied(&trial, &absent("/srv/t"));
        assert_eq!(options("/srv/t"), "");
        shell(stack);
        let wish = mount("/srv/t", "tmpfs", "tmpfs", &["size=50%"]);
        let (_, before, after) = live(trial.plan("mount", &wish));
        assert_eq!(before, "mounted, under /b of srv (tmpfs), under c (tmpfs)".into());
        assert_eq!(after, "mounted, with the new options".into());
        applied(&trial, &wish);
        assert_eq!(options("/srv/t").lines().count(), 1);
        shell("mount -t tmpfs a /srv/t");
        assert_eq!(live(trial.plan("mount", &wish)).2, "mounted".into());
        applied(&trial, &wish);
        assert_eq!(options("/srv/t").lines().count(), 1, "the name of what has no source is no difference");
    });
}

#[test]
fn a_mount_behind_a_link_is_found_where_it_is() {
    alone("a_mount_behind_a_link_is_found_where_it_is", || {
        let trial = Trial::real();
        shell("mkdir -p /srv/real/t && ln -s real /srv/link && ln -s /srv/real/t /srv/end");
        applied(&trial, &mount("/srv/link/t", "tmpfs", "tmpfs", &["size=4m"]));
        applied(&trial, &absent("/srv/link/t"));
        applied(&trial, &mount("/srv/end", "tmpfs", "tmpfs", &["size=4m"]));
        assert_eq!(options("/srv/real/t").lines().count(), 1);
    });
}

#[test]
fn a_mount_that_is_used_says_by_whom_and_stays() {
    alone("a_mount_that_is_used_says_by_whom_and_stays", || {
        let trial = Trial::real();
        shell("mkdir /srv/t && mount -t tmpfs t /srv/t && mkdir /srv/t/sub && mount -t tmpfs sub /srv/t/sub");
        let why = impossible(trial.plan("mount", &absent("/srv/t")));
        assert_eq!(why, "/srv/t cannot be unmounted: /srv/t/sub is mounted in it");
        shell("umount /srv/t/sub");
        let mut sleeper = Command::new("sleep").arg("60").current_dir("/srv/t/sub").spawn().unwrap();
        let mut undo = trial.undo();
        let error = trial.apply_keeping("mount", &absent("/srv/t"), &mut undo).unwrap_err();
        assert_eq!(
            error.message,
            format!("failed to unmount /srv/t: it is in use by sleep ({})", sleeper.id())
        );
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        trial.restore(undo);
        assert_ne!(options("/srv/t"), "");
        applied(&trial, &absent("/srv/t"));
    });
}
