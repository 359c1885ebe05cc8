//! `apt-repository`: a source of packages, as a deb822 file with its signing key. apt fetches the source's package
//! lists as soon as the file is written.

mod source;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use converge_model::{
    Claim, Digest, Extent, KindSchema, Param, ParamProblem, PropertyChange, Shown, Type, Verb,
};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kit::rendered_file::{self, Rendered};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::view::{Body, LookError, Place, Seen, View};
use crate::wish::{Filling, Reader};
use source::Source;

/// The kind.
pub struct AptRepository;

/// The desired source.
pub struct Wish {
    file: Rendered,
    enabled: bool,
    key: Option<Filling>,
    form: Form,
    /// The path for each form of the key.
    keys: [PathBuf; 2],
}

/// How a key is encoded. apt decides by the extension of the key file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// ASCII text: `-----BEGIN PGP PUBLIC KEY BLOCK-----`.
    Armored,
    /// The binary export of gpg.
    Binary,
}

/// The state of the host.
pub struct Found {
    file: rendered_file::Found,
    /// The folder of keys.
    folder: Seen<Place>,
    /// The entry at each path of `Wish::keys`, with the digest of its content.
    keys: [(Seen<Place>, Option<Digest>); 2],
    own: (String, String),
}

const SOURCES: &str = "/etc/apt/sources.list.d";
const KEYS: &str = "/etc/apt/keyrings";

/// The largest accepted key, in bytes.
const KEY_LIMIT: u64 = 1024 * 1024;

