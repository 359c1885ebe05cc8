//! A trial host in a temporary folder, and the laws that every kind obeys there. One kind at a time looks, plans,
//! applies and rolls back.
//!
//! The host is a [`World`]. A test can choose the results of its commands. Tests of the whole agent cover several
//! kinds together.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use converge_model::schema::Checked;
use converge_model::{
    Change, Claim, Content, Digest, NotifyHow, ParamProblem, Params, PropertyChange, Scalar, Secret,
    SecretTable, Shown, Value,
};

use crate::actor::{Actor, ApplyError, Journal, Undo};
use crate::contents::Contents;
use crate::kind::{Look, Planned, Wanted};
use crate::overlay::{Effect, Overlay, removed};
use crate::registry;
use crate::system::System;
use crate::system::accounts::Accounts;
use crate::system::fake::World;
use crate::system::files::{Extended, Files, Sort, adorned};
use crate::system::firewall::Firewall;
use crate::system::packages::{Allowance, Packages};
use crate::system::processes::{Command, Finished, ProcessError, Processes};
use crate::system::real::RealSystem;
use crate::system::receipts::Receipts;
use crate::system::services::Units;
use crate::view::{Base, Body, Claims, Place, View};

/// The number of a user and a group that own no file. The world has their names.
const OTHER: u32 = 65534;

/// A trial host.
pub(crate) struct Trial {
    folder: tempfile::TempDir,
    host: Host,
    contents: Store,
    secrets: Mutex<SecretTable>,
    /// The claims of other resources in the catalog.
    pub(crate) others: Vec<Claim>,
    /// Whether replaced content is kept only in memory.
    pub(crate) sensitive: bool,
    /// The changes of its steps beyond the plan.
    pub(crate) unforeseen: Mutex<Vec<PropertyChange>>,
}

