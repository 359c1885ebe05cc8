//! Files of secrets with real keys: which keys open them, the messages for those that do not, and how files are
//! rewritten.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use converge_engine::secrets::{
    Ask, Format, Identities, OpenError, Recipient, Recipients, Vault, VaultError, keygen, open, seal,
};
use converge_model::Secret;

const TEXT: &str = "shop {\n    db-password \"hunter2-canary\"\n}\n";

/// Keys in a temporary folder.
struct Keys(tempfile::TempDir);

impl Keys {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn age(&self, name: &str) -> Recipient {
        keygen(Some(&self.path(name))).unwrap().1
    }

    fn ssh(&self, name: &str, kind: &[&str], passphrase: &str) -> Recipient {
        self.ssh_keygen(name, kind, passphrase);
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().parse().unwrap()
    }

    fn ssh_keygen(&self, name: &str, kind: &[&str], passphrase: &str) {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-N", passphrase, "-C", "ada@laptop", "-t"])
            .args(kind)
            .arg("-f")
            .arg(self.path(name))
            .status();
        assert!(made.unwrap().success());
    }

    fn only(&self, names: &[&str]) -> Identities {
        Identities::only(names.iter().map(|name| self.path(name)).collect())
    }

    fn asking(&self, name: &str, ask: Ask) -> Identities {
        Identities::of_user(vec![self.path(name)], ask)
    }
}

fn list(recipients: &[&Recipient]) -> Recipients {
    recipients.iter().map(|one| format!("{one}\n")).collect::<String>().parse().unwrap()
}

fn sealed(recipients: &[&Recipient], format: Format) -> Vec<u8> {
    seal(&Secret::new(TEXT), &list(recipients), format).unwrap()
}

fn why(sealed: &[u8], identities: &Identities) -> OpenError {
    let error = open(sealed, identities).err().unwrap();
    assert!(!format!("{error} {:?}", error.help()).contains("canary"));
    error
}

#[test]
fn every_recipient_opens_it_and_no_other_key() {
    let keys = Keys::new();
    let recipients = [
        keys.age("age"),
        keys.ssh("ed25519", &["ed25519"], ""),
        keys.ssh("rsa", &["rsa", "-b", "2048"], ""),
        keys.ssh("pem", &["rsa", "-b", "2048", "-m", "PEM"], ""),
    ];
    keys.age("other");
    keys.ssh("other-ssh", &["ed25519"], "");
    let recipients: Vec<_> = recipients.iter().collect();
    for format in [Format::Armor, Format::Binary] {
        let sealed = sealed(&recipients, format);
        for key in ["age", "ed25519", "rsa", "pem"] {
            let text = open(&sealed, &keys.only(&["other", key])).ok().unwrap();
            assert!(text.expose() == TEXT.as_bytes(), "{key}");
        }
        let error = why(&sealed, &keys.only(&["other", "other-ssh"]));
        assert!(matches!(&error, OpenError::NoMatch { keys, .. } if keys.len() == 2), "{error}");
        assert!(error.help().unwrap().contains("rekey"), "it says what to do");
        assert!(matches!(why(&sealed, &keys.only(&[])), OpenError::NoKeys { .. }));
    }
}

#[test]
fn a_file_cut_short_or_changed_gives_no_text_at_all() {
    let keys = Keys::new();
    let own = keys.age("age");
    let identities = keys.only(&["age"]);
    for format in [Format::Armor, Format::Binary] {
        let sealed = sealed(&[&own], format);
        for length in 0..sealed.len() {
            // An armored file without its last line end is still valid.
            let whole = format == Format::Armor && length + 1 == sealed.len();
            assert!(whole || open(&sealed[..length], &identities).is_err(), "{format:?} cut to {length}");
        }
        let error = why(&sealed[..sealed.len() - 9], &identities);
        assert_eq!(error, OpenError::Damaged);
        assert_eq!(error.to_string(), "it is cut short or damaged");
    }
    let mut changed = sealed(&[&own], Format::Binary);
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(why(&changed, &identities), OpenError::Damaged);
    assert_eq!(why(TEXT.as_bytes(), &identities), OpenError::NotAge);
    assert_eq!(why(b"", &identities), OpenError::NotAge);
}