impl Kind for AptRepository {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        KindSchema::new("apt-repository", "A package repository for apt, with its key")
            .details(DETAILS)
            .param(Param::new("name", Type::Name, "Name of the file: letters, digits, `-`, `_` and `.`").argument(0).required())
            .param(Param::new("state", Type::Text, "Wanted state").one_of(&["present", "absent"]).default("present"))
            .param(Param::list("uris", Type::Text, "Address of the repository: `\"https://deb.example.com/debian\"`"))
            .param(Param::list("suites", Type::Text, "Releases: `\"bookworm\"`; or a path that ends in `/`, without components"))
            .param(Param::list("components", Type::Text, "Components: `\"main\"`"))
            .param(Param::list("architectures", Type::Text, "Architectures: `\"amd64\"`; default: all of the host"))
            .param(Param::list("types", Type::Text, "Types, `deb` and `deb-src`; default: `deb`"))
            .param(Param::new("key", Type::Content, "Public key of the repository: `(file)\"name\"` or text; written to `/etc/apt/keyrings/NAME.asc`"))
            .param(Param::new("key-format", Type::Text, "Format of the key; a binary one is written to `NAME.gpg`").one_of(&["armored", "binary"]).default("armored"))
            .param(Param::new("signed-by", Type::Path, "Existing key ring on the host, instead of `key`"))
            .param(Param::new("enabled", Type::Bool, "Enable the repository").default(true))
            .param(Param::new("options", Type::Map, "Other fields of the file: `Check-Valid-Until \"no\"`, `Languages \"none\"`"))
            .whole_system()
            .example(
                "Debian's backports, signed by the key of the distribution",
                "apt-repository \"backports\" suites=\"bookworm-backports\" components=\"main\" signed-by=\"/usr/share/keyrings/debian-archive-keyring.gpg\" {\n    uris \"http://deb.debian.org/debian\"\n}",
            )
            .example("A repository to remove", "apt-repository \"old\" state=\"absent\"")
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let name = params.required_text("name");
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(good) {
            params.problem(ParamProblem::new(
                "name",
                format!("{name:?} must contain only letters, digits, `-`, `_` and `.`"),
            ));
        }
        let absent = params.choice("state", &[("present", false), ("absent", true)]);
        let form = params.choice("key-format", &[("armored", Form::Armored), ("binary", Form::Binary)]);
        let key = params.filling("key");
        let keys = ["asc", "gpg"].map(|ending| Path::new(KEYS).join(format!("{name}.{ending}")));
        let signed_by = params.optional_path("signed-by");
        if key.is_some() && signed_by.is_some() {
            params.problem(ParamProblem::new("signed-by", "must not be set together with `key`"));
        }
        let own = key.is_some().then(|| keys[form as usize].clone());
        let enabled = params.flag("enabled").unwrap_or(true);
        let source = Source::decode(params, absent, signed_by.or(own), enabled);
        let file = Rendered {
            path: Path::new(SOURCES).join(format!("{name}.sources")),
            text: (!absent).then(|| source.to_string().into_bytes()),
            attributes: Attributes { mode: Some(0o644), ..Attributes::default() },
            validate: Vec::new(),
            secret: false,
        };
        Wish { file, enabled, key, form, keys }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        let claim = |path: &Path, there: bool| {
            let extent = if there { Extent::Whole } else { Extent::Absence };
            Claim::path(path.to_string_lossy(), extent)
        };
        let keys = [Form::Armored, Form::Binary].map(|form| claim(wish.key_path(form), wish.wants(form)));
        [claim(&wish.file.path, wish.file.text.is_some())].into_iter().chain(keys).collect()
    }

    fn text(wish: &Wish) -> Option<Vec<u8>> {
        wish.file.text.clone()
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let key = |path: &Path| -> Result<_, LookError> {
            let place = view.place(path)?;
            let file = matches!(&place, Seen::Known(place) if place.sort == Sort::File);
            Ok((place, if file { view.digest(path)?.known() } else { None }))
        };
        Ok(Found {
            file: rendered_file::observe(view, &wish.file)?,
            folder: view.place(Path::new(KEYS))?,
            keys: [key(&wish.keys[0])?, key(&wish.keys[1])?],
            own: view.own_names()?,
        })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        let planned = rendered_file::plan(&wish.file, &found.file);
        let Some(keys) = wish.key_changes(found) else {
            return Planned::impossible("the path of the key must be a file or missing");
        };
        match planned {
            Planned::InSync(why) if keys.is_empty() => Planned::InSync(why),
            Planned::InSync(_) => {
                let mut change = converge_model::Change::new(Verb::Update);
                change.properties = keys;
                wish.tried(Planned::change(change))
            }
            Planned::Change(mut planned) => {
                planned.change.properties.extend(keys);
                wish.tried(Planned::Change(planned))
            }
            impossible => impossible,
        }
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let mut effects = rendered_file::effects(&wish.file, &found.file);
        if wish.makes_folder(found) {
            effects.push(Effect::Path(KEYS.into(), Some(found.own_place(Sort::Folder, 0o755, Body::OnDisk))));
        }
        for form in [Form::Armored, Form::Binary] {
            let place = match &wish.key {
                Some(key) if wish.wants(form) => {
                    Some(found.own_place(Sort::File, 0o644, Body::Planned(key.clone())))
                }
                _ => None,
            };
            effects.push(Effect::Path(wish.key_path(form).to_owned(), place));
        }
        effects
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        if wish.makes_folder(found) {
            actor.make_folder(Path::new(KEYS), &Attributes { mode: Some(0o755), ..Attributes::default() })?;
        }
        for form in [Form::Armored, Form::Binary] {
            match &wish.key {
                Some(key) if wish.wants(form) => {
                    let attributes = Attributes { mode: Some(0o644), ..Attributes::default() };
                    actor.write(wish.key_path(form), key, &attributes, |_, new| check_key(new, form))?;
                }
                _ => actor.remove(wish.key_path(form))?,
            }
        }
        if !rendered_file::plan(&wish.file, &found.file).is_in_sync() {
            rendered_file::apply(actor, &wish.file, &found.file)?;
        }
        if !wish.is_used() {
            return Ok(());
        }
        let fetched = actor.system.packages().refresh(Some(&wish.file.path), actor.output);
        fetched.map_err(|error| ApplyError::new(format!("the repository cannot be used: {error}")))
    }
}

const DETAILS: &str = "\
The kind writes a deb822 file `/etc/apt/sources.list.d/NAME.sources` and a key `/etc/apt/keyrings/NAME.asc` (or \
`.gpg`). The key signs only this repository. After each change Converge fetches the lists of this repository. So the \
step fails here if the address, the release or the key is wrong, and the files are restored. Later resources can then \
install the new packages. Until then, a plan shows the versions of packages after a changed repository as unknown.