/// Parameters by name, as in a catalog.
pub(crate) fn params<const N: usize>(params: [(&str, Value); N]) -> Params {
    Params(params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

impl Trial {
    /// A host with only the initial content of a [`World`].
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = Host { world: World::new(folder.path()).unwrap(), answer: Mutex::default(), real: None };
        let trial = Self {
            folder,
            host,
            contents: Store::default(),
            secrets: Mutex::new(SecretTable::default()),
            others: Vec::new(),
            sensitive: false,
            unforeseen: Mutex::default(),
        };
        fs::create_dir_all(trial.at("/var/lib/converge/undo")).unwrap();
        trial
    }

    /// This machine itself. Only for a test in its own namespaces.
    pub(crate) fn real() -> Self {
        let mut trial = Self::new();
        let receipts = Receipts::in_folder(trial.at("/var/lib/converge/receipts"));
        trial.host.real = Some(RealSystem::new("/", receipts).unwrap());
        trial
    }

    /// Replaces the world with the system that `assemble` makes from the trial's folder.
    pub(crate) fn take(&mut self, assemble: impl FnOnce(&Path, Receipts) -> RealSystem) {
        let receipts = Receipts::in_folder(self.at("/var/lib/converge/receipts"));
        self.host.real = Some(assemble(self.folder.path(), receipts));
    }

    /// The path on this machine for `path` of the host.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    /// Writes a file with mode 0644, and makes its parent folders.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// The bytes of a file.
    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.at(path)).unwrap()
    }

    /// The world: its packages, units and commands.
    pub(crate) fn world(&self) -> &World {
        &self.host.world
    }

    /// Content that the controller has in store.
    pub(crate) fn content(&self, bytes: impl AsRef<[u8]>) -> Value {
        let bytes = bytes.as_ref();
        let digest = Digest::of(bytes);
        self.contents.0.lock().unwrap().insert(digest, bytes.to_vec());
        Value::Content(Content::Plain { digest, length: bytes.len() as u64 })
    }

    /// A secret text.
    pub(crate) fn secret(&self, text: &str) -> Scalar {
        Scalar::Secret(self.secrets.lock().unwrap().add(Secret::new(text)))
    }

    /// Sets the results of commands from now on. Before this call the world's own commands run.
    pub(crate) fn answer(&self, answer: impl Fn(&Command) -> Finished + Send + 'static) {
        *self.host.answer.lock().unwrap() = Some(Box::new(answer));
    }

    /// The problems of the parameters. Empty if they are valid.
    pub(crate) fn problems(&self, kind: &str, params: &Params) -> Vec<ParamProblem> {
        registry::kind(kind).unwrap().decode(params, &self.secrets.lock().unwrap()).err().unwrap_or_default()
    }

    /// The claims of the resource.
    pub(crate) fn claims(&self, kind: &str, params: &Params) -> Vec<Claim> {
        registry::kind(kind).unwrap().check(params).unwrap().claims
    }

    /// The text that the resource says it writes. The agent uses it to decide which lines of a file may be shown.
    pub(crate) fn text(&self, kind: &str, params: &Params) -> Option<Vec<u8>> {
        self.wanted(kind, params).text()
    }

    /// Looks at the bare host.
    pub(crate) fn look(&self, kind: &str, params: &Params) -> Look {
        self.wanted(kind, params).look(&View::bare(&self.base(kind, params))).unwrap()
    }

    /// The error of a look that must fail.
    pub(crate) fn failure(&self, kind: &str, params: &Params) -> String {
        let looked = self.wanted(kind, params).look(&View::bare(&self.base(kind, params)));
        looked.err().expect("the look should fail").to_string()
    }

    /// The result of checking the resource without a host.
    pub(crate) fn checked(&self, kind: &str, params: &Params) -> Checked {
        registry::kind(kind).unwrap().check(params).unwrap()
    }

    /// The units whose states the look will need.
    pub(crate) fn units(&self, kind: &str, params: &Params) -> Vec<String> {
        self.wanted(kind, params).units()
    }

    /// The time for which the resource must stay in sync.
    pub(crate) fn settle(&self, kind: &str, params: &Params) -> Option<Duration> {
        self.wanted(kind, params).settle()
    }

    /// Probes the resource.
    pub(crate) fn prove(&self, kind: &str, params: &Params) -> Result<(), ApplyError> {
        self.wanted(kind, params).prove(&self.host)
    }

    /// Notifies the resource. Returns whether it had an action to run.
    pub(crate) fn notify(&self, kind: &str, params: &Params, how: NotifyHow) -> Result<bool, ApplyError> {
        let wanted = self.wanted(kind, params);
        let Some(action) = wanted.action(how) else { return Ok(false) };
        self.act(&mut self.undo(), |actor| wanted.act(actor, &action)).map(|()| true)
    }

    /// The keys of the resource's claims on the host.
    pub(crate) fn owned(&self, kind: &str, params: &Params) -> Vec<String> {
        let owned = self.view(|view| self.wanted(kind, params).owns(view)).unwrap();
        owned.iter().map(Claim::key).collect()
    }

    /// Runs `work` with a view of the bare host.
    pub(crate) fn view<T>(&self, work: impl FnOnce(&View<'_>) -> T) -> T {
        work(&View::bare(&Base::new(&self.host)))
    }

    /// Runs `work` with a view of the host after a step with these effects.
    pub(crate) fn view_after<T>(&self, effects: Vec<Effect>, work: impl FnOnce(&View<'_>) -> T) -> T {
        let mut overlay = Overlay::default();
        overlay.add(0, effects);
        work(&View::under(&Base::new(&self.host), &overlay))
    }

    /// The effect of a written file.
    pub(crate) fn planned_file(&self, path: &str, text: &[u8]) -> Effect {
        let (owner, group) = ("root".to_owned(), "root".to_owned());
        let (size, body) = (text.len() as u64, Body::Text(text.into()));
        let place = Place { sort: Sort::File, mode: 0o644, owner, group, size, target: None, body };
        Effect::Path(path.into(), Some(place))
    }

    /// Plans on the bare host.
    pub(crate) fn plan(&self, kind: &str, params: &Params) -> Planned {
        self.look(kind, params).planned
    }

    /// Plans after a step with these effects. The step has index 0.
    pub(crate) fn plan_after(&self, effects: Vec<Effect>, kind: &str, params: &Params) -> Planned {
        self.look_after(effects, kind, params).planned
    }

    /// Like [`Trial::plan_after`], with the effects of the plan.
    pub(crate) fn look_after(&self, effects: Vec<Effect>, kind: &str, params: &Params) -> Look {
        let mut overlay = Overlay::default();
        overlay.add(0, effects);
        let base = self.base(kind, params);
        self.wanted(kind, params).look(&View::under(&base, &overlay)).unwrap()
    }

    /// Looks, then applies the plan if it has changes.
    pub(crate) fn apply(&self, kind: &str, params: &Params) -> Result<Undo, ApplyError> {
        let mut undo = self.undo();
        self.apply_keeping(kind, params, &mut undo).map(|()| undo)
    }

    /// An empty undo store.
    pub(crate) fn undo(&self) -> Undo {
        Undo::in_store(Files::new(self.at("/var/lib/converge/undo")).unwrap())
    }

    /// Like [`Trial::apply`]. `undo` has the replaced content even after a failure.
    pub(crate) fn apply_keeping(
        &self,
        kind: &str,
        params: &Params,
        undo: &mut Undo,
    ) -> Result<(), ApplyError> {
        let look = self.look(kind, params);
        assert!(matches!(look.planned, Planned::Change(_)), "not a change: {:?}", look.planned);
        self.apply_look(kind, params, &look, undo)
    }

    /// Applies the result of a look.
    pub(crate) fn apply_look(
        &self,
        kind: &str,
        params: &Params,
        look: &Look,
        undo: &mut Undo,
    ) -> Result<(), ApplyError> {
        let mut allowance = Allowance::default();
        allowance.allow_removal(&removed(&look.effects));
        self.act_allowing(&allowance, undo, |actor| self.wanted(kind, params).apply(actor, look))
    }

    /// Runs `work` with an actor that can change the host.
    pub(crate) fn act<T>(
        &self,
        undo: &mut Undo,
        work: impl FnOnce(&mut Actor<'_>) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        self.act_allowing(&Allowance::default(), undo, work)
    }

    fn act_allowing<T>(
        &self,
        allowance: &Allowance,
        undo: &mut Undo,
        work: impl FnOnce(&mut Actor<'_>) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        let mut actor = Actor {
            system: &self.host,
            contents: &self.contents,
            journal: &Nowhere,
            output: &mut |_| {},
            undo,
            sensitive: self.sensitive,
            timeout: None,
            allowance,
            unforeseen: &mut self.unforeseen.lock().unwrap(),
        };
        work(&mut actor)
    }

    /// Restores the content that an apply replaced.
    pub(crate) fn restore(&self, undo: Undo) {
        self.try_restore(undo).unwrap();
    }

    /// Like [`Trial::restore`], but may fail.
    pub(crate) fn try_restore(&self, mut undo: Undo) -> Result<(), ApplyError> {
        undo.restore(&self.host, &[0]).map(drop)
    }

    /// Asserts the laws on a resource that is not in sync, applies it and returns the change.
    /// (1) A look writes nothing.
    /// (2) The effects match the result, and only claimed paths change.
    /// (3) The next plan is empty, also over the effects alone.
    /// (5) A rollback restores every byte, unless the change is irreversible.
    /// (6) A replaced file keeps attributes beyond its mode.
    /// (7) Later plans compare the mode and owner that a plan shows for a new entry.
    pub(crate) fn laws(&self, kind: &str, params: &Params) -> Change {
        let adorned = self.adorn(&self.look(kind, params).effects);
        let before = self.image();
        let look = self.look(kind, params);
        assert_eq!(self.image(), before, "law 1: a look wrote");
        let Planned::Change(planned) = look.planned else { panic!("not a change: {:?}", look.planned) };
        let again = self.plan_after(look.effects.clone(), kind, params);
        let open = look.effects.iter().any(|effect| match effect {
            Effect::Open => true,
            Effect::Path(_, Some(place)) => matches!(place.body, Body::Unknown(_)),
            _ => false,
        });
        assert!(open || again.is_in_sync(), "law 3: after its own effects: {again:?}");
        let undo = self.apply(kind, params).unwrap_or_else(|error| panic!("{error}: {}", error.output));
        self.assert_effects(&look.effects);
        adorned.iter().for_each(|path| self.assert_adorned(path));
        self.assert_claims(kind, params, &look.effects, &before);
        self.assert_in_sync(kind, params);
        self.assert_watched(kind, params, &planned.change);
        if planned.change.irreversible.is_none() {
            self.restore(undo);
            assert_eq!(self.image(), before, "law 5: not restored");
            self.apply(kind, params).unwrap_or_else(|error| panic!("{error}: {}", error.output));
        }
        planned.change
    }

    /// Changes each mode, owner and group that `change` showed for a new entry. The next plan must find it.
    fn assert_watched(&self, kind: &str, params: &Params, change: &Change) {
        let is_new = |property: &&PropertyChange| property.before == Shown::Absent;
        for property in change.properties.iter().filter(is_new) {
            let Some(at) = self.place_of(kind, params, &property.property) else { continue };
            let meta = fs::symlink_metadata(&at).unwrap();
            let was = (Some(meta.uid()), Some(meta.gid()), meta.mode() & 0o7777);
            let altered = match property.property.rsplit([' ', '-']).next() {
                Some("mode") => (was.0, was.1, was.2 ^ 0o022),
                Some("owner") => (Some(OTHER), was.1, was.2),
                Some("group") => (was.0, Some(OTHER), was.2),
                _ => continue,
            };
            let set = |(uid, gid, mode): (Option<u32>, Option<u32>, u32)| {
                lchown(&at, uid, gid).unwrap();
                if !meta.is_symlink() {
                    fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
                }
            };
            if altered.2 == was.2 && !rustix::process::geteuid().is_root() {
                continue;
            }
            set(altered);
            let planned = self.plan(kind, params);
            set(was);
            assert!(!planned.is_in_sync(), "law 7: {property:?} was shown, and nothing compares it");
        }
    }

    /// The path of the entry for a `property` of a plan: `mode`, `NAME: mode` in a tree, `directory-mode` of its
    /// parent.
    fn place_of(&self, kind: &str, params: &Params, property: &str) -> Option<PathBuf> {
        let paths = self.claims(kind, params).into_iter().filter_map(|claim| match claim {
            Claim::Path { path, .. } => Some(PathBuf::from(path)),
            Claim::Named { .. } => None,
        });
        let below = property.rsplit_once(": ").map_or("", |(name, _)| name);
        let is_file = |path: &Path| !self.at(&path.to_string_lossy()).is_symlink();
        let mut paths = paths.filter(|path| below.is_empty() || path.ends_with(below));
        let path = paths.find(|path| !property.ends_with("mode") || is_file(path))?;
        let path = if property.starts_with("directory-") { path.parent()?.to_owned() } else { path };
        Some(self.at(&path.to_string_lossy())).filter(|at| at.symlink_metadata().is_ok())
    }

    /// Adds an ACL, an attribute and capabilities to each file that `effects` change. Returns those files.
    fn adorn(&self, effects: &[Effect]) -> Vec<PathBuf> {
        let paths = effects.iter().filter_map(|effect| match effect {
            Effect::Path(path, Some(_)) => Some(path.clone()),
            _ => None,
        });
        let is_file = |path: &PathBuf| {
            fs::symlink_metadata(self.at(&path.to_string_lossy())).is_ok_and(|meta| meta.is_file())
        };
        let files: Vec<_> = paths.filter(|path| !path.starts_with("/proc")).filter(is_file).collect();
        files.iter().for_each(|path| adorned::adorn(&self.at(&path.to_string_lossy())));
        files
    }

    /// Asserts that the path, if it is still a file, has the additions of [`Trial::adorn`].
    fn assert_adorned(&self, path: &Path) {
        let at = self.at(&path.to_string_lossy());
        if fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_file()) {
            adorned::assert_adorned(&at);
        }
    }

    /// Asserts that the resource is in sync, and that the plan gives a reason.
    pub(crate) fn assert_in_sync(&self, kind: &str, params: &Params) {
        match self.plan(kind, params) {
            Planned::InSync(why) => assert!(!why.is_empty(), "nothing to do, and no reason"),
            other => panic!("law 3: still to do: {other:?}"),
        }
    }

    /// An image of the host without Converge's own folder, to compare: bytes, modes, owners.
    pub(crate) fn image(&self) -> BTreeMap<PathBuf, String> {
        let mut image = BTreeMap::new();
        self.image_below(self.folder.path(), &mut image);
        image
    }

    fn image_below(&self, folder: &Path, image: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = Path::new("/").join(path.strip_prefix(self.folder.path()).unwrap());
            if name == Path::new("/var/lib/converge") {
                continue;
            }
            let meta = fs::symlink_metadata(&path).unwrap();
            let body = if meta.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().escape_ascii().to_string()
            } else if meta.is_file() && meta.len() < 1 << 24 {
                fs::read(&path).unwrap().escape_ascii().to_string()
            } else if meta.file_type().is_fifo() {
                "a FIFO".to_owned()
            } else {
                String::new()
            };
            let owner = (meta.uid(), meta.gid());
            let extended = if meta.is_symlink() { Extended::default() } else { adorned::of(&path) };
            image.insert(name, format!("{:o} {owner:?} {body} {extended:?}", meta.mode()));
            if meta.is_dir() {
                self.image_below(&path, image);
            }
        }
    }

    /// Asserts that every path effect matches the present state.
    fn assert_effects(&self, effects: &[Effect]) {
        let base = Base::new(&self.host);
        let (bare, mut overlay) = (View::bare(&base), Overlay::default());
        overlay.add(0, effects.iter().filter(|effect| !matches!(effect, Effect::Open)).cloned());
        let planned = View::under(&base, &overlay);
        for effect in effects {
            let Effect::Path(path, _) = effect else { continue };
            let shape = |view: &View<'_>| {
                let place = view.place(path).unwrap().known();
                place.map(|place| {
                    let mode = if place.target.is_some() { 0 } else { place.mode };
                    (place.sort, mode, place.owner, place.group, place.target)
                })
            };
            assert_eq!(shape(&planned), shape(&bare), "law 2: the effect on {}", path.display());
            if let (Some(there), Ok(expected)) = (shape(&bare), planned.digest(path))
                && there.0 == Sort::File
                && let crate::view::Seen::Known(expected) = expected
            {
                assert_eq!(bare.digest(path).unwrap().known(), Some(expected), "law 2: {}", path.display());
            }
        }
    }

    /// Asserts that only claimed and promised paths and their content differ from `before`. An account claims its
    /// files.
    fn assert_claims(
        &self,
        kind: &str,
        params: &Params,
        effects: &[Effect],
        before: &BTreeMap<PathBuf, String>,
    ) {
        let mut claimed: Vec<PathBuf> = Vec::new();
        for claim in self.claims(kind, params) {
            match claim {
                Claim::Path { path, .. } => claimed.push(path.into()),
                Claim::Named { space, .. } if ["user", "group"].contains(&space.as_str()) => {
                    claimed.extend(["/etc/passwd", "/etc/group", "/etc/shadow"].map(PathBuf::from));
                }
                Claim::Named { .. } => {}
            }
        }
        assert!(!self.claims(kind, params).is_empty(), "law 2: {kind} claims nothing");
        claimed.extend(effects.iter().filter_map(|effect| match effect {
            Effect::Path(path, _) => Some(path.clone()),
            _ => None,
        }));
        let now = self.image();
        let differs = |path: &&PathBuf| now.get(*path) != before.get(*path);
        for path in now.keys().chain(before.keys()).filter(differs) {
            assert!(claimed.iter().any(|claim| path.starts_with(claim)), "law 2: {} changed", path.display());
        }
    }

    fn base(&self, kind: &str, params: &Params) -> Base<'_> {
        let own = self.claims(kind, params);
        // The agent borrows the claims of its catalog. In a test they live as long as the process.
        let claims = Box::leak(Box::new(Claims::of(own.iter().chain(&self.others))));
        Base::new(&self.host).claiming(claims).reading(&self.contents)
    }

    pub(crate) fn wanted(&self, kind: &str, params: &Params) -> Box<dyn Wanted> {
        let decoded = registry::kind(kind).unwrap().decode(params, &self.secrets.lock().unwrap());
        decoded.unwrap_or_else(|problems| panic!("{problems:?}"))
    }
}

