//! The kind `mount` on a trial host. Its mount(8) and umount(8) write the kernel's table.

use converge_model::{Params, Value};

use super::*;
use crate::kinds::testing::{Trial, change, finished, impossible, params, values};

const ROOT: &str = "1 0 254:0 / / rw,relatime - ext4 /dev/vda rw\n";

/// A host whose simulated `mount` and `umount` programs change its table.
fn trial(mountinfo: &str) -> Trial {
    let trial = Trial::new();
    for program in ["mount", "umount"] {
        trial.write(&format!("/usr/bin/{program}"), "");
    }
    trial.write("/etc/fstab", "# kept\n/dev/vda / ext4 defaults 0 1\n");
    trial.write("/proc/1/mountinfo", format!("{ROOT}{mountinfo}"));
    std::fs::create_dir_all(trial.at("/srv")).unwrap();
    let table = trial.at("/proc/1/mountinfo");
    trial.answer(move |command| {
        let path = command.words.last().unwrap();
        let now = std::fs::read_to_string(&table).unwrap();
        let mut lines: Vec<_> = now.lines().filter(|line| !line.contains(&format!(" {path} "))).collect();
        let mounted = format!("40 1 0:9 / {path} rw,nosuid,relatime - tmpfs tmpfs rw,size=16384k");
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
fn a_mount_is_made_with_its_line_and_restored() {
    let trial = trial("");
    let before = trial.image();
    let undo = trial.apply("mount", &cache(&[])).unwrap();
    trial.assert_in_sync("mount", &cache(&[]));
    let fstab = String::from_utf8(trial.read("/etc/fstab")).unwrap();
    assert_eq!(fstab, "# kept\n/dev/vda / ext4 defaults 0 1\ntmpfs /srv/cache tmpfs size=16m,nosuid 0 0\n");
    trial.restore(undo);
    assert_eq!(trial.image(), before);
    trial.apply("mount", &cache(&[])).unwrap();
    let gone = params([("path", "/srv/cache".into()), ("state", "absent".into())]);
    trial.apply("mount", &gone).unwrap();
    trial.assert_in_sync("mount", &gone);
    assert_eq!(trial.read("/etc/fstab"), b"# kept\n/dev/vda / ext4 defaults 0 1\n");
}

#[test]
fn each_state_has_its_plan() {
    let mounted = "40 1 0:9 / /srv/cache rw,nosuid,relatime - tmpfs tmpfs rw,size=16384k\n";
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
fn what_is_mounted_instead_or_with_other_options_is_seen() {
    let check = |mountinfo: &str, expected: Option<&str>| {
        let trial = trial(mountinfo);
        std::fs::create_dir_all(trial.at("/srv/cache")).unwrap();
        trial.write("/etc/fstab", "tmpfs /srv/cache tmpfs size=16m,nosuid 0 0\n");
        match (trial.plan("mount", &cache(&[])), expected) {
            (Planned::InSync(_), None) => {}
            (planned, Some(expected)) => {
                assert_eq!(change(planned).properties[0].before, Shown::from(expected));
            }
            (planned, None) => panic!("{planned:?}"),
        }
    };
    let at = "40 1 0:9 / /srv/cache";
    check(&format!("{at} rw,nosuid,relatime - tmpfs tmpfs rw,size=16384k\n"), None);
    check(&format!("{at} rw,nosuid,relatime - tmpfs other rw,size=16384k,inode64\n"), None);
    check(&format!("{at} rw,relatime - tmpfs tmpfs rw,size=16384k\n"), Some("mounted with suid"));
    check(&format!("{at} rw,nosuid,relatime - tmpfs tmpfs ro,size=16384k\n"), Some("mounted with ro"));
    check(&format!("{at} rw,nosuid,relatime - tmpfs tmpfs rw\n"), Some("mounted with size=50%"));
    check(&format!("{at} rw,nosuid,relatime - ext4 /dev/vdb rw\n"), Some("/dev/vdb (ext4)"));
}

#[test]
fn a_device_has_many_names_and_one_number() {
    let trial = trial("40 1 8:17 / /srv/data rw,relatime - ext4 /dev/root rw\n");
    std::fs::create_dir_all(trial.at("/srv/data")).unwrap();
    for folder in ["/dev/disk/by-uuid", "/dev/disk/by-label", "/sys/dev/block"] {
        std::fs::create_dir_all(trial.at(folder)).unwrap();
    }
    let link = |target: &str, path: &str| std::os::unix::fs::symlink(target, trial.at(path)).unwrap();
    trial.write("/dev/sdb1", "");
    trial.write("/dev/sdc1", "");
    link("../../sdb1", "/dev/disk/by-uuid/12-34");
    link("../../sdb1", r"/dev/disk/by-label/my\x20data");
    link("../../sdc1", "/dev/disk/by-label/other");
    link("../../devices/pci0/block/sdb/sdb1", "/sys/dev/block/8:17");
    let check = |source: &str, same: bool| {
        let wish =
            params([("path", "/srv/data".into()), ("source", source.into()), ("fstype", "ext4".into())]);
        let planned = change(trial.plan("mount", &wish));
        let replaced =
            planned.properties.iter().any(|property| property.before == Shown::from("/dev/root (ext4)"));
        assert_eq!(!replaced, same, "{source}: {planned:?}");
    };
    check("/dev/sdb1", true);
    check("UUID=12-34", true);
    check("LABEL=my data", true);
    check("LABEL=other", false);
    check("/dev/sdc1", false);
}

#[test]
fn a_unit_that_outdoes_the_line_is_named() {
    let trial = trial("");
    std::fs::create_dir_all(trial.at("/srv/cache")).unwrap();
    trial.write("/etc/systemd/system/srv-cache.mount.d/order.conf", "[Unit]\nAfter=x.service\n");
    assert!(matches!(trial.plan("mount", &cache(&[])), Planned::Change(_)));
    trial.write("/etc/systemd/system/srv-cache.mount.d/what.conf", "[Mount]\nOptions = ro\n");
    let why = impossible(trial.plan("mount", &cache(&[])));
    assert_eq!(why, "/etc/systemd/system/srv-cache.mount.d/what.conf overrides the line in /etc/fstab");
    trial.write("/etc/systemd/system/srv-cache.mount", "[Mount]\n");
    let why = impossible(trial.plan("mount", &cache(&[("state", "present".into())])));
    assert_eq!(why, "/etc/systemd/system/srv-cache.mount overrides the line in /etc/fstab");
}

#[test]
fn a_place_has_its_unit() {
    let check = |path: &str, unit: &str| assert_eq!(unit_of(Path::new(path), "mount"), unit);
    check("/", "-.mount");
    check("/srv/cache", "srv-cache.mount");
    check("/srv/my-data/.x y", r"srv-my\x2ddata-.x\x20y.mount");
    check("/.hidden", r"\x2ehidden.mount");
}

#[test]
fn a_place_where_systemd_waits_counts_as_mounted_only_if_it_is_asked_to_wait() {
    let waits = "39 1 0:8 / /srv/cache rw,relatime - autofs systemd-1 rw,fd=1\n";
    let trial = trial(waits);
    std::fs::create_dir_all(trial.at("/srv/cache")).unwrap();
    let options = Value::List(vec!["x-systemd.automount".into()]);
    trial.write("/etc/fstab", "tmpfs /srv/cache tmpfs x-systemd.automount 0 0\n");
    trial.assert_in_sync("mount", &cache(&[("options", options)]));
    assert_eq!(change(trial.plan("mount", &cache(&[]))).properties[1].after, "mounted".into());
    let gone = params([("path", "/srv/cache".into()), ("state", "absent".into())]);
    let planned = change(trial.plan("mount", &gone));
    assert_eq!(planned.properties[1].before, "mounted when it is used".into());
}

#[test]
fn what_is_below_a_new_mount_is_not_what_is_there_now() {
    let trial = trial("");
    trial.write("/srv/data/file", "hidden\n");
    let file = params([("path", "/srv/data/file".into()), ("content", trial.content("hidden\n"))]);
    trial.assert_in_sync("file", &file);
    let mounted = |mount| vec![Effect::Mount("/srv/data".into(), mount)];
    for mount in [PlannedMount::Empty, PlannedMount::Mounted, PlannedMount::Unmounted] {
        assert_eq!(change(trial.plan_after(mounted(mount), "file", &file)).verb, Verb::Create, "{mount:?}");
    }
    let bind = |source: &str| {
        params([
            ("path", "/srv/view".into()),
            ("source", source.into()),
            ("options", Value::List(vec!["bind".into()])),
        ])
    };
    let under = |mount, source: &str| trial.plan_after(mounted(mount), "mount", &bind(source));
    assert!(
        matches!(under(PlannedMount::Mounted, "/srv/data/a"), Planned::Change(_)),
        "it may come with the mount"
    );
    assert_eq!(
        impossible(under(PlannedMount::Empty, "/srv/data/a")),
        "the source /srv/data/a does not exist"
    );
    assert!(matches!(under(PlannedMount::Empty, "/srv/data"), Planned::Change(_)));
}

#[test]
fn a_secret_option_is_in_the_line_and_nowhere_else() {
    let trial = trial("");
    std::fs::create_dir_all(trial.at("/srv/cache")).unwrap();
    let secret = trial.secret("password=hunter2");
    let wish = cache(&[("options", Value::List(vec![secret])), ("state", "present".into())]);
    let planned = change(trial.plan("mount", &wish));
    let shown = values(&planned);
    assert!(!shown.contains("hunter2") && !shown.contains("bytes"), "{shown}");
    trial.apply("mount", &wish).unwrap();
    trial.assert_in_sync("mount", &wish);
}

#[test]
fn swap_is_no_mount() {
    let problems = Trial::new().problems("mount", &cache(&[("fstype", "swap".into())]));
    assert_eq!(problems[0].param.as_deref(), Some("fstype"));
}

#[test]
fn a_mount_owns_its_place_behind_links_and_the_unit_for_it() {
    let trial = trial("");
    std::fs::create_dir_all(trial.at("/srv/real")).unwrap();
    std::os::unix::fs::symlink("real", trial.at("/srv/link")).unwrap();
    let wish = cache(&[("path", "/srv/link".into())]);
    let unit = "path:/etc/systemd/system/srv-real.mount#mount";
    let expected = ["path:/etc/fstab#/srv/real", "path:/srv/real#mount", unit, "mount:/srv/real"];
    assert_eq!(trial.owned("mount", &wish), expected);
    let absent = params([("path", "/srv/real".into()), ("state", "absent".into())]);
    assert!(!trial.owned("mount", &absent).contains(&unit.to_owned()));
}

#[test]
fn later_steps_see_what_becomes_of_the_place() {
    let right = "40 1 0:9 / /srv/cache rw,nosuid,relatime - tmpfs tmpfs rw,size=16384k\n";
    let twice = format!("{right}41 40 0:10 / /srv/cache rw,relatime - ext4 /dev/vdb rw\n");
    let suid = "40 1 0:9 / /srv/cache rw,relatime - tmpfs tmpfs rw,size=16384k\n";
    let other = "40 1 0:9 / /srv/cache rw,relatime - ext4 /dev/vdb rw\n";
    let check = |mountinfo: &str, more: &[(&str, Value)], expected: Option<PlannedMount>| {
        let trial = trial(mountinfo);
        std::fs::create_dir_all(trial.at("/srv/cache")).unwrap();
        trial.write("/etc/fstab", "tmpfs /srv/cache tmpfs size=16m,nosuid 0 0\n");
        trial.write("/dev/vdc", "");
        let effects = trial.look("mount", &cache(more)).effects;
        let planned = effects.iter().find_map(|effect| match effect {
            Effect::Mount(path, planned) if path == Path::new("/srv/cache") => Some(*planned),
            _ => None,
        });
        assert_eq!(planned, expected, "{mountinfo} {more:?}");
    };
    let ext4 =
        [("source", "/dev/vdc".into()), ("fstype", "ext4".into()), ("options", Value::List(Vec::new()))];
    let state = |state: &str| [("state", Value::from(state))];
    check(right, &[], None);
    check(&twice, &[], Some(PlannedMount::Mounted));
    check(suid, &[], Some(PlannedMount::Kept));
    check("", &[], Some(PlannedMount::Empty));
    check(other, &[], Some(PlannedMount::Empty));
    check("", &ext4, Some(PlannedMount::Mounted));
    check(right, &ext4, Some(PlannedMount::Mounted));
    check("", &state("present"), None);
    check(right, &state("present"), None);
    check("", &state("unmounted"), None);
    check(right, &state("unmounted"), Some(PlannedMount::Unmounted));
}

#[test]
fn a_place_that_is_mounted_when_it_is_used_is_made_to_wait() {
    let trial = trial("");
    trial.world().unit("srv-cache.automount");
    let options = Value::List(vec!["x-systemd.automount".into()]);
    let undo = trial.apply("mount", &cache(&[("options", options)])).unwrap();
    assert_eq!(trial.world().log(), ["daemon-reload", "start srv-cache.automount"]);
    trial.restore(undo);
    assert!(trial.world().log().contains(&"stop srv-cache.automount".to_owned()));
}

#[test]
fn a_file_that_is_bound_needs_a_file_to_stand_on() {
    let trial = trial("");
    trial.write("/srv/source", "x\n");
    let bind = |path: &str| {
        let options = Value::List(vec!["bind".into()]);
        params([("path", path.into()), ("source", "/srv/source".into()), ("options", options)])
    };
    let made = |path: &str| {
        let effects = trial.look("mount", &bind(path)).effects;
        effects.into_iter().find_map(|effect| match effect {
            Effect::Path(made, Some(place)) if made == Path::new(path) => Some(place.sort),
            _ => None,
        })
    };
    assert_eq!(made("/srv/new"), Some(crate::system::files::Sort::File));
    trial.write("/srv/there", "");
    assert_eq!(made("/srv/there"), None);
    std::fs::create_dir(trial.at("/srv/folder")).unwrap();
    assert_eq!(impossible(trial.plan("mount", &bind("/srv/folder"))), "a file at /srv/folder does not exist");
    assert_eq!(impossible(trial.plan("mount", &bind("/none/x"))), "the folder /none does not exist");
    let written = |path: &str| {
        let (wish, found) = trial.view(|view| {
            let params = bind(path);
            let wish = Mount::decode(&mut Reader::new(&params, None));
            let found = Mount::observe(view, &wish).unwrap();
            (wish, found)
        });
        Mount::written(&wish, &found)
    };
    assert_eq!(written("/srv/new"), ["/etc/fstab", "/srv/new"].map(PathBuf::from));
    assert_eq!(written("/srv/there"), ["/etc/fstab"].map(PathBuf::from));
}

#[test]
fn a_mount_that_takes_the_place_of_another_is_shown_by_its_source() {
    let trial = trial("40 1 0:9 / /srv/cache rw,relatime - ext4 /dev/vdb rw\n");
    std::fs::create_dir_all(trial.at("/srv/cache")).unwrap();
    let planned = change(trial.plan("mount", &cache(&[])));
    let mount = planned.properties.iter().find(|property| property.property == "mount").unwrap();
    assert_eq!((&mount.before, &mount.after), (&"/dev/vdb (ext4)".into(), &"tmpfs (tmpfs)".into()));
}

#[test]
fn a_device_of_a_file_system_over_several_is_known_by_the_kernels_list() {
    let trial = trial("40 1 0:30 / /srv/data rw,relatime - btrfs /dev/sdb rw\n");
    std::fs::create_dir_all(trial.at("/srv/data")).unwrap();
    for device in ["sdb", "sdc", "sdd"] {
        trial.write(&format!("/dev/{device}"), "");
    }
    for (system, device) in [("one", "sdb"), ("one", "sdc"), ("two", "sdd")] {
        trial.write(&format!("/sys/fs/btrfs/{system}/devices/{device}"), "");
    }
    let check = |source: &str, same: bool| {
        let wish =
            params([("path", "/srv/data".into()), ("source", source.into()), ("fstype", "btrfs".into())]);
        let planned = change(trial.plan("mount", &wish));
        let is_replaced = planned
            .properties
            .iter()
            .any(|property| property.property == "mount" && property.before == "/dev/sdb (btrfs)".into());
        assert_eq!(!is_replaced, same, "{source}: {planned:?}");
    };
    check("/dev/sdb", true);
    check("/dev/sdc", true);
    check("/dev/sdd", false);
}

#[test]
fn an_image_is_known_by_the_file_behind_its_device() {
    let trial = trial("40 1 7:0 / /srv/iso ro,relatime - iso9660 /dev/loop0 ro\n");
    std::fs::create_dir_all(trial.at("/srv/iso")).unwrap();
    trial.write("/srv/debian.iso", "x");
    trial.write("/srv/other.iso", "x");
    std::os::unix::fs::symlink("debian.iso", trial.at("/srv/link.iso")).unwrap();
    trial.write("/sys/dev/block/7:0/loop/backing_file", "/srv/debian.iso\n");
    let check = |source: &str, same: bool| {
        let options = Value::List(vec!["loop".into(), "ro".into()]);
        let wish = params([
            ("path", "/srv/iso".into()),
            ("source", source.into()),
            ("fstype", "iso9660".into()),
            ("options", options),
        ]);
        let planned = change(trial.plan("mount", &wish));
        let is_replaced = planned
            .properties
            .iter()
            .any(|property| property.property == "mount" && property.before == "/dev/loop0 (iso9660)".into());
        assert_eq!(!is_replaced, same, "{source}: {planned:?}");
    };
    check("/srv/debian.iso", true);
    check("/srv/link.iso", true);
    check("/srv/other.iso", false);
}
