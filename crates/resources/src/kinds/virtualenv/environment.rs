//! The files on the host: the interpreter, its environment, and the installed distributions. All is read from their
//! own files: it needs no process and no trust in earlier notes.
//!
//! The format of `pyvenv.cfg`: <https://docs.python.org/3/library/venv.html>. Installed distributions: PyPA,
//! "Recording installed projects".

use std::path::{Path, PathBuf};

use super::origin::{Origin, below};
use super::requirement::normal_name;
use super::scripts;
use crate::view::{LookError, Need, Seen, View};

/// A Python for environments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// The program, after following links.
    pub(super) program: PathBuf,
    /// The version `3.11`, if the program's name has it.
    pub(super) version: Option<String>,
}

/// An environment.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// The full version at the creation of the environment.
    pub(super) version: Option<String>,
    /// Whether it sees the packages of the system.
    pub(super) system_site_packages: bool,
    /// The target of its `bin/python`. None if the link is broken.
    pub(super) program: Option<PathBuf>,
    /// A problem of the environment as a whole.
    pub(super) damage: Option<String>,
    /// The other path for which it was created. Its scripts point there.
    pub(super) made_at: Option<PathBuf>,
    /// The installed distributions.
    pub(super) installed: Vec<Distribution>,
    /// The distributions of the system that it can use.
    pub(super) lent: Vec<Distribution>,
}

/// An installed distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Distribution {
    /// The normalised name.
    pub(super) name: String,
    /// The version.
    pub(super) version: String,
    /// The folder of its metadata, below the environment.
    pub(super) folder: PathBuf,
    /// Its source, if it is not from an index.
    pub(super) origin: Option<Origin>,
    /// One of its files or folders that is missing.
    pub(super) gone: Option<String>,
    /// Whether the installation was complete: the list of files is written last.
    is_whole: bool,
}

impl Environment {
    /// An environment from Converge without its `pyvenv.cfg`.
    pub(super) fn broken() -> Self {
        Self { damage: Some("its pyvenv.cfg is missing".to_owned()), ..Self::default() }
    }

    /// The distribution with this name, also from the system.
    pub(super) fn distribution(&self, name: &str) -> Option<&Distribution> {
        self.installed.iter().chain(&self.lent).find(|there| there.name == name)
    }

    /// Whether pip can run in it.
    pub(super) fn has_pip(&self) -> bool {
        self.installed.iter().chain(&self.lent).any(|there| there.name == "pip")
    }
}

/// The marker file that exists while an environment is changed.
pub(super) const UNFINISHED: &str = ".converge-unfinished";

/// Distributions that every environment has, without a source that names them.
pub(super) const SEEDS: [&str; 3] = ["pip", "setuptools", "wheel"];

/// Looks for the interpreter `python`: a program, a path, or a version.
pub(super) fn interpreter(view: &View<'_>, python: &str) -> Result<Seen<Interpreter>, LookError> {
    Ok(match view.program(python)? {
        Seen::Known(path) => match view.followed(&path)? {
            Seen::Known((program, _)) => {
                let version = version_in(&program);
                Seen::Known(Interpreter { program, version })
            }
            other => other.map(|(program, _)| Interpreter { program, version: None }),
        },
        other => other.map(|program| Interpreter { program, version: None }),
    })
}

impl Interpreter {
    /// The need for ensurepip, which Debian packages separately. Without it an environment gets no pip.
    pub(super) fn need_pip(&self, view: &View<'_>) -> Result<Need, LookError> {
        let (Some(version), Some(folder)) = (&self.version, self.program.parent().and_then(Path::parent))
        else {
            return Ok(Need::Met);
        };
        let library = folder.join(format!("lib/python{version}"));
        if !matches!(view.place(&library.join("os.py"))?, Seen::Known(_)) {
            return Ok(Need::Met);
        }
        let what = format!("ensurepip for Python {version}");
        let own = format!("python{version}-venv");
        Ok(view.need_from(
            &view.place(&library.join("ensurepip"))?,
            what,
            &["python3-venv", &own, "python3-full"],
        ))
    }
}

/// The version in the name of a program such as `python3.11`.
fn version_in(program: &Path) -> Option<String> {
    let version = program.file_name()?.to_str()?.strip_prefix("python")?;
    let is_version = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (major, minor) = version.split_once('.')?;
    (is_version(major) && is_version(minor)).then(|| version.to_owned())
}

/// Reads the environment at `path`. None if there is none.
pub(super) fn read(view: &View<'_>, path: &Path) -> Result<Option<Environment>, LookError> {
    let Seen::Known(text) = view.text(&path.join("pyvenv.cfg"))? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let value = |key: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
    };
    let version = value("version").or_else(|| value("version_info"));
    let program = view.followed(&path.join("bin/python")).ok().and_then(Seen::known);
    let mut environment = Environment {
        system_site_packages: value("include-system-site-packages").as_deref() == Some("true"),
        program: program.map(|(program, _)| program),
        made_at: scripts::made_at(view, path, value("command").as_deref())?,
        ..Environment::default()
    };
    if let Some(short) = version.as_deref().map(short) {
        let site = Path::new("lib").join(format!("python{short}/site-packages"));
        environment.installed = distributions(view, path, &site)?;
        if environment.system_site_packages {
            let folders = [
                "/usr/lib/python3/dist-packages".to_owned(),
                format!("/usr/local/lib/python{short}/dist-packages"),
            ];
            for folder in folders {
                environment.lent.extend(distributions(view, Path::new("/"), Path::new(&folder))?);
            }
        }
    }
    environment.version = version;
    environment.damage = match view.place(&path.join(UNFINISHED))? {
        Seen::Known(_) => Some("its last change was interrupted".to_owned()),
        _ => match environment.half() {
            Some(half) => Some(half),
            None => other_home(view, value("home"), &environment)?,
        },
    };
    Ok(Some(environment))
}