/// The result of a command in a test.
pub(crate) fn finished(code: i32, output: &str) -> Finished {
    Finished { code: Some(code), signal: None, output: output.into() }
}

/// The values that a change shows, without its diffs. The agent masks diffs line by line.
pub(crate) fn values(change: &Change) -> String {
    let bare = |property: &PropertyChange| PropertyChange { diff: None, ..property.clone() };
    format!("{:?}", change.properties.iter().map(bare).collect::<Vec<_>>())
}

/// The change of a plan that has one.
pub(crate) fn change(planned: Planned) -> Change {
    match planned {
        Planned::Change(planned) => planned.change,
        other => panic!("not a change: {other:?}"),
    }
}

/// The message of an impossible plan.
pub(crate) fn impossible(planned: Planned) -> String {
    match planned {
        Planned::Impossible { message, .. } => message,
        other => panic!("not impossible: {other:?}"),
    }
}

/// Chooses the result of a command.
type Answer = Box<dyn Fn(&Command) -> Finished + Send>;

struct Host {
    world: World,
    answer: Mutex<Option<Answer>>,
    /// The system of this machine, if it is used instead of the world.
    real: Option<RealSystem>,
}

impl System for Host {
    fn files(&self) -> &Files {
        self.real.as_ref().map_or_else(|| self.world.files(), System::files)
    }
    fn accounts(&self) -> &dyn Accounts {
        self.real.as_ref().map_or_else(|| self.world.accounts(), System::accounts)
    }
    fn packages(&self) -> &dyn Packages {
        self.real.as_ref().map_or_else(|| self.world.packages(), System::packages)
    }
    fn units(&self) -> &dyn Units {
        self.real.as_ref().map_or_else(|| self.world.units(), System::units)
    }
    fn firewall(&self) -> &'static dyn Firewall {
        self.real.as_ref().map_or_else(|| self.world.firewall(), System::firewall)
    }
    fn processes(&self) -> &dyn Processes {
        self
    }
    fn receipts(&self) -> &Receipts {
        self.real.as_ref().map_or_else(|| self.world.receipts(), System::receipts)
    }
}