#[test]
fn a_passphrase_is_asked_for_once_and_only_for_the_right_file() {
    let keys = Keys::new();
    let (locked, other) = (keys.ssh("locked", &["ed25519"], "open sesame"), keys.age("other"));
    let asked = Arc::new(AtomicUsize::new(0));
    let ask: Ask = {
        let asked = asked.clone();
        Arc::new(move |_, wrong| {
            asked.fetch_add(1, Ordering::Relaxed);
            Some(Secret::new(if wrong { "open sesame" } else { "a guess" }))
        })
    };
    let identities = keys.asking("locked", ask);
    assert!(matches!(why(&sealed(&[&other], Format::Binary), &identities), OpenError::NoMatch { .. }));
    assert_eq!(asked.load(Ordering::Relaxed), 0, "the file is not for this key");
    let sealed = sealed(&[&other, &locked], Format::Binary);
    assert!(open(&sealed, &identities).is_ok() && open(&sealed, &identities).is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 2, "one wrong answer, one right one, none for the second file");
    let silent = why(&sealed, &keys.only(&["locked"]));
    assert!(matches!(&silent, OpenError::Locked(path) if path.ends_with("locked")), "{silent}");
}

#[test]
fn files_of_keys_that_cannot_be_used_are_named() {
    let keys = Keys::new();
    let own = keys.age("age");
    let sealed = sealed(&[&own], Format::Binary);
    let check = |name: &str, words: &str| {
        let error = why(&sealed, &keys.only(&[name]));
        assert!(matches!(error, OpenError::Identity(_)));
        assert!(error.to_string().contains(name) && error.to_string().contains(words), "{error}");
    };
    let write = |name: &str, text: &str| {
        fs::write(keys.path(name), text).unwrap();
        fs::set_permissions(keys.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    check("gone", "No such file");
    write("empty", "# nothing\n");
    check("empty", "holds no key");
    write("words", "AGE-SECRET-KEY-1CANARY\n");
    check("words", "line 1 must be an age key");
    write("plugin", "AGE-PLUGIN-YUBIKEY-1QQPQGQYZ\n");
    check("plugin", "needs an age plugin");
    keys.ssh_keygen("ecdsa", &["ecdsa"], "");
    check("ecdsa", "only sign");
    keys.ssh_keygen("old", &["rsa", "-b", "2048", "-m", "PEM"], "open sesame");
    check("old", "old format");
    fs::set_permissions(keys.path("age"), fs::Permissions::from_mode(0o640)).unwrap();
    check("age", "users other than its owner");
    assert_eq!(
        why(&sealed, &keys.only(&["age"])).help().unwrap(),
        format!("chmod 600 {}", keys.path("age").display())
    );
}

#[test]
fn a_key_is_made_once_and_for_its_owner_alone() {
    let keys = Keys::new();
    let recipient = keys.age("new/folder/identities");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(keys.path("new/folder")), mode(keys.path("new/folder/identities"))), (0o700, 0o600));
    assert_eq!(keys.only(&["new/folder/identities"]).recipients().unwrap(), [recipient]);
    let again = keygen(Some(&keys.path("new/folder/identities"))).unwrap_err();
    assert!(again.help.unwrap().contains("--output"));
}

/// A folder with a file of secrets for the key `age`.
fn vault(keys: &Keys) -> (PathBuf, Identities) {
    let own = keys.age("age");
    let path = keys.path("secrets/production.age");
    let identities = keys.only(&["age"]);
    let vault = Vault::lock(&path).unwrap();
    assert!(vault.is_new());
    let begun = vault.first_list(&identities).unwrap().unwrap();
    assert_eq!(begun, keys.path("secrets/recipients").canonicalize().unwrap());
    assert!(fs::read_to_string(begun).unwrap().contains(&own.to_string()));
    assert_eq!(vault.write(&Secret::new(TEXT), &identities).unwrap(), 1);
    (path, identities)
}