impl Environment {
    /// Describes a distribution that is incomplete or installed twice. No installer can repair it.
    fn half(&self) -> Option<String> {
        let half = self.installed.iter().find(|there| !there.is_whole);
        let half = half.map(|there| format!("{} {} is half-installed", there.name, there.version));
        let count = |name: &str| self.installed.iter().filter(|it| it.name == name).count();
        let twice = || self.installed.iter().find(|there| count(&there.name) > 1);
        half.or_else(|| twice().map(|there| format!("{} is installed twice", there.name)))
    }
}

/// The problem if `home` of `pyvenv.cfg` does not contain the interpreter, because Python starts from there. None if
/// the program is missing: that is another problem.
fn other_home(
    view: &View<'_>,
    home: Option<String>,
    environment: &Environment,
) -> Result<Option<String>, LookError> {
    let (Some(program), Some(home)) = (&environment.program, home) else { return Ok(None) };
    let version = environment.version.as_deref().map(short).unwrap_or_default();
    let own = program.file_name().map(|name| name.to_string_lossy().into_owned());
    let names = [format!("python{version}"), "python3".to_owned(), "python".to_owned()];
    for name in names.into_iter().chain(own) {
        let leads = view.followed(&Path::new(&home).join(name)).ok().and_then(Seen::known);
        if leads.is_some_and(|(path, _)| path == *program) {
            return Ok(None);
        }
    }
    Ok(Some(format!("its pyvenv.cfg says `home = {home}`, but its interpreter is elsewhere")))
}

/// The first two parts: `3.11` of `3.11.2`.
pub(super) fn short(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The distributions in the folder `site` below `path`: each `NAME-VERSION.dist-info` with metadata.
fn distributions(view: &View<'_>, path: &Path, site: &Path) -> Result<Vec<Distribution>, LookError> {
    let mut found = Vec::new();
    let names = view.list(&path.join(site)).map(Seen::known)?.unwrap_or_default();
    for folder in names {
        let Some(stem) = folder.to_str().and_then(|name| name.strip_suffix(".dist-info")) else { continue };
        let Some((name, version)) = stem.split_once('-') else { continue };
        // pip renames a distribution like this before it replaces it. The folder stays if pip is killed.
        if name.starts_with('~') {
            continue;
        }
        let folder = site.join(&folder);
        let file = |name: &str| view.raw(&path.join(&folder).join(name));
        // Old tools wrote the version in the folder's name without punctuation. The metadata has the right one.
        let Some(metadata) = file("METADATA")? else { continue };
        let metadata = String::from_utf8_lossy(&metadata).into_owned();
        let header = |key: &str| {
            let mut lines = metadata.lines().take_while(|line| !line.is_empty());
            lines.find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()))
        };
        let record = file("RECORD")?;
        found.push(Distribution {
            name: normal_name(header("Name").unwrap_or(name)),
            version: header("Version").unwrap_or(version).to_owned(),
            origin: file("direct_url.json")?.as_deref().and_then(Origin::read),
            gone: gone(view, &path.join(site), record.as_deref().unwrap_or_default())?,
            is_whole: record.is_some(),
            folder,
        });
    }
    Ok(found)
}

/// The first missing file or folder of a distribution below `site`. Checks only the first part of each path, because
/// an environment may have a hundred thousand files.
fn gone(view: &View<'_>, site: &Path, record: &[u8]) -> Result<Option<String>, LookError> {
    let record = String::from_utf8_lossy(record);
    let mut seen = Vec::new();
    for line in record.lines() {
        let path = line.rsplitn(3, ',').last().unwrap_or_default().trim_matches('"');
        let own = if path.starts_with("../") { path } else { path.split('/').next().unwrap_or_default() };
        // Python writes its cache again, and cannot do so for every user.
        let is_cache = path.contains("__pycache__") || path.ends_with(".pyc");
        if own.is_empty() || own.starts_with('/') || is_cache || seen.last() == Some(&own) {
            continue;
        }
        seen.push(own);
        if matches!(view.glance(&below(site, own))?, Seen::Absent | Seen::MayCome(_)) {
            return Ok(Some(own.trim_start_matches("../").to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_tells_its_version() {
        let check = |name: &str, version: Option<&str>| {
            assert_eq!(version_in(Path::new(name)).as_deref(), version, "{name}");
        };
        check("/usr/bin/python3.11", Some("3.11"));
        check("/usr/bin/python3", None);
        check("/opt/pypy3.10", None);
        check("/usr/bin/python3.11-config", None);
    }
}
