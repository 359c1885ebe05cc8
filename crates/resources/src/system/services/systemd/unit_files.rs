//! Whether units are started at boot. It is read from the links and `[Install]` sections that systemctl(1) enable and
//! is-enabled use. A question to systemd would make it read every unit folder again for each unit.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::system::files::{Files, Sort};
use crate::system::services::{Enabled, template_of};

/// The folders of links that an administrator makes and that survive a reboot.
const LASTING: [&str; 2] = ["/etc/systemd/system.control", "/etc/systemd/system"];

/// The folders of unit files that people or packages write, in systemd's order.
const WRITTEN: [&str; 7] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// The folders of links that packages bring and generators make. These links cannot be disabled.
const GIVEN: [&str; 6] = [
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.early",
    "/run/systemd/generator",
    "/run/systemd/generator.late",
];

/// The largest unit file that is read, in bytes.
const LIMIT: usize = 1024 * 1024;

/// The unit files of a host, for the question of enabling. The links are read once.
pub(crate) struct UnitFiles<'a> {
    files: &'a Files,
    lasting: Links,
    given: OnceLock<HashSet<String>>,
}

/// The links in folders that survive a reboot.
#[derive(Default)]
struct Links {
    /// Units in a `.wants`, `.requires` or `.upholds` folder.
    wanted: HashSet<String>,
    /// Aliases: the name, and the last part of the link's target.
    aliases: Vec<(String, String)>,
}

/// An `[Install]` section.
#[derive(Debug, Default, PartialEq, Eq)]
struct Install {
    /// Whether the section lists units that want this one.
    wanted: bool,
    aliases: Vec<String>,
    also: Vec<String>,
    default_instance: Option<String>,
}

impl<'a> UnitFiles<'a> {
    /// Reads the links below the root of `files`.
    pub(crate) fn read(files: &'a Files) -> io::Result<Self> {
        let mut lasting = Links::default();
        for folder in LASTING {
            lasting.wanted.extend(wanted_in(files, folder)?);
            for name in names(files, Path::new(folder))? {
                let target = files.entry(&Path::new(folder).join(&name))?.and_then(|entry| entry.target);
                let target = target.as_deref().and_then(Path::file_name).and_then(OsStr::to_str);
                lasting.aliases.extend(target.map(|target| (name, target.to_owned())));
            }
        }
        Ok(Self { files, lasting, given: OnceLock::new() })
    }

    /// Whether `unit` is started at boot. The name must be its own name, not an alias.
    pub(crate) fn enabled(&self, unit: &str) -> io::Result<Enabled> {
        if self.lasting.wanted.contains(unit) {
            return Ok(Enabled::Yes);
        }
        let Some(install) = self.install(unit)? else { return self.without_file(unit) };
        let enabled = if install.wanted {
            let instance = install.default_instance.and_then(|instance| instance_of(unit, &instance));
            instance.is_some_and(|instance| self.lasting.wanted.contains(&instance))
        } else if !install.aliases.is_empty() {
            install.aliases.iter().any(|alias| self.leads(alias, unit))
        } else if !install.also.is_empty() {
            install.also.iter().any(|also| self.lasting.wanted.contains(also))
        } else {
            return self.given_or_static(unit);
        };
        Ok(if enabled { Enabled::Yes } else { Enabled::No })
    }

    /// Whether the unit is generated from a script in `/etc/init.d`. systemd-sysv-install(8) enables such a unit.
    pub(crate) fn is_script(&self, unit: &str) -> io::Result<bool> {
        let Some(script) = unit.strip_suffix(".service") else { return Ok(false) };
        let script = Path::new("/etc/init.d").join(script);
        Ok(self.file(unit)?.is_none() && self.files.entry(&script)?.is_some())
    }

    /// Whether a file of the unit, or of its template, exists.
    pub(crate) fn has(&self, unit: &str) -> io::Result<bool> {
        Ok(self.file(unit)?.is_some())
    }

