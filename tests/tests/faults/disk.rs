//! Full disks and files that cannot be changed: one clear error, and the old file is kept.

use converge_model::{HostState, Restoration, Stands, StepOutcome};

use crate::support::{SUDO, apply, converge, on_host, plan, project, root};

#[test]
fn a_full_disk_is_told_with_its_free_space_and_keeps_the_old_file() {
    on_host(|testbed, host| {
        root(
            host,
            "mkdir /srv/small; mount -t tmpfs -o size=256k none /srv/small; echo old >/srv/small/data",
        );
        let project = project(testbed, SUDO, r#"file "/srv/small/data" { content (file)"large" }"#);
        project.write("project/files/large", "x".repeat(1024 * 1024)).unwrap();
        let told = apply(&project);
        assert_eq!((told.code, told.state("h1")), (3, HostState::Failed), "{told}");
        let outcomes = told.outcomes("h1", "file[/srv/small/data]");
        let [StepOutcome::Failed { why, restored: Restoration::Nothing, stands: Stands::Unchanged, .. }] =
            outcomes[..]
        else {
            panic!("{told}")
        };
        assert!(why.contains("failed to write /srv/small/data: ") && why.contains("No space left"), "{why}");
        assert!(why.contains("bytes are free"), "{why}");
        assert_eq!(root(host, "cat /srv/small/data; ls -A /srv/small"), "old\ndata");

        root(host, "mount -o remount,size=4m /srv/small");
        converge(&project);
    });
}

#[test]
fn what_cannot_be_changed_is_found_by_the_plan() {
    on_host(|testbed, host| {
        root(host, "mkdir /srv/frozen; echo old >/srv/frozen/data; mount --bind /srv/frozen /srv/frozen
            mount -o remount,bind,ro /srv/frozen; mkdir /srv/fixed; mount -t tmpfs none /srv/fixed; echo old >/srv/fixed/data");
        let frozen = r#"file "/etc/motd" { content "new" }
            file "/srv/frozen/data" { content "new" }"#;
        let check = |body: &str, why: &str| {
            let project = project(testbed, SUDO, body);
            for told in [plan(&project), apply(&project)] {
                assert_eq!(told.code, 3, "{told}");
                let blocked = &told.plan("h1").blocked;
                assert!(blocked.iter().any(|blocked| blocked.why == why), "{told}");
            }
        };
        check(frozen, "/srv/frozen/data cannot change: it is on a read-only file system");
        assert_eq!(root(host, "cat /etc/motd"), "new", "one resource stops no other one before it");
        root(host, "chattr +i /srv/fixed/data");
        check(
            r#"file "/srv/fixed/data" { content "new" }"#,
            "/srv/fixed/data cannot change: it is immutable (chattr +i)",
        );
        root(host, "chattr -i /srv/fixed/data");
        assert_eq!(root(host, "cat /srv/frozen/data /srv/fixed/data"), "old\nold");
    });
}

#[test]
fn a_host_whose_state_has_no_room_is_left_alone() {
    on_host(|testbed, host| {
        let project = project(testbed, SUDO, r#"file "/etc/motd" { content "new" }"#);
        let before = root(host, "cat /etc/motd");
        root(
            host,
            "mkdir -m 700 /var/lib/converge; mount -t tmpfs -o size=64k,mode=700 none /var/lib/converge
            cat /dev/zero >/var/lib/converge/fill 2>/dev/null; true",
        );
        let told = apply(&project);
        assert_eq!((told.code, told.state("h1")), (3, HostState::Failed), "{told}");
        let why = told.problems("h1");
        assert!(why.contains("/var/lib/converge/") && why.contains("No space left"), "{why}");
        assert!(why.contains("0 bytes are free"), "{why}");
        assert_eq!(root(host, "cat /etc/motd; ls -A /etc | grep converge || true"), before);
        root(host, "rm /var/lib/converge/fill");
        converge(&project);
    });
}

#[test]
fn a_mount_that_cannot_be_made_takes_nothing_away_and_one_that_goes_goes_whole() {
    on_host(|testbed, host| {
        root(
            host,
            "mkdir /srv/t /srv/data; echo precious >/srv/data/text
            echo '/srv/data /srv/t none bind 0 0' >/etc/fstab; mount /srv/t
            mkdir /srv/twice; mount -t tmpfs a /srv/twice; mount -t tmpfs b /srv/twice",
        );
        let lost = project(testbed, SUDO, r#"mount "/srv/t" source="/dev/vg0/data" fstype="ext4""#);
        for told in [plan(&lost), apply(&lost)] {
            assert_eq!(told.code, 3, "{told}");
            let blocked = &told.plan("h1").blocked;
            assert!(blocked.iter().any(|blocked| blocked.why.contains("/dev/vg0/data")), "{told}");
        }
        // An error that only mount itself can find: the source exists and has no such file system.
        root(host, "truncate -s 1M /srv/image");
        let wrong =
            project(testbed, SUDO, r#"mount "/srv/t" source="/srv/image" fstype="ext4" { options "loop" }"#);
        let told = apply(&wrong);
        assert_eq!((told.code, told.state("h1")), (3, HostState::Failed), "{told}");
        let [StepOutcome::Failed { restored, stands, .. }] = told.outcomes("h1", "mount[/srv/t]")[..] else {
            panic!("{told}")
        };
        assert_eq!((restored, stands), (&Restoration::Done, &Stands::Unchanged), "{told}");
        let found = root(host, "cat /srv/t/text /etc/fstab; findmnt --noheadings /srv/t | wc -l");
        assert_eq!(found, "precious\n/srv/data /srv/t none bind 0 0\n1", "{told}");

        converge(&project(testbed, SUDO, r#"mount "/srv/twice" state="absent""#));
        assert_eq!(root(host, "findmnt --noheadings /srv/twice || echo none"), "none");
    });
}
