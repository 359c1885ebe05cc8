//! Keys and the ssh_config of a bed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use super::bed::Bed;
use super::command::{run, tool};
use super::host::Host;

/// The account for logins on all hosts.
pub(crate) const USER: &str = "admin";

/// Returns the private key for every host of the bed. Its public key is beside it, with `.pub`.
pub(crate) fn client_key(bed: &Bed) -> PathBuf {
    bed.folder().join("id_ed25519")
}

/// Creates a key pair without a passphrase, if it does not exist.
pub(crate) fn make_key(path: &Path, comment: &str) -> Result<(), Error> {
    if !path.exists() {
        let options = ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"];
        run(tool("ssh-keygen").args(options).arg(path))?.ok()?;
    }
    Ok(())
}

/// Returns the public key of the key at `path`, as one line.
pub(crate) fn public_key(path: &Path) -> Result<String, Error> {
    let path = path.with_added_extension("pub");
    fs::read_to_string(&path).map_err(Error::file(&path))
}

/// Writes the ssh_config of a bed and its known_hosts.
pub(crate) fn write_config(bed: &Bed, hosts: &[Host]) -> Result<(), Error> {
    let known = bed.folder().join("known_hosts");
    fs::write(&known, known_hosts(hosts)?).map_err(Error::file(&known))?;
    let path = bed.ssh_config();
    fs::write(&path, config(hosts, &client_key(bed), &known)).map_err(Error::file(&path))
}

fn known_hosts(hosts: &[Host]) -> Result<String, Error> {
    hosts
        .iter()
        .map(|host| Ok(format!("{},{} {}", host.name(), host.address(), host.public_key()?)))
        .collect()
}

fn config(hosts: &[Host], key: &Path, known: &Path) -> String {
    let mut text = String::new();
    for host in hosts {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "Host {}\n    HostName {}\n", host.name(), host.address());
    }
    let names: Vec<&str> = hosts.iter().map(Host::name).collect();
    let _ = write!(
        text,
        "Host {} 10.77.*\n    User {USER}\n    IdentityFile {}\n    IdentitiesOnly yes\n    IdentityAgent none\n    \
         UserKnownHostsFile {}\n    GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    \
         ConnectTimeout 10\n",
        names.join(" "),
        key.display(),
        known.display(),
    );
    text
}