fn recipients(keys: &Keys, name: &str, of: &[&Recipient]) {
    let text: String = of.iter().map(|one| format!("{one}\n")).collect();
    fs::write(keys.path("secrets").join(name), text).unwrap();
}

#[test]
fn a_file_is_rewritten_for_its_list_and_the_nearer_list_counts() {
    let keys = Keys::new();
    let (path, identities) = vault(&keys);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (own, ada, grace) = (identities.recipients().unwrap().remove(0), keys.age("ada"), keys.age("grace"));
    let rekey = || Vault::lock(&path).unwrap().write(&Secret::new(TEXT), &identities);
    let opens = |name: &str| Vault::read(&path, &keys.only(&[name])).is_ok();
    recipients(&keys, "recipients", &[&own, &ada]);
    assert!(!opens("ada"), "a list alone opens nothing");
    assert_eq!(rekey().unwrap(), 2);
    assert!(opens("age") && opens("ada"));
    recipients(&keys, "production.age.recipients", &[&own, &grace]);
    assert_eq!(rekey().unwrap(), 2);
    assert!(opens("grace") && !opens("ada"), "who left the list cannot open what is written now");
    let left: Vec<_> = fs::read_dir(keys.path("secrets")).unwrap().collect();
    assert_eq!(left.len(), 3, "no temporary is left");
}

#[test]
fn what_would_lose_the_file_is_refused_and_the_file_stays() {
    let keys = Keys::new();
    let (path, identities) = vault(&keys);
    let before = fs::read(&path).unwrap();
    let refused = |identities: &Identities| {
        let error =
            Vault::lock(&path).and_then(|vault| vault.write(&Secret::new(TEXT), identities)).unwrap_err();
        assert!(fs::read(&path).unwrap() == before, "{error}");
        error
    };
    recipients(&keys, "recipients", &[&keys.age("ada")]);
    assert!(matches!(refused(&identities), VaultError::LockedOut { .. }));
    fs::write(keys.path("secrets/recipients"), "age1nobody\n").unwrap();
    assert!(refused(&identities).to_string().contains("line 1 must be an age recipient"));
    fs::remove_file(keys.path("secrets/recipients")).unwrap();
    let none = refused(&identities);
    assert!(
        none.to_string().contains("production.age.recipients") && none.help().unwrap().contains("recipients")
    );
    assert!(Vault::lock(&path).unwrap().first_list(&identities).unwrap().is_none(), "the file is not new");
    let held = Vault::lock(&path).unwrap();
    assert!(matches!(Vault::lock(&path).err().unwrap(), VaultError::Busy(_)));
    recipients(&keys, "recipients", &[&identities.recipients().unwrap()[0]]);
    fs::write(&path, "another version, pulled meanwhile").unwrap();
    assert!(matches!(held.write(&Secret::new(TEXT), &identities).unwrap_err(), VaultError::Changed(_)));
    assert_eq!(fs::read_to_string(&path).unwrap(), "another version, pulled meanwhile");
}

#[test]
fn a_file_keeps_its_format_and_a_link_its_place() {
    let keys = Keys::new();
    let (path, identities) = vault(&keys);
    let own = identities.recipients().unwrap().remove(0);
    fs::write(&path, sealed(&[&own], Format::Binary)).unwrap();
    let link = keys.path("link.age");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    Vault::lock(&link).unwrap().write(&Secret::new(TEXT), &identities).unwrap();
    assert!(link.is_symlink() && fs::read(&path).unwrap().starts_with(b"age-encryption.org/v1\n"));
}

#[test]
fn what_a_file_says_must_be_understood() {
    let keys = Keys::new();
    let (path, identities) = vault(&keys);
    Vault::lock(&path).unwrap().write(&Secret::new("a canary'\n"), &identities).unwrap();
    let error = Vault::read(&path, &identities).err().unwrap();
    assert!(error.to_string().ends_with("its line 1 is not KDL 2.0"), "{error}");
    let text = Vault::lock(&path).unwrap().text(&identities).unwrap().unwrap();
    assert!(text.expose() == b"a canary'\n", "it can still be edited");
    assert!(matches!(Vault::read(Path::new("/nowhere/x"), &identities), Err(VaultError::System { .. })));
}
