//! How a step writes files: whole, into a temporary beside them. The temporary is synced, checked and renamed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use converge_model::Digest;

use super::kept::Kept;
use super::{Actor, ApplyError, Attributes};
use crate::system::files::{Files, Metadata, Sort, in_pieces, temporary_name};
use crate::wish::Filling;

/// Where a file is written, and the metadata of the file that it replaces.
struct Target<'p> {
    path: &'p Path,
    before: Option<Metadata>,
}

/// How a content is written.
#[derive(Clone, Copy)]
struct Content {
    /// The expected digest.
    digest: Option<Digest>,
    /// Whether it is synced at once.
    sync: bool,
}

impl Actor<'_> {
    /// Writes the file at `path` whole: into a temporary beside it, synced, renamed. `check` gets the temporary
    /// before the rename, under the path that processes see.
    pub fn write(
        &mut self,
        path: &Path,
        content: &Filling,
        attributes: &Attributes,
        check: impl FnOnce(&mut Self, &Path) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let (contents, target) = (self.contents, self.target(path)?);
        match content {
            Filling::Plain { length: 0, .. } => {
                self.write_from(target, &mut io::empty(), None, attributes, check)
            }
            Filling::Plain { digest, .. } => {
                let mut from = contents.open(*digest)?;
                self.write_from(target, &mut from, Some(*digest), attributes, check)
            }
            Filling::Secret(secret) => {
                let before = std::mem::replace(&mut self.sensitive, true);
                let attributes = Attributes { secret: true, ..attributes.clone() };
                let done = self.write_from(target, &mut secret.expose(), None, &attributes, check);
                self.sensitive = before;
                done
            }
        }
    }

    /// Like [`Actor::write`], with text that the kind made itself.
    pub fn write_text(
        &mut self,
        path: &Path,
        text: &[u8],
        attributes: &Attributes,
        check: impl FnOnce(&mut Self, &Path) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let (mut from, target) = (text, self.target(path)?);
        self.write_from(target, &mut from, None, attributes, check)
    }

    /// Like [`Actor::write_text`], with an edit of the text `old` that the look found in the file. The file must
    /// still hold it. Otherwise its owner has put another file there, and would get the content of that one.
    pub fn write_edited(
        &mut self,
        path: &Path,
        [old, new]: [&[u8]; 2],
        attributes: &Attributes,
        check: impl FnOnce(&mut Self, &Path) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("read", path, &error);
        let mut file = self.files().open(path).map_err(fail)?;
        let mut now = Vec::new();
        (&mut file).take(old.len() as u64 + 1).read_to_end(&mut now).map_err(fail)?;
        if now != old {
            return Err(ApplyError::at("write", path, &"it changed since it was read"));
        }
        let target = Target { path, before: Some(Metadata::of(&file).map_err(fail)?) };
        let mut from = new;
        self.write_from(target, &mut from, None, attributes, check)
    }

    /// Like [`Actor::write_text`], read from `from`, for one of many files that are made together. It is durable only
    /// after [`Actor::sync`]. A new file is written without a temporary: none counts until all are there.
    pub fn write_one_of_many(
        &mut self,
        path: &Path,
        from: &mut dyn Read,
        attributes: &Attributes,
    ) -> Result<(), ApplyError> {
        let content = Content { digest: None, sync: false };
        if self.entry(path)?.is_some() {
            let fill = |actor: &mut Self, name: &OsString| actor.fill(path, name, from, content);
            return self.put(self.target(path)?, attributes, false, fill, |_, _| Ok(()));
        }
        self.undo.push(self.system, Kept::Nothing(path.to_owned()))?;
        let name = path.file_name().unwrap_or_default().to_owned();
        self.fill(path, &name, from, content).and_then(|file| self.dress(file, path, None, attributes))
    }

    /// Like [`Actor::write_text`], with content that `fill` writes into the new file, itself or by a process that it
    /// starts.
    pub fn write_by(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        fill: impl FnOnce(&mut Self, &mut File) -> Result<(), ApplyError>,
        check: impl FnOnce(&mut Self, &Path) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let fill = |actor: &mut Self, name: &OsString| {
            let fail = |error: io::Error| ApplyError::at("write", path, &error);
            let mut file = actor.files().create_beside(path, name).map_err(fail)?;
            fill(actor, &mut file)?;
            file.sync_all().map_err(fail).map(|()| file)
        };
        self.put(self.target(path)?, attributes, true, fill, check)
    }

    /// Syncs the file system that holds the folder at `path`.
    pub fn sync(&self, path: &Path) -> Result<(), ApplyError> {
        self.files().sync(path).map_err(|error| ApplyError::at("sync", path, &error))
    }

    /// Returns the whole content as an unnamed file on the file system of `path`. It is freed when the last handle is
    /// closed.
    pub fn spool(&mut self, path: &Path, content: &Filling) -> Result<File, ApplyError> {
        let name = temporary_name(path.file_name().unwrap_or(OsStr::new("root")));
        let beside = path.with_file_name(&name);
        self.journal.temporary(&beside)?;
        let contents = self.contents;
        let fill =
            |from: &mut dyn Read, digest| self.fill(path, &name, from, Content { digest, sync: false });
        let filled = match content {
            Filling::Plain { length: 0, .. } => fill(&mut io::empty(), None),
            Filling::Plain { digest, .. } => {
                contents.open(*digest).and_then(|mut from| fill(&mut from, Some(*digest)))
            }
            Filling::Secret(secret) => fill(&mut secret.expose(), None),
        };
        let file = filled.and_then(|_written| {
            self.files().open(&beside).map_err(|error| ApplyError::at("read", &beside, &error))
        });
        let removed = self.files().remove_beside(&name, path);
        let file = file?;
        removed.map_err(|error| ApplyError::at("remove", &beside, &error)).map(|()| file)
    }

    /// Copies the file `from` over `to`, with all its metadata. The old file at `to` is not kept.
    pub fn copy_file(&mut self, from: &Path, to: &Path) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("copy", from, &error);
        if self.entry(from)?.is_none() {
            return Ok(());
        }
        // Metadata and content come from one open file, even if another file takes its name meanwhile.
        let mut source = self.files().open(from).map_err(fail)?;
        let metadata = Metadata::of(&source).map_err(fail)?;
        let name = temporary_name(to.file_name().unwrap_or_default());
        self.journal.temporary(&to.with_file_name(&name))?;
        let mut copy = self.files().create_beside(to, &name).map_err(fail)?;
        io::copy(&mut source, &mut copy).map_err(fail)?;
        copy.sync_all().map_err(fail)?;
        metadata.give(&copy).map_err(fail)?;
        self.files().rename_beside(&name, to).map_err(fail)
    }

    fn write_from(
        &mut self,
        target: Target<'_>,
        from: &mut dyn Read,
        digest: Option<Digest>,
        attributes: &Attributes,
        check: impl FnOnce(&mut Self, &Path) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let (path, content) = (target.path, Content { digest, sync: true });
        let fill = |actor: &mut Self, name: &OsString| actor.fill(path, name, from, content);
        self.put(target, attributes, true, fill, check)
    }

    /// Lets `fill` make a file beside the target, and renames it into place.
    fn put(
        &mut self,
        Target { path, before }: Target<'_>,
        attributes: &Attributes,
        sync: bool,
        fill: impl FnOnce(&mut Self, &OsString) -> Result<File, ApplyError>,
        check: impl FnOnce(&mut Self, &Path) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let name = temporary_name(path.file_name().unwrap_or(OsStr::new("root")));
        let beside = path.with_file_name(&name);
        self.journal.temporary(&beside)?;
        let done = fill(self, &name)
            .and_then(|file| self.dress(file, &beside, before, attributes))
            .and_then(|()| check(self, &self.files().outside(&beside)))
            .and_then(|()| self.keep(path))
            .and_then(|()| {
                let rename = if sync { Files::rename_beside } else { Files::rename_unsynced };
                rename(self.files(), &name, path).map_err(|error| ApplyError::at("write", path, &error))
            });
        if done.is_err() {
            // Ignored: the reason of the failure is what counts. The journal names a temporary that stays.
            let _ = self.files().remove_beside(&name, path);
        }
        done
    }

    /// Fills the temporary, syncs it, and compares the digest with the expected one.
    fn fill(
        &self,
        path: &Path,
        name: &OsString,
        from: &mut dyn Read,
        content: Content,
    ) -> Result<File, ApplyError> {
        let fail = |error: io::Error| {
            let free = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => path
                    .parent()
                    .and_then(|folder| self.files().free_space(folder).ok())
                    .map(|free| format!(" ({free} bytes are free there)"))
                    .unwrap_or_default(),
                _ => String::new(),
            };
            ApplyError::at("write", path, &format!("{error}{free}"))
        };
        let mut file = self.files().create_beside(path, name).map_err(fail)?;
        let mut hasher = blake3::Hasher::new();
        let copied = in_pieces(from, |piece| {
            hasher.update(piece);
            file.write_all(piece)
        });
        copied.map_err(fail)?;
        if content.sync {
            file.sync_all().map_err(fail)?;
        }
        match content.digest {
            Some(wanted) if wanted != hasher.finalize().into() => {
                Err(ApplyError::at("write", path, &"the content that arrived differs from the catalog"))
            }
            _ => Ok(file),
        }
    }

    fn target<'p>(&self, path: &'p Path) -> Result<Target<'p>, ApplyError> {
        Ok(Target { path, before: self.metadata_of_file(path)? })
    }

    /// Returns the metadata of the regular file at `path`. None if there is none.
    fn metadata_of_file(&self, path: &Path) -> Result<Option<Metadata>, ApplyError> {
        match self.entry(path)? {
            Some(entry) if entry.sort == Sort::File => self.metadata(path),
            _ => Ok(None),
        }
    }
}
