//! Tests of what an actor keeps and restores on a trial host.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use converge_model::Digest;

use super::*;
use crate::kinds::testing::Trial;

/// A source that is interrupted before each byte, like a read by a signal.
struct Interrupted<'t>(&'t [u8], bool);

impl Read for Interrupted<'_> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(&mut piece[..1]) }
    }
}

#[test]
fn a_write_that_is_interrupted_goes_on_and_one_that_fails_leaves_nothing() {
    let trial = Trial::new();
    let (path, own) = (Path::new("/etc/x"), Attributes::default());
    let write =
        |from: &mut dyn Read| trial.act(&mut trial.undo(), |actor| actor.write_one_of_many(path, from, &own));
    write(&mut Interrupted(b"all of it", false)).unwrap();
    assert_eq!(trial.read("/etc/x"), b"all of it");
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("it broke"))
        }
    }
    let before = trial.image();
    assert_eq!(write(&mut Broken).unwrap_err().message, "failed to write /etc/x: it broke");
    assert_eq!(trial.image(), before);
}

#[test]
fn a_copy_has_all_that_the_file_has_and_none_is_made_of_nothing() {
    let trial = Trial::new();
    trial.write("/etc/x", "text");
    fs::set_permissions(trial.at("/etc/x"), fs::Permissions::from_mode(0o640)).unwrap();
    let copy = |from: &str| {
        trial.act(&mut trial.undo(), |actor| actor.copy_file(from.as_ref(), "/etc/copy".as_ref())).unwrap();
    };
    copy("/etc/none");
    assert!(!trial.at("/etc/copy").exists());
    trial.write("/etc/copy", "older");
    copy("/etc/x");
    assert_eq!(trial.read("/etc/copy"), b"text");
    assert_eq!(fs::metadata(trial.at("/etc/copy")).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn what_was_kept_is_restored_in_reverse_and_the_rest_of_it_although_one_fails() {
    let trial = Trial::new();
    for name in ["a", "b", "c"] {
        trial.write(&format!("/srv/{name}/x"), "old");
    }
    let mut undo = trial.undo();
    for (owner, text) in [(0, "one"), (1, "two")] {
        undo.begin(owner, false);
        for name in ["a", "b", "c"] {
            let path = format!("/srv/{name}/x");
            let none = Attributes::default();
            trial
                .act(&mut undo, |actor| {
                    actor.write_text(path.as_ref(), text.as_bytes(), &none, |_, _| Ok(()))
                })
                .unwrap();
        }
    }
    let system = trial.world();
    assert!(undo.restore(system, &[1]).unwrap());
    assert_eq!(trial.read("/srv/a/x"), b"one", "what the other resource did stays");
    fs::remove_dir_all(trial.at("/srv/b")).unwrap();
    let error = undo.restore(system, &[0]).unwrap_err();
    assert!(error.message.starts_with("failed to restore /srv/b/x: "), "{error}");
    assert_eq!((trial.read("/srv/a/x"), trial.read("/srv/c/x")), (b"old".to_vec(), b"old".to_vec()));
    assert!(!undo.restore(system, &[0, 1]).unwrap(), "nothing is kept any more");
}

#[test]
fn a_note_of_ours_alone_is_nothing_that_was_restored() {
    let trial = Trial::new();
    let mut undo = trial.undo();
    let none = Digest::of(b"");
    let receipt = Receipt { source: none, seen: none, paths: Vec::new(), text: "x".into() };
    trial.act(&mut undo, |actor| actor.set_receipt("a:b", Some(&receipt))).unwrap();
    assert!(!undo.restore(trial.world(), &[0]).unwrap());
    assert!(trial.view(|view| view.receipt("a:b").unwrap()).is_none());
}

#[test]
fn what_is_no_file_is_kept_as_what_it_is_or_left_alone() {
    let trial = Trial::new();
    symlink("there", trial.at("/etc/link")).unwrap();
    fs::create_dir(trial.at("/etc/empty")).unwrap();
    fs::set_permissions(trial.at("/etc/empty"), fs::Permissions::from_mode(0o701)).unwrap();
    let fifo = trial.at("/etc/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let before = trial.image();
    let mut undo = trial.undo();
    trial.act(&mut undo, |actor| actor.link("/etc/link".as_ref(), "elsewhere".as_ref())).unwrap();
    trial.act(&mut undo, |actor| actor.remove("/etc/empty".as_ref())).unwrap();
    trial.act(&mut undo, |actor| actor.remove("/etc/none".as_ref())).unwrap();
    assert_eq!(fs::read_link(trial.at("/etc/link")).unwrap(), Path::new("elsewhere"));
    assert!(!trial.at("/etc/empty").exists());
    let error = trial.act(&mut undo, |actor| actor.remove("/etc/fifo".as_ref())).unwrap_err();
    assert!(error.message.contains("it is a device, a socket or a FIFO"), "{error}");
    trial.restore(undo);
    assert_eq!(trial.image(), before);
}
