//! Secrets: they reach the parameters that contain them, but never output, stored data or decisions.

mod common;

use common::{facts, loader, one, run};
use converge_lang::diagnostic::Style;
use converge_lang::{MemorySources, Selection};
use insta::assert_snapshot;

fn project(inventory: &str) -> MemorySources {
    one(&format!("secrets \"s.age\"\nhost \"a\"\n{inventory}"))
        .secret_file("s.age", "shop { db \"hunter2-db\"; pin 123456 }\nplain \"other-secret\"")
}

fn body(vars: &str, body: &str) -> String {
    run(
        &loader(project(&format!("vars {{ x 1; {vars} }}\non \"a\" {{ {body} }}")), &[]),
        "inventory.kdl",
        &[],
    )
}

#[test]
fn a_secret_is_a_reference_in_parameters_and_content() {
    assert_snapshot!(body(
        "db (secret)\"shop/db\"; url \"pg://{{ db }}@x\"; conf { user \"shop\"; password (secret)\"shop/db\" }",
        r#"
        file "/a" { content (secret)"shop/db" }
        file "/b" { content "{{ url }}" }
        file "/c" { content "{{ conf.user }}" }
        file "/d" { content "{{ conf.password }}" }
        command "psql" { stdin "password {{ db }}"; env { PGPASSWORD (secret)"shop/db"; PGUSER "shop" } }
        sysctl "x" value=(secret)"shop/pin"
        "#
    ), @r#"
a
  file[/a] path="/a" content=SECRET newline=true state="present"  (on "a")
  file[/b] path="/b" content=SECRET newline=true state="present"  (on "a")
  file[/c] path="/c" content="shop\n" newline=true state="present"  (on "a")
  file[/d] path="/d" content=SECRET newline=true state="present"  (on "a")
  command[psql] command=["psql"] shell=false stdin=SECRET only-notified=false env={PGPASSWORD=[SECRET] PGUSER=["shop"]}  (on "a")
  sysctl[x] name="x" value=SECRET  (on "a")
"#);
}

#[test]
fn a_secret_is_in_no_name_path_or_decision() {
    assert_snapshot!(body("db (secret)\"shop/db\"", "file \"/{{ db }}\""), @r#"
lang::secret

  x a secret cannot be part of a name or path
   ,-[inventory.kdl:4:15]
 3 | vars { x 1; db (secret)"shop/db" }
 4 | on "a" { file "/{{ db }}" }
   :               ^^^^^|^^^^^
   :                    `-- holds a secret
   `----
  help: names, paths, conditions and addresses are shown and stored; keep secrets in values
"#);
    assert_snapshot!(body("db (secret)\"shop/db\"", "file \"/x\" when=\"db == 'x'\""), @r#"
lang::secret

  x a secret cannot be part of a condition
   ,-[inventory.kdl:4:25]
 3 | vars { x 1; db (secret)"shop/db" }
 4 | on "a" { file "/x" when="db == 'x'" }
   :                         ^^^^^|^^^^^
   :                              `-- holds a secret
   `----
  help: names, paths, conditions and addresses are shown and stored; keep secrets in values
"#);
    assert_snapshot!(body("db (secret)\"shop/db\"", "for \"c\" in=\"[db]\" { file \"/{{ c }}\" }"), @r#"
lang::secret

  x a secret cannot be part of a name or path
   ,-[inventory.kdl:4:35]
 3 | vars { x 1; db (secret)"shop/db" }
 4 | on "a" { for "c" in="[db]" { file "/{{ c }}" } }
   :                                   ^^^^^|^^^^
   :                                        `-- holds a secret
   `----
  help: names, paths, conditions and addresses are shown and stored; keep secrets in values
"#);
    assert_snapshot!(body("db (secret)\"shop/db\"", "file \"/x\" after=\"{{ db }}\" notify=(secret)\"plain\" tags=\"{{ db }}\""), @r#"
lang::secret

  x a secret cannot be part of `after`
   ,-[inventory.kdl:4:26]
 3 | vars { x 1; db (secret)"shop/db" }
 4 | on "a" { file "/x" after="{{ db }}" notify=(secret)"plain" tags="{{ db }}" }
   :                          ^^^^^|^^^^
   :                               `-- holds a secret
   `----
  help: names, paths, conditions and addresses are shown and stored; keep secrets in values
lang::secret

  x a secret cannot be part of `notify`
   ,-[inventory.kdl:4:52]
 3 | vars { x 1; db (secret)"shop/db" }
 4 | on "a" { file "/x" after="{{ db }}" notify=(secret)"plain" tags="{{ db }}" }
   :                                                    ^^^|^^^
   :                                                       `-- holds a secret
   `----
  help: names, paths, conditions and addresses are shown and stored; keep secrets in values
lang::secret

  x a secret cannot be part of a tag
   ,-[inventory.kdl:4:65]
 3 | vars { x 1; db (secret)"shop/db" }
 4 | on "a" { file "/x" after="{{ db }}" notify=(secret)"plain" tags="{{ db }}" }
   :                                                                 ^^^^^|^^^^
   :                                                                      `-- holds a secret
   `----
  help: names, paths, conditions and addresses are shown and stored; keep secrets in values
"#);
    assert_snapshot!(body("db (secret)\"shop/db\"", "command \"echo {{ db }}\""), @r#"
lang::secret

  x a secret cannot be part of a name
   ,-[inventory.kdl:4:18]
 3 | vars { x 1; db (secret)"shop/db" }
 4 | on "a" { command "echo {{ db }}" }
   :                  ^^^^^^^|^^^^^^^
   :                         `-- holds a secret
   `----
  help: names, paths, conditions and addresses are shown and stored; keep secrets in values
"#);
}

#[test]
fn every_secret_that_is_used_is_in_the_table_and_no_other() {
    let inventory = project(
        "vars { url \"pg://{{ db }}\"; db (secret)\"shop/db\" }\non \"a\" { file \"/a\" { content \"{{ url }}\" } }",
    );
    let inventory = loader(inventory, &[]).load("inventory.kdl", &[]).inventory.unwrap();
    let host = inventory.hosts().next().unwrap();
    let (compiled, _) = inventory.compile(host, &facts(&inventory), &Selection::default());
    let compiled = compiled.unwrap();
    let secrets: Vec<&[u8]> =
        compiled.catalog.secrets.secrets().map(converge_model::Secret::expose).collect();
    assert_eq!(secrets, [b"hunter2-db"], "what holds one is no secret as a whole");
    assert_eq!(compiled.contents.iter().count(), 0, "content that holds a secret is no plain content");
}

#[test]
fn what_is_wrong_with_a_secret_is_said_without_showing_one() {
    assert_snapshot!(body("", "file \"/a\" { content (secret)\"shop/bd\" }"), @r#"
lang::secrets

  x there is no secret `shop/bd`
   ,-[inventory.kdl:4:30]
 3 | vars { x 1;  }
 4 | on "a" { file "/a" { content (secret)"shop/bd" } }
   :                              ^^^^^^^^|^^^^^^^^
   :                                      `-- needed here
   `----
  help: did you mean `shop/db`?
"#);
    let broken =
        one("secrets \"s.age\"\nhost \"a\"").secret_file("s.age", "ok \"x\"\nshop { db hunter2'secret }");
    let shown = run(&loader(broken, &[]), "inventory.kdl", &[]);
    assert!(!shown.contains("hunter2"));
    assert_snapshot!(shown, @r#"
lang::secrets

  x the secrets in `s.age` cannot be read: its line 2 is not KDL 2.0
   ,-[inventory.kdl:1:9]
 1 | secrets "s.age"
   :         ^^^|^^^
   :            `-- named here
 2 | host "a"
   `----
  help: `converge secrets edit` opens the file
"#);
    let wrong_type = body("", "user \"u\" uid=(secret)\"shop/db\"");
    assert!(!wrong_type.contains("hunter2"));
    assert_snapshot!(wrong_type, @r#"
lang::type

  x a secret cannot be of type int
   ,-[inventory.kdl:4:31]
 3 | vars { x 1;  }
 4 | on "a" { user "u" uid=(secret)"shop/db" }
   :                               ^^^^|^^^^
   :                                   `-- here
   `----
"#);
}

#[test]
fn a_file_that_cannot_be_decrypted_is_a_warning_until_it_is_needed() {
    let text = "secrets \"s.age\"\nhost \"a\"\non \"a\" { file \"/a\" { content (secret)\"x\" } }";
    let inventory = loader(one(text), &[]).load("inventory.kdl", &[]).inventory.unwrap();
    let host = inventory.hosts().next().unwrap();
    assert_snapshot!(inventory.check().render(inventory.files(), Style::PLAIN), @r#"
lang::secrets

  ! there is no file of secrets `s.age` yet
   ,-[inventory.kdl:1:9]
 1 | secrets "s.age"
   :         ^^^|^^^
   :            `-- Converge does not check its values
 2 | host "a"
   `----
  help: `converge secrets set NAME` makes it, with its first secret
"#);
    let (compiled, diagnostics) = inventory.compile(host, &facts(&inventory), &Selection::default());
    assert!(compiled.is_none());
    assert_snapshot!(diagnostics.render(inventory.files(), Style::PLAIN), @r#"
lang::secrets

  x the secret `x` is in a file that cannot be decrypted: no such file
   ,-[inventory.kdl:1:9]
 1 | secrets "s.age"
   :         ^^^|^^^
   :            `-- `s.age`
 2 | host "a"
 3 | on "a" { file "/a" { content (secret)"x" } }
   :                              ^^^^^|^^^^^
   :                                   `-- needed here
   `----
"#);
}

#[test]
fn a_secret_too_short_to_be_found_in_output_is_a_warning() {
    let sources = one("secrets \"s.age\"\nhost \"a\"").secret_file("s.age", "pin 1234; long \"123456\"");
    assert_snapshot!(run(&loader(sources, &[]), "inventory.kdl", &[]), @r#"
lang::secrets

  ! the secret `pin` is very short
   ,-[inventory.kdl:1:9]
 1 | secrets "s.age"
   :         ^^^|^^^
   :            `-- in this file
 2 | host "a"
   `----
  help: a value under 6 bytes is masked in the resources that hold it, but not in the output of
        commands
a
"#);
}

#[test]
fn one_name_in_two_files_is_an_error() {
    let sources = one("secrets \"s.age\" \"t.age\"\nhost \"a\"")
        .secret_file("s.age", "x \"first one\"")
        .secret_file("t.age", "x \"the other\"");
    assert_snapshot!(run(&loader(sources, &[]), "inventory.kdl", &[]), @r#"
lang::duplicate

  x the secret `x` is defined twice
   ,-[inventory.kdl:1:9]
 1 | secrets "s.age" "t.age"
   :         ^^^|^^^ ^^^|^^^
   :            |       `-- in this file
   :            `-- and in this one
 2 | host "a"
   `----
"#);
}

#[test]
fn a_secret_is_no_name_of_a_module() {
    let module = "params { arg \"name\" type=\"string\" }\nresources { file \"/x\" }";
    let inventory =
        "secrets \"s.age\"\nhost \"a\"\non \"a\" { m (secret)\"x\"; file \"/y\" after=\"m[other]\" }";
    let sources =
        one(inventory).secret_file("s.age", "x \"hunter2-long\"").file("modules/m/module.kdl", module);
    let shown = run(&loader(sources, &[]), "inventory.kdl", &[]);
    assert!(shown.contains("x a secret cannot be part of a name") && !shown.contains("hunter2"), "{shown}");
}
