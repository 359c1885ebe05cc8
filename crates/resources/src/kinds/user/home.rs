//! The home of a `user`: its creation from `/etc/skel`, and its effects for later steps.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::overlay::{Bytes, Effect};
use crate::system::accounts::AccountDefaults;
use crate::system::files::Sort;
use crate::view::{Body, LookError, Place, Seen, TEXT_LIMIT, View};

/// The content of a folder, as the pattern of a home.
pub(super) struct Skeleton {
    /// The source folder.
    from: PathBuf,
    /// The folder itself.
    folder: Place,
    /// The content with relative paths; a folder comes before its content.
    items: Vec<(PathBuf, Place)>,
}

/// The most entries that are read below a folder.
const MOST: usize = 1000;

/// The largest file with its content in the effects, in bytes.
const TOLD: u64 = 256 * 1024;

/// The pattern of a new home.
pub(super) fn skeleton(view: &View<'_>, defaults: &AccountDefaults) -> Result<Skeleton, LookError> {
    let found = below(view, &defaults.skeleton, 8)?;
    let mut skeleton = match found {
        Some(skeleton) => skeleton,
        None => Skeleton { from: defaults.skeleton.clone(), folder: empty_folder(view)?, items: Vec::new() },
    };
    skeleton.folder.mode = defaults.home_mode;
    Ok(skeleton)
}

/// Reads `folder` and the content below it, `levels` deep. None if it is no folder.
pub(super) fn below(view: &View<'_>, folder: &Path, levels: usize) -> Result<Option<Skeleton>, LookError> {
    let Seen::Known(place) = view.place(folder)? else { return Ok(None) };
    if place.sort != Sort::Folder {
        return Ok(None);
    }
    let mut skeleton = Skeleton { from: folder.to_owned(), folder: place, items: Vec::new() };
    let mut todo: Vec<(PathBuf, usize)> = vec![(PathBuf::new(), levels)];
    while let Some((part, levels)) = todo.pop() {
        let names: Vec<OsString> = view.list(&folder.join(&part))?.known().unwrap_or_default();
        for name in names {
            let part = part.join(name);
            let Seen::Known(place) = view.place(&folder.join(&part))? else { continue };
            if place.sort == Sort::Folder && levels > 1 {
                todo.push((part.clone(), levels - 1));
            }
            if place.sort != Sort::Special && skeleton.items.len() < MOST {
                let place = told(view, &folder.join(&part), place)?;
                skeleton.items.push((part, place));
            }
        }
    }
    Ok(Some(skeleton))
}

/// A place with its content, so that it is complete at any path.
fn told(view: &View<'_>, path: &Path, place: Place) -> Result<Place, LookError> {
    let body = match &place.body {
        Body::OnDisk if place.sort == Sort::File && place.size <= TOLD => match view.text(path)? {
            Seen::Known(text) => Body::Text(Bytes::from(text)),
            _ => Body::Unknown(Vec::new()),
        },
        Body::OnDisk if place.sort == Sort::File => Body::Unknown(Vec::new()),
        body => body.clone(),
    };
    Ok(Place { body, ..place })
}

fn empty_folder(view: &View<'_>) -> Result<Place, LookError> {
    let (owner, group) = view.own_names()?;
    Ok(Place { sort: Sort::Folder, mode: 0o755, owner, group, size: 0, target: None, body: Body::OnDisk })
}

impl Skeleton {
    /// The mode of the home.
    pub(super) fn mode(&self) -> u32 {
        self.folder.mode
    }

    /// The effects at `home`. All entries belong to `owner` if it is given, else they keep their owners.
    pub(super) fn effects(&self, home: &Path, owner: Option<(&str, &str)>) -> Vec<Effect> {
        let owned = |place: &Place| match owner {
            Some((user, group)) => Place { owner: user.to_owned(), group: group.to_owned(), ..place.clone() },
            None => place.clone(),
        };
        let folder = Effect::Path(home.to_owned(), Some(owned(&self.folder)));
        let items = self.items.iter().map(|(part, place)| Effect::Path(home.join(part), Some(owned(place))));
        [folder].into_iter().chain(items).collect()
    }

    /// Makes `home` from the pattern. The user cannot access it before it is complete.
    pub(super) fn make(
        &self,
        actor: &mut Actor<'_>,
        home: &Path,
        user: &str,
        group: &str,
    ) -> Result<(), ApplyError> {
        let theirs = |mode: u32| Attributes {
            mode: Some(mode),
            owner: Some(user.to_owned()),
            group: Some(group.to_owned()),
            secret: false,
        };
        actor.make_folder(home, &Attributes { mode: Some(0o700), ..Attributes::default() })?;
        for (part, place) in &self.items {
            let (from, to) = (self.from.join(part), home.join(part));
            match (place.sort, &place.target) {
                (Sort::Folder, _) => actor.make_folder(&to, &theirs(place.mode))?,
                (Sort::Link, Some(target)) => {
                    actor.link(&to, target)?;
                    actor.set_attributes(&to, &theirs(0o777))?;
                }
                (Sort::File, _) => {
                    let text = actor.files().read(&from, TEXT_LIMIT);
                    let text = text.map_err(|error| ApplyError::at("read", &from, &error))?;
                    actor.write_text(&to, &text, &theirs(place.mode), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
        actor.set_attributes(home, &theirs(self.mode()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::Trial;

    #[test]
    fn a_pattern_is_read_so_deep_and_later_steps_are_told_short_files_alone() {
        let trial = Trial::new();
        trial.write("/etc/skel/short", "x\n");
        trial.write("/etc/skel/limit", vec![b'x'; TOLD as usize]);
        trial.write("/etc/skel/long", vec![b'x'; TOLD as usize + 1]);
        trial.write("/etc/skel/a/b/c", "x\n");
        std::os::unix::fs::symlink("short", trial.at("/etc/skel/link")).unwrap();
        let fifo = trial.at("/etc/skel/fifo");
        rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let found = trial.view(|view| below(view, Path::new("/etc/skel"), 2).unwrap().unwrap());
        let body = |body: &Body| match body {
            Body::OnDisk => "none",
            Body::Text(_) => "told",
            Body::Unknown(_) => "unknown",
            Body::Planned(_) => "planned",
        };
        let mut items: Vec<_> =
            found.items.iter().map(|(part, place)| (part.to_str().unwrap(), body(&place.body))).collect();
        items.sort_unstable();
        let expected = [
            ("a", "none"),
            ("a/b", "none"),
            ("limit", "told"),
            ("link", "none"),
            ("long", "unknown"),
            ("short", "told"),
        ];
        assert_eq!(items, expected);
        let is_none = |path: &str| trial.view(|view| below(view, Path::new(path), 2).unwrap().is_none());
        assert!(is_none("/etc/skel/short") && is_none("/nowhere"), "only a folder is a pattern");
    }
}
