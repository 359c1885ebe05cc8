//! The files of a repository and its key, and the refused parameters.

use converge_model::{Params, Scalar, Value};

use crate::kinds::testing::{Trial, change, params};

const KIND: &str = "apt-repository";
const ARMORED: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n";

fn list(words: &[&str]) -> Value {
    Value::List(words.iter().map(|word| Scalar::from(*word)).collect())
}

fn repository(more: &[(&str, Value)]) -> Params {
    let mut all = params([
        ("name", "shop".into()),
        ("uris", list(&["https://deb.example.com/debian"])),
        ("suites", list(&["bookworm"])),
        ("components", list(&["main", "extra"])),
    ]);
    more.iter().for_each(|(name, value)| all.set(name, value.clone()));
    all
}

fn host() -> Trial {
    let trial = Trial::new();
    std::fs::create_dir_all(trial.at("/etc/apt/sources.list.d")).unwrap();
    trial
}

fn source(trial: &Trial) -> String {
    String::from_utf8(trial.read("/etc/apt/sources.list.d/shop.sources")).unwrap()
}

#[test]
fn a_repository_with_its_key_obeys_the_laws() {
    let trial = host();
    let wish = repository(&[("key", trial.content(ARMORED)), ("architectures", list(&["amd64"]))]);
    let look = trial.look(KIND, &wish);
    let made = change(look.planned);
    let names: Vec<_> = made.properties.iter().map(|p| p.property.as_str()).collect();
    assert_eq!(names, ["content", "mode", "key", "lists"]);
    std::fs::create_dir(trial.at("/etc/apt/keyrings")).unwrap();
    trial.laws(KIND, &wish);
    assert_eq!(
        source(&trial),
        "# Written by Converge.\nTypes: deb\nURIs: https://deb.example.com/debian\nSuites: bookworm\n\
         Components: main extra\nArchitectures: amd64\nSigned-By: /etc/apt/keyrings/shop.asc\n"
    );
    assert_eq!(trial.read("/etc/apt/keyrings/shop.asc"), ARMORED.as_bytes());
    trial.laws(KIND, &params([("name", "shop".into()), ("state", "absent".into())]));
    assert!(!trial.at("/etc/apt/keyrings/shop.asc").exists());
}

#[test]
fn a_key_that_changes_alone_is_a_change() {
    let trial = host();
    trial.apply(KIND, &repository(&[("key", trial.content(ARMORED))])).unwrap();
    let other = repository(&[("key", trial.content(ARMORED.replace("mDME", "mDMF")))]);
    let names: Vec<_> = trial.laws(KIND, &other).properties.into_iter().map(|p| p.property).collect();
    assert_eq!(names, ["key", "lists"]);
    let binary = repository(&[("key", trial.content([0x99, 1, 13])), ("key-format", "binary".into())]);
    trial.laws(KIND, &binary);
    assert!(!trial.at("/etc/apt/keyrings/shop.asc").exists());
    assert!(source(&trial).contains("keyrings/shop.gpg"));
}

#[test]
fn the_lists_are_fetched_where_apt_uses_it() {
    let trial = host();
    trial.apply(KIND, &repository(&[("enabled", false.into())])).unwrap();
    assert!(source(&trial).contains("Enabled: no\n"));
    assert!(trial.world().log().is_empty());
    trial.apply(KIND, &repository(&[])).unwrap();
    assert_eq!(trial.world().log(), ["refresh"]);
}

#[test]
fn a_key_of_another_sort_is_refused_before_anything_is_written() {
    let check = |bytes: &[u8], form: &str, message: &str| {
        let trial = host();
        let wish = repository(&[("key", trial.content(bytes)), ("key-format", form.into())]);
        let error = trial.apply(KIND, &wish).err().unwrap();
        assert!(error.message.contains(message), "{}", error.message);
        assert!(!trial.at("/etc/apt/sources.list.d/shop.sources").exists());
    };
    check(&[0x99, 1, 13], "armored", "write `key-format=\"binary\"`");
    check(ARMORED.as_bytes(), "binary", "the key is armored");
    check(b"<html>not found</html>", "armored", "not an OpenPGP public key");
    check(b"<html>not found</html>", "binary", "not an OpenPGP public key");
}

#[test]
fn mistakes_are_gathered() {
    let trial = Trial::new();
    let check = |wish: Params, message: &str| {
        let problems = trial.problems(KIND, &wish);
        assert!(problems.iter().any(|problem| problem.message.contains(message)), "{message}: {problems:?}");
    };
    check(params([("name", "a/b".into())]), "only letters, digits");
    check(params([("name", "x".into())]), "is missing");
    check(repository(&[("types", list(&["rpm"]))]), "only `deb` and");
    check(repository(&[("uris", list(&["deb.example.com"]))]), "only addresses");
    check(repository(&[("suites", list(&["a b"]))]), "contains blanks");
    check(repository(&[("suites", list(&["./"]))]), "ends in `/`");
    check(repository(&[("components", list(&[]))]), "is missing");
    check(
        repository(&[("signed-by", "/x.gpg".into()), ("key", trial.content(ARMORED))]),
        "together with `key`",
    );
    let option = |name: &str, value: &str| Value::Map(vec![(name.to_owned(), vec![Scalar::from(value)])]);
    check(repository(&[("options", option("suites", "x"))]), "has its own parameter");
    check(repository(&[("options", option("A B", "x"))]), "cannot be the name of a field");
    check(repository(&[("options", option("Languages", "a\nTrusted: yes"))]), "must be one line");
    check(repository(&[("signed-by", "/x\nTrusted: yes".into())]), "must be one line");
    let good = repository(&[("options", option("Languages", "none"))]);
    assert_eq!(trial.problems(KIND, &good), []);
}
