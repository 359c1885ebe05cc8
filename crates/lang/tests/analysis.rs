//! The requests of an editor: mistakes in unsaved texts, the meaning of a place, its definitions and its uses.

mod common;

use std::sync::Arc;

use common::loader;
use converge_lang::diagnostic::Span;
use converge_lang::{Analysis, Loader, MemorySources, Symbol};

const INVENTORY: &str = r#"
vars { colour "red"; app { name "shop" } }
group "web" { host "web[1..2]"; vars { colour "blue" } }
host "db"
group "all" { members "web" "db" }
on "web & !db" after="db" {
    m "x" port=80 { site "a" { tls #true } }
    file "/etc/{{ colour }}" mode="0644" when="app.name == 'shop'" {
        content "{{ hosts.db.name }} {{ groups['web'] | length }} {{ hosts['x.y'] | default('') }}"
        tags "a"
    }
    for "c" in="[colour]" { file "/{{ c }}"; file "/t-{{ c }}" content=(template)"t.j2" }
}
"#;

const MODULE: &str = r#"
module "m" summary="A site"
params {
    arg "name"
    param "port" type="port" doc="Where it listens"
    child "site" doc="One site" { arg "name"; param "tls" type="bool" doc="Whether it is encrypted" }
}
vars { root "/srv/{{ params.name }}" }
resources { file "{{ root }}" content="{{ params.port }}" }
"#;

fn project() -> MemorySources {
    MemorySources::new()
        .file("inventory.kdl", INVENTORY)
        .file("modules/m/module.kdl", MODULE)
        .file("templates/t.j2", "{{ colour }}{# colour #}{{ app.name }}")
}

fn analysis() -> Analysis {
    Analysis::new(&loader(project(), &[]), "inventory.kdl", &[], MemorySources::new())
}

/// Returns the span as file, line and text.
fn shown(analysis: &Analysis, at: Span) -> String {
    let text = analysis.files().get(at.file).map(|file| file.text.clone()).unwrap_or_default();
    format!("{} {}", analysis.files().line(at), &text[at.start..at.start + at.len])
}

/// Returns the meaning of `name` directly after `before`.
fn meaning(analysis: &Analysis, file: &str, before: &str, name: &str) -> Option<(Symbol, String)> {
    let id = analysis.file(file)?;
    let text = &analysis.files().get(id)?.text;
    let start = text.find(&format!("{before}{name}"))? + before.len();
    let first = analysis.meaning(id, start)?;
    // All positions in a name have the same meaning.
    let last = analysis.meaning(id, start + name.len() - 1)?;
    assert_eq!(first, last, "{before}{name}");
    Some((first.symbol, first.doc))
}

#[test]
fn mistakes_are_those_of_the_texts_that_are_open() {
    let saved = analysis();
    assert!(saved.diagnostics().is_empty(), "{}", saved.diagnostics().iter().count());
    assert_eq!(saved.inventory().map(|inventory| inventory.hosts().len()), Some(3));
    let open = MemorySources::new()
        .file("modules/m/module.kdl", MODULE.replace("params.port", "params.prot"))
        .file("modules/new/module.kdl", "module \"new\"\nresources { flie \"/x\" }")
        .file("templates/t.j2", "{{ facts.os.famly }}");
    let changed = Analysis::new(&loader(project(), &[]), "inventory.kdl", &[], open);
    let found: Vec<String> = changed
        .diagnostics()
        .iter()
        .map(|found| {
            let at = found.labels.first().map(|(at, _)| changed.files().line(*at)).unwrap_or_default();
            format!("{at} {}", found.message)
        })
        .collect();
    assert_eq!(
        found,
        [
            "templates/t.j2:1 there is no fact `facts.os.famly`",
            "modules/m/module.kdl:9 `params.prot` is undefined",
            "modules/new/module.kdl:2 there is no kind or module `flie`",
        ]
    );
    assert!(changed.inventory().is_none());
    // The names are known in spite of the mistake.
    assert!(meaning(&changed, "inventory.kdl", "    ", "m").is_some());
}

#[test]
fn place_has_the_meaning_of_its_name() {
    let analysis = analysis();
    let at = |before: &str, name: &str| meaning(&analysis, "inventory.kdl", before, name);
    let parameter = |of: &str, name: &str, doc: &str| {
        Some((Symbol::Parameter { of: of.to_owned(), name: name.to_owned() }, doc.to_owned()))
    };
    let variable =
        |name: &str| Some((Symbol::Variable { module: None, name: name.to_owned() }, String::new()));
    assert_eq!(at("    ", "m"), Some((Symbol::Module("m".to_owned()), "A site".to_owned())));
    assert_eq!(at("m \"x\" ", "port"), parameter("m", "port", "Where it listens"));
    assert_eq!(at("{ ", "site"), parameter("m", "site", "One site"));
    assert_eq!(at("site \"a\" { ", "tls"), parameter("m.site", "tls", "Whether it is encrypted"));
    assert_eq!(at("m ", "\"x\""), parameter("m", "name", ""));
    assert_eq!(at("    ", "file"), Some((Symbol::Kind("file".to_owned()), "A file".to_owned())));
    assert_eq!(at("", "when"), Some((Symbol::Option("when".to_owned()), String::new())));
    assert_eq!(at("        ", "tags"), Some((Symbol::Option("tags".to_owned()), String::new())));
    assert_eq!(at("/etc/{{ ", "colour"), variable("colour"));
    assert_eq!(at("when=\"", "app"), variable("app"));
    assert_eq!(at("in=\"[", "colour"), variable("colour"));
    assert_eq!(at("vars { ", "colour"), variable("colour"));
    assert_eq!(at("on \"", "web"), Some((Symbol::Group("web".to_owned()), "2 hosts".to_owned())));
    assert_eq!(at("& !", "db"), Some((Symbol::Host("db".to_owned()), "all".to_owned())));
    assert_eq!(at("{{ ", "hosts.db"), Some((Symbol::Host("db".to_owned()), "all".to_owned())));
    assert_eq!(at("{{ ", "groups['web']"), Some((Symbol::Group("web".to_owned()), "2 hosts".to_owned())));
    assert_eq!(meaning(&analysis, "templates/t.j2", "{{ ", "colour"), variable("colour"));
    let of_module = Symbol::Variable { module: Some("m".to_owned()), name: "root".to_owned() };
    assert_eq!(meaning(&analysis, "modules/m/module.kdl", "{{ ", "root"), Some((of_module, String::new())));
    assert_eq!(
        meaning(&analysis, "modules/m/module.kdl", "{{ ", "params.port"),
        parameter("m", "port", "Where it listens")
    );
    // A comment of a template, an operator of an expression, an empty line.
    assert_eq!(meaning(&analysis, "templates/t.j2", "{# ", "colour"), None);
    assert_eq!(at("app.name ", "=="), parameter("file", "when", "").and(None));
    assert_eq!(analysis.meaning(analysis.file("inventory.kdl").unwrap(), 0), None);
}

#[test]
fn definitions_and_uses_are_all_there() {
    let analysis = analysis();
    let all = |symbol: Symbol| -> (Vec<String>, Vec<String>) {
        let show = |spans: Vec<Span>| spans.into_iter().map(|at| shown(&analysis, at)).collect();
        (show(analysis.definitions(&symbol)), show(analysis.uses(&symbol)))
    };
    let (defined, used) = all(Symbol::Variable { module: None, name: "colour".to_owned() });
    assert_eq!(defined, ["inventory.kdl:2 colour", "inventory.kdl:3 colour"]);
    assert_eq!(used, ["inventory.kdl:8 colour", "inventory.kdl:12 colour", "templates/t.j2:1 colour"]);
    let (defined, used) = all(Symbol::Module("m".to_owned()));
    assert_eq!(
        (defined, used),
        (vec!["modules/m/module.kdl:2 \"m\"".to_owned()], vec!["inventory.kdl:7 m".to_owned()])
    );
    let (defined, used) = all(Symbol::Parameter { of: "m".to_owned(), name: "port".to_owned() });
    assert_eq!(defined, ["modules/m/module.kdl:5 \"port\""]);
    assert_eq!(used, ["inventory.kdl:7 port", "modules/m/module.kdl:9 params.port"]);
    let (defined, used) = all(Symbol::Parameter { of: "m.site".to_owned(), name: "tls".to_owned() });
    assert_eq!((defined.len(), used), (1, vec!["inventory.kdl:7 tls".to_owned()]));
    let (defined, used) = all(Symbol::Host("db".to_owned()));
    assert_eq!(defined, ["inventory.kdl:4 \"db\""]);
    assert_eq!(
        used,
        ["inventory.kdl:5 db", "inventory.kdl:6 db", "inventory.kdl:6 db", "inventory.kdl:9 hosts.db"]
    );
    let (defined, used) = all(Symbol::Group("web".to_owned()));
    assert_eq!(defined, ["inventory.kdl:3 \"web\""]);
    assert_eq!(used, ["inventory.kdl:5 web", "inventory.kdl:6 web", "inventory.kdl:9 groups['web']"]);
    let (defined, used) = all(Symbol::Kind("file".to_owned()));
    assert_eq!((defined.len(), used.len()), (0, 4));
    // The name of a loop is local.
    let (defined, used) = all(Symbol::Variable { module: None, name: "c".to_owned() });
    assert_eq!((defined.len(), used.len()), (0, 0));
}

#[test]
fn texts_that_stand_as_they_were_are_parsed_once_and_mean_the_same() {
    let loader = Loader { parsed: Some(Arc::default()), ..loader(project(), &[]) };
    let analyse = |inventory: &str| {
        let open = MemorySources::new().file("inventory.kdl", inventory);
        let analysis = Analysis::new(&loader, "inventory.kdl", &[], open);
        let found: Vec<String> = analysis.diagnostics().iter().map(|found| found.message.clone()).collect();
        (found, meaning(&analysis, "inventory.kdl", "    ", "m").is_some())
    };
    let wrong = INVENTORY.replace("port=80", "port=0");
    for _ in 0..3 {
        assert_eq!(analyse(INVENTORY), (Vec::new(), true));
        assert_eq!(analyse(&wrong), (vec!["0 is not a port".to_owned()], true));
        assert_eq!(analyse("host \"a\" {"), (analyse("host \"a\" {").0, false));
        assert!(!analyse("host \"a\" {").0.is_empty());
    }
}