    /// Returns the `[Install]` section of the unit's file. None if there is no file.
    fn install(&self, unit: &str) -> io::Result<Option<Install>> {
        let Some(path) = self.file(unit)? else { return Ok(None) };
        let path = match self.files.entry(&path)? {
            Some(entry) if entry.sort == Sort::Link => match self.linked(path)? {
                Some(path) => path,
                None => return Ok(Some(Install::default())),
            },
            _ => path,
        };
        let text = self.files.read(&path, LIMIT)?;
        Ok(Some(Install::parse(&String::from_utf8_lossy(&text))))
    }

    /// Returns the first file of the unit, or else of its template.
    fn file(&self, unit: &str) -> io::Result<Option<PathBuf>> {
        let template = template_of(unit);
        for name in std::iter::once(unit).chain(template.as_deref()) {
            for folder in WRITTEN {
                let path = Path::new(folder).join(name);
                if self.files.entry(&path)?.is_some() {
                    return Ok(Some(path));
                }
            }
        }
        Ok(None)
    }

    /// Returns the file that a link leads to, over at most eight links. None if there is no file at the end.
    fn linked(&self, mut path: PathBuf) -> io::Result<Option<PathBuf>> {
        for _ in 0..8 {
            match self.files.entry(&path)? {
                Some(entry) if entry.sort == Sort::File => return Ok(Some(path)),
                Some(entry) if entry.sort == Sort::Link => {
                    path = path.with_file_name("").join(entry.target.unwrap_or_default());
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn leads(&self, alias: &str, unit: &str) -> bool {
        self.lasting.aliases.iter().any(|(name, target)| name == alias && target == unit)
    }

    fn without_file(&self, unit: &str) -> io::Result<Enabled> {
        if !self.is_script(unit)? {
            return self.given_or_static(unit);
        }
        let script = unit.trim_end_matches(".service");
        for level in 2..=5 {
            let links = names(self.files, Path::new(&format!("/etc/rc{level}.d")))?;
            if links.iter().any(|link| link.strip_prefix('S').and_then(without_digits) == Some(script)) {
                return Ok(Enabled::Yes);
            }
        }
        Ok(Enabled::No)
    }

    fn given_or_static(&self, unit: &str) -> io::Result<Enabled> {
        if self.given.get().is_none() {
            let mut given = HashSet::new();
            for folder in GIVEN {
                given.extend(wanted_in(self.files, folder)?);
            }
            // Ignored: another thread may have been faster, and it read the same.
            let _ = self.given.set(given);
        }
        let given = self.given.get().is_some_and(|given| given.contains(unit));
        Ok(if given { Enabled::Always } else { Enabled::Static })
    }
}

/// Returns the units in the `.wants`, `.requires` and `.upholds` folders of `folder`.
fn wanted_in(files: &Files, folder: &str) -> io::Result<Vec<String>> {
    let mut wanted = Vec::new();
    for name in names(files, Path::new(folder))? {
        if [".wants", ".requires", ".upholds"].iter().any(|end| name.ends_with(end)) {
            wanted.extend(names(files, &Path::new(folder).join(name))?);
        }
    }
    Ok(wanted)
}

/// Returns the names in a folder. Empty if it does not exist. Names of units are ASCII, so others are skipped.
fn names(files: &Files, folder: &Path) -> io::Result<Vec<String>> {
    match files.list(folder) {
        Ok(names) => Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Returns `foo@bar.service` for `foo@.service` and `bar`.
fn instance_of(unit: &str, instance: &str) -> Option<String> {
    unit.split_once("@.").map(|(prefix, suffix)| format!("{prefix}@{instance}.{suffix}"))
}

fn without_digits(name: &str) -> Option<&str> {
    Some(name.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

impl Install {
    fn parse(text: &str) -> Self {
        let mut install = Self::default();
        let mut here = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                here = line == "[Install]";
            }
            let Some((key, value)) = line.split_once('=').filter(|_| here) else { continue };
            let names = || value.split_whitespace().map(str::to_owned);
            match key.trim() {
                "WantedBy" | "RequiredBy" | "UpheldBy" => install.wanted |= names().next().is_some(),
                "Alias" => install.aliases.extend(names()),
                "Also" => install.also.extend(names()),
                "DefaultInstance" => install.default_instance = names().next(),
                _ => {}
            }
        }
        install
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const ETC: &str = "etc/systemd/system";
    const LIB: &str = "usr/lib/systemd/system";
    const WANTED: &str = "[Install]\nWantedBy=multi-user.target\n";

    struct Host(tempfile::TempDir);

    impl Host {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn link(&self, path: &str, target: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }

        #[track_caller]
        fn check(&self, unit: &str, enabled: Enabled) {
            let files = Files::new(self.0.path()).unwrap();
            assert_eq!(UnitFiles::read(&files).unwrap().enabled(unit).unwrap(), enabled, "{unit}");
        }
    }

    #[test]
    fn a_link_that_lasts_enables() {
        let host = Host::new();
        host.file(&format!("{LIB}/nginx.service"), WANTED);
        host.check("nginx.service", Enabled::No);
        host.link("run/systemd/system/x.target.wants/nginx.service", "/x");
        host.check("nginx.service", Enabled::No);
        host.link(
            &format!("{ETC}/multi-user.target.wants/nginx.service"),
            "/lib/systemd/system/nginx.service",
        );
        host.check("nginx.service", Enabled::Yes);
        host.check("unheard-of.service", Enabled::Static);
    }

    #[test]
    fn what_cannot_be_enabled_is_static_and_what_a_package_links_is_always_on() {
        let host = Host::new();
        host.file(&format!("{LIB}/static.service"), "[Service]\nExecStart=/bin/true\n");
        host.file(&format!("{LIB}/dbus.service"), "[Service]\nWantedBy=nowhere.target\n");
        host.link(&format!("{LIB}/multi-user.target.wants/dbus.service"), "../dbus.service");
        host.file("run/systemd/generator/srv.mount", "[Mount]\n");
        host.link("run/systemd/generator/local-fs.target.requires/srv.mount", "../srv.mount");
        host.check("static.service", Enabled::Static);
        host.check("dbus.service", Enabled::Always);
        host.check("srv.mount", Enabled::Always);
    }

    #[test]
    fn instances_are_enabled_by_their_own_link_with_the_file_of_their_template() {
        let host = Host::new();
        host.file(&format!("{LIB}/app@.service"), "[Install]\nWantedBy=a.target\nDefaultInstance=main\n");
        host.check("app@one.service", Enabled::No);
        host.link(&format!("{ETC}/a.target.wants/app@one.service"), "/lib/systemd/system/app@.service");
        host.check("app@one.service", Enabled::Yes);
        host.check("app@two.service", Enabled::No);
        host.check("app@.service", Enabled::No);
        host.link(&format!("{ETC}/a.target.wants/app@main.service"), "/lib/systemd/system/app@.service");
        host.check("app@.service", Enabled::Yes);
    }

    #[test]
    fn aliases_and_companions_count_where_nothing_else_is_named() {
        let host = Host::new();
        host.file(&format!("{LIB}/lightdm.service"), "[Install]\nAlias=display-manager.service\n");
        host.file(&format!("{LIB}/helper.service"), "[Install]\nAlso=helper.socket\n");
        host.check("lightdm.service", Enabled::No);
        host.link(&format!("{ETC}/display-manager.service"), "/lib/systemd/system/lightdm.service");
        host.check("lightdm.service", Enabled::Yes);
        host.check("helper.service", Enabled::No);
        host.link(&format!("{ETC}/sockets.target.wants/helper.socket"), "/lib/systemd/system/helper.socket");
        host.check("helper.service", Enabled::Yes);
    }

    #[test]
    fn scripts_are_enabled_by_their_runlevels() {
        let host = Host::new();
        host.file("etc/init.d/legacy", "#!/bin/sh\n");
        host.file("run/systemd/generator.late/legacy.service", "[Unit]\n");
        host.link("etc/rc3.d/K01legacy", "../init.d/legacy");
        host.check("legacy.service", Enabled::No);
        host.link("etc/rc5.d/S01legacy", "../init.d/legacy");
        host.check("legacy.service", Enabled::Yes);
    }

    #[test]
    fn a_file_that_is_linked_from_elsewhere_is_followed() {
        let host = Host::new();
        host.file("srv/app/app.service", WANTED);
        host.link(&format!("{ETC}/app.service"), "/srv/app/app.service");
        host.check("app.service", Enabled::No);
        host.link(&format!("{ETC}/masked.service"), "/dev/null");
        host.check("masked.service", Enabled::Static);
    }
}