impl Processes for Host {
    fn run(&self, command: &Command, output: &mut dyn FnMut(&[u8])) -> Result<Finished, ProcessError> {
        let answer = self.answer.lock().unwrap();
        let itself = || self.real.as_ref().map_or_else(|| self.world.processes(), System::processes);
        let Some(answer) = &*answer else { return itself().run(command, output) };
        let finished = answer(command);
        // A pipe delivers the output in pieces.
        let (first, rest) = finished.output.split_at(finished.output.len() / 2);
        output(first);
        output(rest);
        Ok(finished)
    }
}

#[derive(Default)]
struct Store(Mutex<BTreeMap<Digest, Vec<u8>>>);

impl Contents for Store {
    fn open(&self, digest: Digest) -> Result<Box<dyn Read + '_>, ApplyError> {
        match self.0.lock().unwrap().get(&digest) {
            Some(bytes) => Ok(Box::new(std::io::Cursor::new(bytes.clone()))),
            None => Err(ApplyError::new("the controller lacks this content")),
        }
    }
}

struct Nowhere;

impl Journal for Nowhere {
    fn temporary(&self, _: &Path) -> Result<(), ApplyError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Refusal;
    use converge_model::Scalar;

    fn motd(trial: &Trial, text: &str) -> Params {
        params([("path", "/etc/motd".into()), ("content", trial.content(text))])
    }

