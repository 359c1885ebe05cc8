//! Unpacking: writes each member to its path, or refuses the archive.
//!
//! No path or link in an archive is trusted. A path has only plain parts. Every folder on the way is a real folder,
//! not a link. A link must lead to a path inside the destination. A member that is no file, folder or link is
//! refused.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use converge_model::{PropertyChange, Shown};

use super::Wish;
use super::formats;
use super::members::{Member, MemberSort, refused};
use crate::actor::{Actor, ApplyError, Attributes};
use crate::kit::attributes::printable;
use crate::system::files::Sort;

/// The most members of an archive.
const ENTRIES: usize = 200_000;

struct Unpacking<'w, 'b, 'a> {
    actor: &'b mut Actor<'a>,
    wish: &'w Wish,
    /// The created entries, relative to the destination; a folder comes before its content.
    paths: Vec<PathBuf>,
    known: HashSet<PathBuf>,
    /// Paths that are checked to be folders.
    folders: HashSet<PathBuf>,
    failure: Option<ApplyError>,
}

/// Unpacks the archive. Returns the paths of its entries.
pub(super) fn unpack(actor: &mut Actor<'_>, wish: &Wish) -> Result<Vec<PathBuf>, ApplyError> {
    let file = actor.spool(&wish.to.join("archive"), &wish.source)?;
    let mut unpacking = Unpacking {
        actor,
        wish,
        paths: Vec::new(),
        known: HashSet::new(),
        folders: HashSet::from([PathBuf::new()]),
        failure: None,
    };
    let mut members = 0;
    let done = formats::each(file, wish.max_size, &mut |member, content| {
        members += 1;
        if members > ENTRIES {
            return Err(refused(&format!("an archive with more than {ENTRIES} members")));
        }
        unpacking.member(member, content)
    });
    let failure = unpacking.failure.take();
    let fail = |error: io::Error| failure.unwrap_or_else(|| ApplyError::at("unpack into", &wish.to, &error));
    done.map_err(fail)?;
    Ok(unpacking.paths)
}

/// Removes the entries of an earlier archive that this one does not have.
pub(super) fn remove_left(
    actor: &mut Actor<'_>,
    to: &Path,
    left: &[PathBuf],
    paths: &[PathBuf],
) -> Result<(), ApplyError> {
    let kept: HashSet<_> = paths.iter().collect();
    let mut removed = 0;
    for name in left.iter().rev().filter(|path| !kept.contains(path)) {
        let path = to.join(name);
        let fail = |error: io::Error| ApplyError::at("read", &path, &error);
        let Some(sort) = actor.files().entry(&path).map_err(fail)?.map(|entry| entry.sort) else { continue };
        let goes = match sort {
            Sort::File | Sort::Link => true,
            Sort::Folder => actor.files().list(&path).map_err(fail)?.is_empty(),
            Sort::Special => false,
        };
        if goes {
            actor.remove(&path)?;
            removed += 1;
            // The plan cannot list these entries: the archive is opened only when it is unpacked.
            let told = PropertyChange::new(&shown(name), sort.word(), Shown::Absent);
            actor.unforeseen.extend((removed <= LISTED).then_some(told));
        }
    }
    if removed > LISTED {
        let more = format!("{} more entries", removed - LISTED);
        actor.unforeseen.push(PropertyChange::new("…", more, Shown::Absent));
    }
    Ok(())
}

/// The most removed entries that are listed by name.
const LISTED: usize = 100;

