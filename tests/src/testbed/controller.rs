//! The settings that this machine needs to reach the package registries, so that the hosts reach them in the same
//! way: mirrors, proxies, settings of apt and pip, and trusted certificates.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use super::command::{CommandError, is_installed, run, tool};

/// Debian's file with the trusted certificates.
pub(crate) const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Settings of apt that determine how it fetches, not what it fetches.
const APT_SETTINGS: [&str; 5] =
    ["Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries", "Acquire::ForceIPv"];
/// How long apt waits for a silent mirror, unless this machine has its own setting. apt's default is 30 s, eight
/// times for each source. That is longer than a test may take.
const APT_PATIENCE: &str =
    "Acquire::http::Timeout \"10\";\nAcquire::https::Timeout \"10\";\nAcquire::Retries \"2\";\n";
/// Settings of pip that determine where it fetches from, with the names in `pip.conf`.
const PIP_SETTINGS: [&str; 6] =
    ["index-url", "extra-index-url", "proxy", "trusted-host", "timeout", "no-index"];
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "no_proxy"];

/// The settings, as files for a host.
#[derive(Debug, Clone)]
pub(crate) struct Controller {
    /// Base addresses of the archive by suite, like `bookworm-security`.
    pub(crate) mirrors: BTreeMap<String, String>,
    /// For `/etc/apt/apt.conf.d`.
    pub(crate) apt: String,
    /// `/etc/pip.conf`.
    pub(crate) pip: String,
    /// `/etc/environment`.
    pub(crate) environment: String,
    /// The certificates that this machine trusts, one PEM block each.
    pub(crate) certificates: Vec<String>,
}

impl Controller {
    /// Reads the settings of this machine. A missing setting is empty.
    pub(crate) fn read() -> Result<Self, CommandError> {
        let apt = if is_installed("apt-config") {
            run(tool("apt-config").arg("dump"))?.ok()?
        } else {
            String::new()
        };
        Ok(Self {
            mirrors: mirrors()?,
            apt: APT_PATIENCE.to_owned() + &apt_settings(&apt) + &apt_proxies(),
            pip: pip_settings(&pip_files(), |name| env::var(name).ok()),
            environment: environment(|name| env::var(name).ok()),
            certificates: certificates(Path::new(CA_BUNDLE)),
        })
    }
}

/// Returns a resolv.conf that works on a host: it has the resolvers behind a local stub, not the stub.
pub(crate) fn resolv_conf() -> Result<String, Error> {
    let behind_stub = Path::new("/run/systemd/resolve/resolv.conf");
    let plain = Path::new("/etc/resolv.conf");
    let text = fs::read_to_string(plain).map_err(Error::file(plain))?;
    if text.contains("127.0.0.53") && behind_stub.exists() {
        return fs::read_to_string(behind_stub).map_err(Error::file(behind_stub));
    }
    Ok(text)
}

/// Returns the PEM blocks of a file. Empty if it cannot be read.
pub(crate) fn certificates(bundle: &Path) -> Vec<String> {
    let text = fs::read_to_string(bundle).unwrap_or_default();
    let blocks = text.split_inclusive("-----END CERTIFICATE-----");
    blocks.filter_map(|block| Some(format!("{}\n", &block[block.find("-----BEGIN")?..]))).collect()
}

