//! `archive`: the content of an archive, unpacked into a folder.

mod formats;
mod members;
mod unpack;
mod zip;

use std::path::{Path, PathBuf};

use converge_model::{
    Change, Claim, Digest, Extent, KindSchema, Param, ParamProblem, PropertyChange, Shown, Type, Verb,
};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kit::attributes::{self, Asked};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::system::receipts::Receipt;
use crate::view::{Body, Claimed, LookError, Need, Place, Seen, View};
use crate::wish::{Filling, Reader};

/// The kind.
pub struct Archive;

/// The archive and its destination.
pub struct Wish {
    to: PathBuf,
    source: Filling,
    strip: usize,
    exclude: Vec<PathBuf>,
    attributes: Attributes,
    max_size: u64,
}

/// The state of the host.
pub struct Found {
    place: Seen<Place>,
    asked: Asked,
    folder: Need,
    /// The receipt of the last unpacking.
    receipt: Option<Receipt>,
    /// Whether the unpacked entries are unchanged since then.
    same: bool,
    /// The entries of the last archive that no other resource claims.
    left: Vec<PathBuf>,
}

/// The default limit of the unpacked size, in bytes: 4 GiB.
const MAX_SIZE: i64 = 0x1_0000_0000;

impl Kind for Archive {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        let [mode, owner, group] = attributes::params();
        KindSchema::new("archive", "An archive, unpacked into a directory")
            .details(
                "The kind unpacks tar, tar.gz and zip archives. The controller sends the archive, and the host \
                 checks it as a whole. A receipt on the host records the unpacked files. The kind unpacks \
                 again if the digest, a parameter or an unpacked file changed. It removes the files that an \
                 earlier archive brought and this archive lacks; the result of the step names them. Other \
                 files in the directory stay.\n\n\
                 Files keep their permission bits, except write permission for group and others. The kind \
                 refuses absolute paths, paths with `..`, paths below a link, links out of the directory, \
                 devices, and set-user-id and set-group-id files. It also refuses more than 200,000 entries, \
                 and more than 200 times the archive's size. A plan does not open the archive, so later steps \
                 that need a file of it are conditional.",
            )
            .param(Param::new("to", Type::Path, "Directory, created if it does not exist").argument(0).required())
            .param(Param::new("source", Type::Content, "Archive: `(file)\"name.tar.gz\"`"))
            .param(Param::new("from", Type::ControllerPath, "Path of the archive in the project, instead of `source`: `\"dist/name.tar.gz\"`"))
            .param(
                Param::new("strip-components", Type::Int, "Number of leading path components to strip")
                    .range(0, 32)
                    .default(0),
            )
            .param(Param::list("exclude", Type::Text, "Paths to leave out, with everything below them, as they are after stripping"))
            .param(Param { doc: format!("{} (of the directory)", mode.doc), ..mode })
            .param(Param { doc: format!("{} (with everything unpacked)", owner.doc), ..owner })
            .param(Param { doc: format!("{} (with everything unpacked)", group.doc), ..group })
            .param(
                Param::new("max-size", Type::Size, "Maximum size of the unpacked archive")
                    .default(MAX_SIZE),
            )
            .example("A tool from a tarball of its project", "archive \"/opt/hello\" strip-components=1 {\n    source (file)\"hello.tar.gz\"\n}")
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let strip = params.number("strip-components").unwrap_or(0);
        let exclude = params.texts("exclude");
        let wish = Wish {
            to: params.path("to"),
            source: params
                .filling("source")
                .or_else(|| params.filling("from"))
                .unwrap_or(Filling::Plain { digest: Digest::of(b""), length: 0 }),
            strip: usize::try_from(strip).unwrap_or_default(),
            exclude: exclude.iter().map(|path| PathBuf::from(path.trim_matches('/'))).collect(),
            attributes: attributes::decode(params),
            max_size: u64::try_from(params.number("max-size").unwrap_or(MAX_SIZE)).unwrap_or(0),
        };
        if params.has("source") == params.has("from") {
            let problem = ParamProblem::new("source", "expected exactly one of `source` and `from`");
            params.problem(problem.help("write `source` or `from`"));
        }
        if matches!(wish.source, Filling::Secret(_)) {
            params.problem(ParamProblem::new(
                "source",
                "cannot be a secret: its content is written to the disk",
            ));
        }
        if wish.to.parent().is_none() {
            params.problem(ParamProblem::new("to", "must not be `/`"));
        }
        wish
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        vec![Claim::path(wish.to.to_string_lossy(), Extent::Whole)]
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let receipt = view.receipt(&key(wish))?;
        let paths = receipt.as_ref().map_or(&[][..], |receipt| &receipt.paths);
        let same = match &receipt {
            Some(receipt) => view.trace(&wish.to, paths)? == receipt.seen,
            None => false,
        };
        let left = paths.iter().filter(|path| view.claimed(&wish.to.join(path)) == Claimed::Nothing);
        Ok(Found {
            left: left.cloned().collect(),
            place: view.place(&wish.to)?,
            asked: attributes::observe(view, &wish.attributes)?,
            folder: view.need_folder(wish.to.parent().unwrap_or(Path::new("/")))?,
            receipt,
            same,
        })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        let planned = match &found.place {
            Seen::Known(place) if place.sort != Sort::Folder => {
                Planned::impossible(format!("a {} is in the way", place.sort.word()))
            }
            Seen::Known(place) => update(wish, found, place),
            _ => {
                let mut change =
                    Change::new(Verb::Create).property(source(wish, Shown::Absent)).property(entries());
                change.properties.extend(found.asked.created());
                Planned::change(change)
            }
        };
        planned.given(found.asked.needs.iter().cloned().chain([found.folder.clone()]))
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let before = found.place.clone().known();
        let place = found.asked.place(before.as_ref(), Sort::Folder, 0o755, Body::OnDisk);
        let folder = Effect::Path(wish.to.clone(), Some(place));
        if is_unpacked(wish, found) { vec![folder] } else { vec![folder, Effect::Open] }
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        match &found.place {
            Seen::Known(place) if found.asked.changes(place).is_empty() => {}
            Seen::Known(_) => actor.set_attributes(&wish.to, &wish.attributes)?,
            _ => actor.make_folder(&wish.to, &wish.attributes)?,
        }
        if is_unpacked(wish, found) {
            return Ok(());
        }
        let paths = unpack::unpack(actor, wish)?;
        unpack::remove_left(actor, &wish.to, &found.left, &paths)?;
        actor.sync(&wish.to)?;
        let seen = actor.files().trace(&wish.to, &paths);
        let seen = seen.map_err(|error| ApplyError::at("read", &wish.to, &error))?;
        let receipt = Receipt { source: source_digest(wish), seen, paths, text: String::new() };
        actor.set_receipt(&key(wish), Some(&receipt))
    }
}