    #[test]
    fn a_file_obeys_the_laws() {
        let trial = Trial::new();
        trial.laws("file", &motd(&trial, "one\n"));
        trial.laws("file", &motd(&trial, "two\n"));
        assert_eq!(trial.read("/etc/motd"), b"two\n");
        assert!(trial.world().log().is_empty(), "a file needs no command");
        trial.laws(
            "file",
            &params([("path", "/etc/motd".into()), ("state", Value::Scalar(Scalar::from("absent")))]),
        );
    }

    #[test]
    fn kinds_prune_and_undo_nothing_unless_they_say_how() {
        let trial = Trial::new();
        let wanted = trial.wanted("file", &motd(&trial, "one\n"));
        let why = |done: Result<Box<dyn Wanted>, Refusal>| done.err().map(|refusal| refusal.to_string());
        assert_eq!(why(wanted.prune()).as_deref(), Some("cannot be removed by itself"));
        let look = trial.look("file", &motd(&trial, "one\n"));
        assert_eq!(why(wanted.undo(&look)).as_deref(), Some("cannot be brought back by itself"));
        let other = trial.look("directory", &params([("path", "/srv".into())]));
        assert_eq!(why(wanted.undo(&other)).as_deref(), Some("was observed as another kind"));
    }

    #[test]
    fn a_directory_obeys_the_laws() {
        let trial = Trial::new();
        trial.laws("directory", &params([("path", "/srv".into()), ("mode", 0o750.into())]));
    }
}
