use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use converge_model::{Certainty, Params, PropertyChange, Shown, Value, Verb};
use flate2::{Compression, Crc, write::DeflateEncoder, write::GzEncoder};
use tar::{EntryType, Header};

use crate::kinds::testing::{Trial, change, impossible, params};

/// A member of a test's archive: its type, path, mode, and content or target.
type Item<'a> = (EntryType, &'a str, u32, &'a str);

const FILE: EntryType = EntryType::Regular;

fn tar(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (sort, path, mode, body) in items {
        let mut header = Header::new_gnu();
        header.set_entry_type(*sort);
        header.set_mode(*mode);
        // Writes the path bytes directly: the tar crate refuses the paths of a hostile archive.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        let link = matches!(sort, EntryType::Symlink | EntryType::Link);
        if link {
            header.as_gnu_mut().unwrap().linkname[..body.len()].copy_from_slice(body.as_bytes());
        }
        let content = if link { "" } else { body };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zip archive in the layout of Info-ZIP: the mode is in the upper half of the external attributes.
fn zip(items: &[(&str, u32, &str)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, mode, body) in items {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body.as_bytes()).unwrap();
        let packed = encoder.finish().unwrap();
        let mut crc = Crc::new();
        crc.update(body.as_bytes());
        let offset = bytes.len() as u32;
        let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
        for number in [crc.sum(), packed.len() as u32, body.len() as u32] {
            common.extend(number.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        bytes.extend([b"PK\x03\x04", &common[..], name.as_bytes(), &packed].concat());
        directory.extend([b"PK\x01\x02\x14\x03", &common[..], &[0; 6]].concat());
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = bytes.len() as u32;
    let count = (items.len() as u16).to_le_bytes();
    let size = (directory.len() as u32).to_le_bytes();
    let end = [b"PK\x05\x06", &[0; 4][..], &count, &count, &size, &start.to_le_bytes(), &[0, 0]].concat();
    [bytes, directory, end].concat()
}

fn archive(trial: &Trial, bytes: &[u8], more: &[(&str, Value)]) -> Params {
    let mut params = params([("to", "/opt".into()), ("source", trial.content(bytes))]);
    more.iter().for_each(|(name, value)| params.set(name, value.clone()));
    params
}

fn left(trial: &Trial) -> Vec<String> {
    let image = trial.image();
    let below = image.keys().filter_map(|path| path.strip_prefix("/opt").ok());
    below.map(|path| path.display().to_string()).filter(|path| !path.is_empty()).collect()
}

#[test]
fn every_format_is_unpacked_and_obeys_the_laws() {
    let items = [
        (EntryType::Directory, "app-1/", 0o775, ""),
        (FILE, "app-1/bin/run", 0o777, "#!/bin/sh\n"),
        (EntryType::Symlink, "app-1/run", 0o777, "bin/run"),
        (EntryType::Link, "app-1/same", 0o755, "app-1/bin/run"),
        (FILE, "./app-1/doc/README", 0o644, "read me"),
    ];
    let zipped = zip(&[
        ("app-1/", 0o040755, ""),
        ("app-1/bin/run", 0o100755, "#!/bin/sh\n"),
        ("app-1/run", 0o120777, "bin/run"),
        ("app-1/same", 0o100755, "#!/bin/sh\n"),
        ("app-1/doc/README", 0o100644, "read me"),
    ]);
    for bytes in [tar(&items), gz(&tar(&items)), zipped] {
        let trial = Trial::new();
        let wish = archive(
            &trial,
            &bytes,
            &[("strip-components", 1.into()), ("exclude", Value::List(vec!["doc".into()]))],
        );
        let change = trial.laws("archive", &wish);
        assert_eq!(change.verb, Verb::Create);
        assert_eq!(left(&trial), ["bin", "bin/run", "run", "same"]);
        assert_eq!(trial.read("/opt/run"), b"#!/bin/sh\n");
        let mode = |path| fs::metadata(trial.at(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("/opt/bin/run"), mode("/opt/bin")), (0o755, 0o755));
    }
}

#[test]
fn another_archive_replaces_what_the_first_brought_and_nothing_else() {
    let trial = Trial::new();
    let first = tar(&[(FILE, "a", 0o644, "1"), (FILE, "old/x", 0o644, "1"), (FILE, "old/log/y", 0o644, "")]);
    trial.laws("archive", &archive(&trial, &first, &[]));
    trial.write("/opt/old/log/own", "not of the archive");
    let second = archive(&trial, &tar(&[(FILE, "a", 0o644, "2"), (FILE, "b", 0o644, "2")]), &[]);
    assert_eq!(trial.laws("archive", &second).verb, Verb::Update);
    assert_eq!(left(&trial), ["a", "b", "old", "old/log", "old/log/own"]);
}

#[test]
fn what_goes_with_an_older_archive_is_told_after_the_step() {
    let trial = Trial::new();
    let many: Vec<_> = (0..103).map(|number| format!("old/{number:03}")).collect();
    let mut items = vec![(FILE, "a", 0o644, "1")];
    items.extend(many.iter().map(|name| (FILE, name.as_str(), 0o644, "")));
    trial.apply("archive", &archive(&trial, &tar(&items), &[])).unwrap();
    assert_eq!(*trial.unforeseen.lock().unwrap(), []);
    let next = archive(&trial, &tar(&[(FILE, "a", 0o644, "2")]), &[]);
    trial.apply("archive", &next).unwrap();
    let told = trial.unforeseen.lock().unwrap();
    assert_eq!(told.len(), 101);
    assert_eq!(told[0], PropertyChange::new("old/102", "file", Shown::Absent));
    assert_eq!(told[100], PropertyChange::new("…", "4 more entries", Shown::Absent));
}

#[test]
fn what_was_changed_since_is_unpacked_again() {
    let change_it: [fn(&Trial); 3] = [
        |trial| trial.write("/opt/a", "2 and longer"),
        |trial| fs::remove_file(trial.at("/opt/a")).unwrap(),
        |trial| fs::set_permissions(trial.at("/opt/a"), fs::Permissions::from_mode(0o600)).unwrap(),
    ];
    for change_it in change_it {
        let trial = Trial::new();
        let wish = archive(&trial, &tar(&[(FILE, "a", 0o644, "1")]), &[]);
        trial.laws("archive", &wish);
        trial.write("/opt/not-of-it", "stays unseen");
        trial.assert_in_sync("archive", &wish);
        change_it(&trial);
        trial.laws("archive", &wish);
        assert_eq!(trial.read("/opt/a"), b"1");
    }
}

#[test]
fn directories_of_an_archive_have_its_modes_without_what_others_could_write() {
    let trial = Trial::new();
    let items = [
        (EntryType::Directory, "closed/", 0o700, ""),
        (EntryType::Directory, "open/", 0o2777, ""),
        (FILE, "between/x", 0o666, "x"),
    ];
    trial.laws("archive", &archive(&trial, &tar(&items), &[]));
    let mode = |path| fs::metadata(trial.at(path)).unwrap().permissions().mode() & 0o7777;
    let modes = ["/opt/closed", "/opt/open", "/opt/between", "/opt/between/x"].map(mode);
    assert_eq!(modes, [0o700, 0o755, 0o755, 0o644]);
}

#[test]
fn an_empty_archive_brings_nothing() {
    let trial = Trial::new();
    trial.laws("archive", &archive(&trial, b"", &[]));
    assert_eq!(left(&trial), [""; 0]);
}

#[test]
fn the_directory_gets_its_mode_though_it_is_there_already() {
    let trial = Trial::new();
    fs::create_dir(trial.at("/opt")).unwrap();
    let bytes = tar(&[(FILE, "a", 0o644, "1")]);
    let closed = archive(&trial, &bytes, &[("mode", 0o700.into())]);
    trial.laws("archive", &closed);
    let open = archive(&trial, &bytes, &[("mode", 0o755.into())]);
    let change = trial.laws("archive", &open);
    let names: Vec<_> = change.properties.iter().map(|property| property.property.as_str()).collect();
    assert_eq!(names, ["mode"], "the archive is unpacked already");
}

#[test]
fn what_is_no_file_is_not_replaced_by_one() {
    let check = |make: fn(&Trial), expected: &str| {
        let trial = Trial::new();
        fs::create_dir(trial.at("/opt")).unwrap();
        make(&trial);
        let wish = archive(&trial, &tar(&[(FILE, "a", 0o644, "1")]), &[]);
        let error = trial.apply("archive", &wish).err().unwrap();
        assert!(error.message.contains(expected), "{}", error.message);
    };
    check(|trial| fs::create_dir(trial.at("/opt/a")).unwrap(), "a directory is in the way");
    let fifo = |trial: &Trial| {
        let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(rustix::fs::CWD, trial.at("/opt/a"), fifo, mode, 0).unwrap();
    };
    check(fifo, "a special file is in the way");
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    let bomb = gz(&tar(&[(FILE, "zeros", 0o644, &"\0".repeat(70 << 20))]));
    let many = tar(&[(FILE, "a", 0o644, "0123456789")]);
    let check = |bytes: &[u8], more: &[(&str, Value)], expected: &str| {
        let trial = Trial::new();
        trial.write("/outside", "safe");
        let before = trial.image();
        let mut undo = trial.undo();
        let wish = archive(&trial, bytes, more);
        let error = trial.apply_keeping("archive", &wish, &mut undo).unwrap_err();
        assert!(error.message.contains(expected), "{expected}: {}", error.message);
        trial.restore(undo);
        assert_eq!(trial.image(), before, "{expected}");
    };
    check(&tar(&[(FILE, "../outside", 0o644, "x")]), &[], "the path ../outside");
    check(&tar(&[(FILE, "a/../../outside", 0o644, "x")]), &[], "the path");
    check(&tar(&[(FILE, "/outside", 0o644, "x")]), &[], "the path /outside");
    check(&zip(&[("../outside", 0o100644, "x")]), &[], "the path ../outside");
    check(&zip(&[("a\0b", 0o100644, "x")]), &[], "the path a\\u{0}b");
    let mut beyond = zip(&[("a", 0o100644, "x")]);
    let offset = beyond.len() - 6;
    beyond[offset] = 0xff;
    check(&beyond, &[], "a damaged zip archive");
    check(
        &tar(&[(EntryType::Symlink, "l", 0o777, "/etc")]),
        &[],
        "a link to a path outside the directory at l",
    );
    check(&tar(&[(EntryType::Symlink, "l", 0o777, "..")]), &[], "a link to a path outside the directory");
    check(
        &tar(&[(EntryType::Symlink, "a/l", 0o777, "x/../../..")]),
        &[],
        "a link to a path outside the directory",
    );
    let through = [(EntryType::Symlink, "l", 0o777, "d"), (FILE, "l/x", 0o644, "x")];
    check(&tar(&through), &[], "a link is there");
    check(&tar(&[(EntryType::Link, "h", 0o644, "../outside")]), &[], "the path");
    check(&tar(&[(EntryType::Link, "h", 0o644, "missing")]), &[], "a hard link to a file that is not in it");
    check(&tar(&[(EntryType::Char, "d", 0o644, "")]), &[], "a device at d");
    check(&tar(&[(EntryType::Fifo, "f", 0o644, "")]), &[], "a FIFO at f");
    check(&tar(&[(FILE, "suid", 0o4755, "x")]), &[], "a set-user-id file at suid");
    check(&bomb, &[], "larger, when unpacked");
    check(&many, &[("max-size", 600.into())], "larger, when unpacked");
    check(b"#!/bin/sh\n", &[], "not a tar, tar.gz or zip archive");
    check(b"\xfd7zXZ\0", &[], "compressed with xz");
    let mut torn = zip(&[("a", 0o100644, "content that is long enough")]);
    torn[35] ^= 0x55;
    check(&torn, &[], "failed to");
}

#[test]
fn a_link_of_an_earlier_time_is_not_written_through() {
    let trial = Trial::new();
    fs::create_dir_all(trial.at("/opt")).unwrap();
    symlink("/etc", trial.at("/opt/conf")).unwrap();
    let wish = archive(&trial, &tar(&[(FILE, "conf/passwd", 0o644, "x")]), &[]);
    let error = trial.apply("archive", &wish).err().unwrap();
    assert!(error.message.contains("a link is there"), "{}", error.message);
    assert_ne!(trial.read("/etc/passwd"), b"x");
}

#[test]
fn what_it_brings_is_not_known_before() {
    let trial = Trial::new();
    let look = trial.look("archive", &archive(&trial, &tar(&[(FILE, "etc/a", 0o644, "1")]), &[]));
    let below = params([("path", "/opt/etc/b".into()), ("content", trial.content("b"))]);
    let change = change(trial.plan_after(look.effects, "file", &below));
    assert!(matches!(change.certainty, Certainty::Conditional { .. }));
}

#[test]
fn a_file_in_the_way_and_a_missing_parent_are_errors_of_the_plan() {
    let trial = Trial::new();
    let mut wish = archive(&trial, b"", &[]);
    trial.write("/opt", "a file");
    assert_eq!(impossible(trial.plan("archive", &wish)), "a file is in the way");
    wish.set("to", "/none/opt".into());
    assert_eq!(impossible(trial.plan("archive", &wish)), "the folder /none does not exist");
}

proptest::proptest! {
    #[test]
    fn damaged_archives_never_panic(at in 0usize..2000, byte in proptest::prelude::any::<u8>(), kind in 0..3) {
        let items = [(FILE, "a/b", 0o644, "content"), (EntryType::Symlink, "l", 0o777, "a")];
        let mut bytes = match kind {
            0 => tar(&items),
            1 => gz(&tar(&items)),
            _ => zip(&[("a/b", 0o100644, "content"), ("l", 0o120777, "a")]),
        };
        let at = at % bytes.len();
        bytes[at] = byte;
        let trial = Trial::new();
        trial.write("/outside", "safe");
        let _ = trial.apply("archive", &archive(&trial, &bytes, &[]));
        proptest::prop_assert_eq!(trial.read("/outside"), b"safe");
    }
}

#[test]
fn an_archive_comes_from_one_place() {
    let trial = Trial::new();
    let content = || trial.content(tar(&[(FILE, "a", 0o644, "")]));
    let check = |more: &[(&str, Value)], problems: usize| {
        let mut wish = params([("to", "/opt".into())]);
        more.iter().for_each(|(name, value)| wish.set(name, value.clone()));
        assert_eq!(trial.problems("archive", &wish).len(), problems, "{more:?}");
    };
    check(&[("source", content())], 0);
    check(&[("from", content())], 0);
    check(&[], 1);
    check(&[("source", content()), ("from", content())], 1);
}