fn mirrors() -> Result<BTreeMap<String, String>, CommandError> {
    if !is_installed("apt-get") {
        return Ok(BTreeMap::new());
    }
    let format = "$(ORIGIN) $(RELEASE) $(REPO_URI)";
    let listed =
        run(tool("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?.ok()?;
    Ok(debian_mirrors(&listed))
}

fn debian_mirrors(listed: &str) -> BTreeMap<String, String> {
    let lines = listed.lines().filter_map(|line| line.strip_prefix("Debian "));
    let pairs = lines.filter_map(|line| line.split_once(' ')).filter(|(_, uri)| uri.starts_with("http"));
    pairs.map(|(suite, uri)| (suite.to_owned(), uri.trim_end_matches('/').to_owned())).collect()
}

fn apt_settings(dump: &str) -> String {
    let wanted = |line: &&str| {
        APT_SETTINGS.iter().any(|prefix| line.starts_with(prefix))
            // The hosts do not have a program that detects proxies.
            && !line.contains("Auto-Detect")
            && !line.ends_with(" \"\";")
    };
    dump.lines().filter(wanted).map(|line| format!("{line}\n")).collect()
}

/// Returns the proxies for apt. apt also reads the environment, but only that of its caller.
fn apt_proxies() -> String {
    let set = |scheme: &str| {
        let proxy = variable(&format!("{scheme}_proxy"), |name| env::var(name).ok())?;
        Some(format!("Acquire::{scheme}::Proxy \"{proxy}\";\n"))
    };
    ["http", "https"].into_iter().filter_map(set).collect()
}

fn pip_files() -> String {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let files =
        [PathBuf::from("/etc/pip.conf"), home.join(".pip/pip.conf"), home.join(".config/pip/pip.conf")];
    files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect::<Vec<_>>().join("\n")
}

/// Returns a `pip.conf` with the settings from the files and the environment about where to fetch. The environment
/// has priority.
fn pip_settings(files: &str, env: impl Fn(&str) -> Option<String>) -> String {
    let mut text = format!("[global]\ncert = {CA_BUNDLE}\n");
    for setting in PIP_SETTINGS {
        let variable = format!("PIP_{}", setting.replace('-', "_").to_uppercase());
        if let Some(value) = env(&variable).or_else(|| last_setting(files, setting)) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{setting} = {}", value.replace('\n', "\n    "));
        }
    }
    text
}

fn last_setting(files: &str, setting: &str) -> Option<String> {
    let pairs = files.lines().filter_map(|line| line.split_once('='));
    pairs.filter(|(name, _)| name.trim() == setting).map(|(_, value)| value.trim().to_owned()).next_back()
}

fn environment(env: impl Fn(&str) -> Option<String> + Copy) -> String {
    let set = |name: &str| Some(format!("{name}={}\n", variable(name, env)?));
    PROXIES.into_iter().filter_map(set).collect()
}

/// Returns a variable whose name may be in lower or upper case.
fn variable(name: &str, env: impl Fn(&str) -> Option<String>) -> Option<String> {
    env(name).or_else(|| env(&name.to_uppercase())).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_those_of_debian_only() {
        let listed =
            "Debian bookworm http://mirror/debian/\nDocker bookworm https://docker/\nDebian trixie cdrom:x\n";
        let expected = BTreeMap::from([("bookworm".to_owned(), "http://mirror/debian".to_owned())]);
        assert_eq!(debian_mirrors(listed), expected);
    }

    #[test]
    fn apt_keeps_how_it_fetches() {
        let dump = "APT::Architecture \"amd64\";\nAcquire::http::Proxy \"http://proxy:3128\";\n\
                    Acquire::http \"\";\nAcquire::Check-Date \"false\";\n\
                    Acquire::http::Proxy-Auto-Detect \"/usr/bin/x\";\nAcquire::Languages \"none\";\n";
        let expected = "Acquire::http::Proxy \"http://proxy:3128\";\nAcquire::Check-Date \"false\";\n";
        assert_eq!(apt_settings(dump), expected);
    }

    #[test]
    fn pip_takes_the_environment_over_its_files() {
        let files = "[global]\nindex-url = https://file/simple\ntimeout=9\n";
        let env = |name: &str| (name == "PIP_INDEX_URL").then(|| "https://env/simple".to_owned());
        let expected = format!("[global]\ncert = {CA_BUNDLE}\nindex-url = https://env/simple\ntimeout = 9\n");
        assert_eq!(pip_settings(files, env), expected);
    }

    #[test]
    fn proxies_are_read_in_either_case() {
        let env = |name: &str| (name == "HTTPS_PROXY").then(|| "http://proxy".to_owned());
        assert_eq!(environment(env), "https_proxy=http://proxy\n");
    }

    #[test]
    fn a_bundle_splits_into_certificates() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let one = "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n";
        fs::write(file.path(), format!("# comment\n{one}# other\n{one}\n")).unwrap();
        assert_eq!(certificates(file.path()), [one, one]);
        assert!(certificates(Path::new("/no/such/bundle")).is_empty());
    }
}