impl Unpacking<'_, '_, '_> {
    fn member(&mut self, member: Member, content: &mut dyn Read) -> io::Result<()> {
        let Some(path) = self.path(&member.path)? else { return Ok(()) };
        let refuse = |what: &str| Err(refused(&format!("an archive with {what} at {}", shown(&path))));
        let done = match &member.sort {
            MemberSort::Other(what) => return refuse(what),
            MemberSort::File if member.mode & 0o6000 != 0 => return refuse("a set-user-id file"),
            MemberSort::Folder => self.folder(&path, member.mode),
            MemberSort::File => self.file(&path, member.mode, content),
            MemberSort::Link(target) if !stays_inside(&path, target) => {
                return refuse("a link to a path outside the directory");
            }
            MemberSort::Link(target) => self.link(&path, target),
            MemberSort::Second(earlier) => match self.path(earlier)? {
                Some(earlier) if self.known.contains(&earlier) => self.second(&path, &earlier, member.mode),
                _ => return refuse("a hard link to a file that is not in it"),
            },
        };
        done.map_err(|error| {
            let message = error.message.clone();
            self.failure = Some(error);
            io::Error::other(message)
        })
    }

    /// The path relative to the destination, after stripping. None if the member is left out.
    fn path(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let mut parts = Vec::new();
        for part in path.components() {
            match part {
                Component::Normal(name) if !name.as_encoded_bytes().contains(&0) => parts.push(name),
                Component::CurDir => {}
                _ => return Err(refused(&format!("an archive with the path {}", shown(path)))),
            }
        }
        let path: PathBuf = parts.iter().skip(self.wish.strip).collect();
        let excluded = self.wish.exclude.iter().any(|excluded| path.starts_with(excluded));
        Ok(if path.as_os_str().is_empty() || excluded { None } else { Some(path) })
    }

    fn folder(&mut self, path: &Path, mode: u32) -> Result<(), ApplyError> {
        self.parents(path)?;
        self.one_folder(path, mode)
    }

    /// Makes the parent folders that have no member of their own.
    fn parents(&mut self, path: &Path) -> Result<(), ApplyError> {
        let parents: Vec<_> = path.ancestors().skip(1).collect();
        parents.into_iter().rev().try_for_each(|parent| self.one_folder(parent, 0o755))
    }

    fn one_folder(&mut self, path: &Path, mode: u32) -> Result<(), ApplyError> {
        if self.folders.contains(path) {
            return Ok(());
        }
        let whole = self.wish.to.join(path);
        match self.sort(&whole)? {
            Some(Sort::Folder) => {}
            // A link is refused, too: the archive would write through it to another place.
            Some(sort) => {
                return Err(ApplyError::at(
                    "make the directory",
                    &whole,
                    &format!("a {} is there", sort.word()),
                ));
            }
            None => self.actor.make_folder(&whole, &self.attributes(mode | 0o700))?,
        }
        self.folders.insert(path.to_owned());
        self.made(path);
        Ok(())
    }

    fn file(&mut self, path: &Path, mode: u32, content: &mut dyn Read) -> Result<(), ApplyError> {
        self.parents(path)?;
        let whole = self.free(path)?;
        self.actor.write_one_of_many(&whole, content, &self.attributes(mode))?;
        self.made(path);
        Ok(())
    }

    fn link(&mut self, path: &Path, target: &Path) -> Result<(), ApplyError> {
        self.parents(path)?;
        let whole = self.free(path)?;
        self.actor.link(&whole, target)?;
        let owned = Attributes { mode: None, ..self.wish.attributes.clone() };
        if owned != Attributes::default() {
            self.actor.set_attributes(&whole, &owned)?;
        }
        self.made(path);
        Ok(())
    }

    /// Writes a hard link as a copy: a later change of one file must not change the other.
    fn second(&mut self, path: &Path, earlier: &Path, mode: u32) -> Result<(), ApplyError> {
        let whole = self.wish.to.join(earlier);
        let opened = self.actor.files().open(&whole);
        let mut file = opened.map_err(|error| ApplyError::at("read", &whole, &error))?;
        self.file(path, mode, &mut file)
    }

    /// The full path for a file or a link. Fails if a folder or a special file is in the way.
    fn free(&self, path: &Path) -> Result<PathBuf, ApplyError> {
        let whole = self.wish.to.join(path);
        match self.sort(&whole)? {
            Some(sort @ (Sort::Folder | Sort::Special)) => {
                Err(ApplyError::at("write", &whole, &format!("a {} is in the way", sort.word())))
            }
            _ => Ok(whole),
        }
    }

    fn sort(&self, path: &Path) -> Result<Option<Sort>, ApplyError> {
        let entry = self.actor.files().entry(path).map_err(|error| ApplyError::at("read", path, &error))?;
        Ok(entry.map(|entry| entry.sort))
    }

    fn attributes(&self, mode: u32) -> Attributes {
        Attributes { mode: Some(mode & 0o755), ..self.wish.attributes.clone() }
    }

    fn made(&mut self, path: &Path) {
        if self.known.insert(path.to_owned()) {
            self.paths.push(path.to_owned());
        }
    }
}

/// Whether a link at `path` leads to a path inside the destination. A `..` after a name is refused: the name may be a
/// link, and then the parent is unknown.
fn stays_inside(path: &Path, target: &Path) -> bool {
    let depth = path.components().count().saturating_sub(1);
    let is_up = |part: &Component<'_>| matches!(part, Component::ParentDir);
    let parts: Vec<_> = target.components().filter(|part| *part != Component::CurDir).collect();
    let up = parts.iter().take_while(|part| is_up(part)).count();
    let plain = parts[up..].iter().all(|part| matches!(part, Component::Normal(_)));
    up <= depth && plain && !target.as_os_str().is_empty()
}

fn shown(path: &Path) -> String {
    printable(path.as_os_str())
}