fn key(wish: &Wish) -> String {
    format!("archive:{}", wish.to.to_string_lossy())
}

fn is_unpacked(wish: &Wish, found: &Found) -> bool {
    let there = matches!(&found.place, Seen::Known(place) if place.sort == Sort::Folder);
    let source = found.receipt.as_ref().map(|receipt| receipt.source);
    there && found.same && source == Some(source_digest(wish))
}

/// A digest of the archive and all parameters that shape the unpacked entries.
fn source_digest(wish: &Wish) -> Digest {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    add(archive(wish).to_string().as_bytes());
    add(wish.strip.to_string().as_bytes());
    for name in [&wish.attributes.owner, &wish.attributes.group] {
        add(name.as_deref().unwrap_or_default().as_bytes());
    }
    wish.exclude.iter().for_each(|path| add(path.as_os_str().as_encoded_bytes()));
    hasher.finalize().into()
}

fn archive(wish: &Wish) -> Digest {
    match &wish.source {
        Filling::Plain { digest, .. } => *digest,
        Filling::Secret(secret) => Digest::of(secret.expose()),
    }
}

fn update(wish: &Wish, found: &Found, place: &Place) -> Planned {
    let mut change = Change::new(Verb::Update);
    match &found.receipt {
        _ if is_unpacked(wish, found) => {}
        None => change = change.property(source(wish, Shown::Absent)).property(entries()),
        Some(receipt) if receipt.source != source_digest(wish) => {
            let before = Shown::Text(format!("another archive, with {} entries", receipt.paths.len()));
            change = change.property(source(wish, before)).property(entries());
        }
        Some(_) => {
            let again =
                PropertyChange::new("entries", "changed since they were unpacked", "as in the archive");
            change = change.property(again);
        }
    }
    change.properties.extend(found.asked.changes(place));
    if change.properties.is_empty() {
        return Planned::InSync("the archive is unpacked and unchanged".to_owned());
    }
    Planned::change(change)
}

fn source(wish: &Wish, before: Shown) -> PropertyChange {
    PropertyChange::new("source", before, archive(wish).short())
}

fn entries() -> PropertyChange {
    let why = "the archive is opened when it is unpacked".to_owned();
    PropertyChange::new("entries", Shown::Absent, Shown::Unknown(why))
}

#[cfg(test)]
mod tests;