apt no longer uses the lists of a removed repository. The next fetch of all lists deletes them.";

impl Wish {
    fn key_path(&self, form: Form) -> &Path {
        &self.keys[form as usize]
    }

    /// Whether the key should be there in this form.
    fn wants(&self, form: Form) -> bool {
        self.key.is_some() && self.file.text.is_some() && self.form == form
    }

    /// Whether apt should use the source.
    fn is_used(&self) -> bool {
        self.file.text.is_some() && self.enabled
    }

    fn makes_folder(&self, found: &Found) -> bool {
        self.key.is_some() && self.file.text.is_some() && !matches!(found.folder, Seen::Known(_))
    }

    /// The changes to the key files. None if a directory or a special file is in the way.
    fn key_changes(&self, found: &Found) -> Option<Vec<PropertyChange>> {
        let wanted = self.key.as_ref().map(|key| match key {
            Filling::Plain { digest, .. } => *digest,
            Filling::Secret(secret) => Digest::of(secret.expose()),
        });
        let mut changes = Vec::new();
        for form in [Form::Armored, Form::Binary] {
            let (place, digest) = &found.keys[form as usize];
            let before = match place {
                Seen::Known(place) if place.sort == Sort::Folder || place.sort == Sort::Special => {
                    return None;
                }
                Seen::Known(_) => {
                    Shown::Text(digest.map_or("a link".to_owned(), |digest| digest.short().to_string()))
                }
                _ => Shown::Absent,
            };
            let wrong_mode =
                matches!(place, Seen::Known(place) if place.sort == Sort::File && place.mode != 0o644);
            let after = wanted.filter(|_| self.wants(form));
            let same = after == *digest && (after.is_some() || before == Shown::Absent);
            if !same || (wrong_mode && after.is_some()) {
                let after = after.map(|digest| digest.short().to_string());
                changes.push(PropertyChange::new("key", before, after));
            }
        }
        Some(changes)
    }

    /// Adds the update of the package lists to a plan that changes a used source.
    fn tried(&self, planned: Planned) -> Planned {
        match planned {
            Planned::Change(mut planned) if self.is_used() => {
                let lists = PropertyChange::new("lists", "as they are", "updated");
                planned.change.properties.push(lists);
                Planned::Change(planned)
            }
            other => other,
        }
    }
}

impl Found {
    fn own_place(&self, sort: Sort, mode: u32, body: Body) -> Place {
        let (owner, group) = self.own.clone();
        let size = match &body {
            Body::Planned(Filling::Plain { length, .. }) => *length,
            _ => 0,
        };
        Place { sort, mode, owner, group, size, target: None, body }
    }
}

/// Checks that the new key has the expected form.
fn check_key(new: &Path, form: Form) -> Result<(), ApplyError> {
    use std::io::Read;
    let fail = |error: std::io::Error| ApplyError::at("read", new, &error);
    let mut head = Vec::new();
    let mut file = std::fs::File::open(new).map_err(fail)?;
    if file.metadata().map_err(fail)?.len() > KEY_LIMIT {
        return Err(ApplyError::new("the key must be at most 1 MiB"));
    }
    file.by_ref().take(4096).read_to_end(&mut head).map_err(fail)?;
    let armored = head.windows(36).any(|window| window == b"-----BEGIN PGP PUBLIC KEY BLOCK-----");
    // The first byte of a packet has its highest bit set: RFC 9580, section 4.2.
    match (form, armored) {
        (Form::Armored, true) => Ok(()),
        (Form::Binary, false) if head.first().is_some_and(|byte| byte & 0x80 != 0) => Ok(()),
        (Form::Armored, false) if head.first().is_some_and(|byte| byte & 0x80 != 0) => {
            Err(ApplyError::new("the key is not armored; write `key-format=\"binary\"`"))
        }
        (Form::Binary, true) => Err(ApplyError::new("the key is armored; leave `key-format` out")),
        _ => Err(ApplyError::new("the key is not an OpenPGP public key")),
    }
}
