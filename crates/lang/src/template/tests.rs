//! Tests of templates against the rules of the language.

use std::collections::BTreeMap;
use std::sync::Arc;

use converge_model::Facts;
use converge_model::facts::{Disk, LIMIT, Os};
use minijinja::Value;

use super::recording::observe;
use super::values::Clash;
use super::*;
use crate::source::diagnostic::{Code, Diagnostic};

/// Names with their values. `secret` is tainted; the definition of `broken` is wrong.
pub(super) struct Names(pub(super) BTreeMap<&'static str, Value>);

impl Scope for Names {
    fn get(&self, name: &str) -> Option<Result<Found, ScopeError>> {
        if name == "broken" {
            return Some(Err(ScopeError(Box::new(Diagnostic::error(Code::Template, "broken itself")))));
        }
        let (name, value) = self.0.iter().find(|(known, _)| fold(known) == name)?;
        let marks = match *name {
            "secret" => Marks::TAINTED,
            "closed" => Marks::TAINTED | Marks::UNKNOWN,
            "later" => Marks::UNKNOWN,
            _ => Marks::default(),
        };
        Some(Ok(Found { value: value.clone(), marks }))
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().map(|name| (*name).to_owned()).collect()
    }
}

pub(super) fn map<const N: usize>(entries: [(&str, Value, Marks); N]) -> Value {
    Map::folding(entries.map(|(key, value, marks)| (key.to_owned(), value, marks)).to_vec()).unwrap()
}

/// Returns the value of a key in `map`, in any spelling.
fn held(map: &Map, key: &str) -> Option<Found> {
    map.entries().unwrap().into_iter().find(|(own, _)| fold(own) == fold(key)).map(|(_, found)| found)
}

pub(super) fn list<const N: usize>(items: [Value; N]) -> Value {
    List::new(items.map(|item| (item, Marks::default())).to_vec())
}

fn plain(value: impl Into<Value>) -> (Value, Marks) {
    (value.into(), Marks::default())
}

pub(super) fn scope_with(facts: Value) -> Arc<dyn Scope> {
    let root = Value::from("/srv");
    let none = Marks::default;
    let app = map([
        ("root", root, none()),
        ("workers", Value::from(4), none()),
        ("max-size", Value::from(9), none()),
    ]);
    let db =
        map([("host", Value::from("db1"), none()), ("password", Value::from("hunter22"), Marks::TAINTED)]);
    let users = list([
        map([("name", Value::from("ada"), none()), ("key", Value::from("k1"), Marks::TAINTED)]),
        map([("name", Value::from("bob"), none()), ("key", Value::from("k2"), Marks::TAINTED)]),
    ]);
    Arc::new(Names(BTreeMap::from([
        ("app", app),
        ("app-release", Value::from("1.2")),
        ("by_os", map([("debian", map([("apache", Value::from("apache2"), none())]), none())])),
        ("db", db),
        ("empty", list([])),
        ("facts", facts),
        ("n", Value::from(3)),
        ("name", Value::from("world & <x>")),
        ("nothing", Value::from(())),
        ("secret", Value::from("s3cret")),
        ("users", users),
        ("yes", Value::from(true)),
    ])))
}

fn scope() -> Arc<dyn Scope> {
    scope_with(known_facts(&facts()))
}

fn facts() -> Facts {
    Facts {
        os: Os { family: "debian".to_owned(), ..Os::default() },
        disks: vec![Disk { name: "sda".to_owned(), size: 9, ..Disk::default() }],
        own: vec![
            ("rack".to_owned(), r#"{"row-no": 4, "template": "{{ secret }}"}"#.to_owned()),
            ("bad".to_owned(), "{".to_owned()),
            ("deep".to_owned(), format!("{}{}", "[".repeat(34), "]".repeat(34))),
            ("just".to_owned(), format!("{}{}", "[".repeat(33), "]".repeat(33))),
            ("full".to_owned(), format!("\"{}\"", "x".repeat(LIMIT - 2))),
            ("large".to_owned(), format!("\"{}\"", "x".repeat(LIMIT - 1))),
        ],
        ..Facts::default()
    }
}

pub(super) fn engine() -> Engine {
    Engine::new(Arc::new(|name: &str| match name {
        "part.j2" => Ok(Some("{# gone #}part of {{ name }}\n".to_owned())),
        "bad.j2" => Ok(Some("line\n{{ wrokers }}\n".to_owned())),
        "loop.j2" => Ok(Some("{% include 'loop.j2' %}".to_owned())),
        "secret.j2" => Ok(Some("{{ secret }}".to_owned())),
        _ => Ok(None),
    }))
}

fn renders(template: &str, expected: &str) {
    let rendered = engine().text(template, &scope()).unwrap_or_else(|error| panic!("{template}: {error:?}"));
    assert_eq!(rendered.text, expected, "{template}");
}

fn refuses(template: &str, message: &str, help: &str) {
    let error = engine().text(template, &scope()).expect_err(template);
    assert_eq!(
        (error.message.as_str(), error.help.as_deref().unwrap_or_default()),
        (message, help),
        "{template}"
    );
}

fn expression_refuses(expression: &str, message: &str, help: &str) {
    let error = engine().expression(expression, &scope()).expect_err(expression);
    assert_eq!(
        (error.message.as_str(), error.help.as_deref().unwrap_or_default()),
        (message, help),
        "{expression}"
    );
}

#[test]
fn strings_are_filled_in_once_and_exactly() {
    renders("plain", "plain");
    renders("{{ name }}", "world & <x>");
    renders("a {{ n }} {{ yes }} {{ not yes }} {{ 0.5 }}\n", "a 3 true false 0.5\n");
    renders("${#x} {{ n }} #} {# kept #} $y {z}", "${#x} 3 #} {# kept #} $y {z}");
    renders("{% if yes %}\na\n{% endif %}\nb", "a\nb");
    renders("{{ '{{ n }}' }}", "{{ n }}");
    renders("{{ facts.own.rack.template }}", "{{ secret }}");
    renders("{% raw %}{{ n }}{% endraw %}", "{{ n }}");
    renders("{{ missing | default('x') }} {{ app.missing is defined }}", "x false");
}

#[test]
fn maps_fold_dashes_and_keep_their_spelling() {
    renders("{{ app.max_size }} {{ app['max-size'] }} {{ app['max_size'] }} {{ app_release }}", "9 9 9 1.2");
    renders("{% for k in app %}{{ k }} {% endfor %}", "root workers max-size ");
    renders("{% for k, v in app | items %}{{ k }}={{ v }} {% endfor %}", "root=/srv workers=4 max-size=9 ");
    let clash = Map::folding(vec![
        ("a-b".to_owned(), Value::from(1), Marks::default()),
        ("a_b".to_owned(), Value::from(2), Marks::default()),
    ]);
    assert_eq!(clash.unwrap_err(), Clash("a-b".to_owned(), "a_b".to_owned()));
}

#[test]
fn text_is_made_of_scalars_only() {
    let null = "use `default(\"\", true)` for null; `tojson` writes `null`";
    refuses("{{ nothing }}", "null cannot become a string", null);
    refuses("{{ empty }}", "a list cannot become a string", "use `join(\", \")`, or `tojson`");
    refuses("{{ [1] }}", "a list cannot become a string", "use `join(\", \")`, or `tojson`");
    let keys = "name one of its keys, or use `tojson`, or `join` its values";
    refuses("{{ app }}", "a map cannot become a string", keys);
    refuses("{{ [nothing] | join }}", "null cannot become a string", null);
    refuses("{{ name | join(',') }}", "a string has no items to join", "make it a list: `[\"a\", \"b\"]`");
    renders("{{ [1, yes, 'a'] | join(', ') }}", "1, true, a");
    renders("{{ users | join('-', attribute='name') }}", "ada-bob");
    renders("{{ app | tojson }}", r#"{"root": "/srv", "workers": 4, "max-size": 9}"#);
    renders("{{ name | tojson }} {{ '\\\\u003c' | tojson }}", r#""world & <x>" "\\u003c""#);
    renders("{{ nothing | tojson }}", "null");
    renders("{{ \"it's\" | quote }} {{ n | quote }} {{ '' | quote }}", "'it'\\''s' 3 ''");
    renders("{{ 'a b/c@d' | urlencode }}", "a%20b/c%40d");
}

#[test]
fn a_password_has_one_hash_for_one_use() {
    // The output of `openssl passwd -6 -salt …`.
    renders(
        "{{ 'correct horse' | crypt('ada') }}",
        "$6$b731755a032ce8a4$246CSpEbTEZhcyfp4GwM5ForZgwrNpd72wy7Yga8nd51P6qHYvKitWEF6M2tGGiVN0SFgyHmH13aay3QIbulk.",
    );
    renders("{{ 'pw' | crypt('ada') == 'pw' | crypt('bob') }}", "false");
    renders(&format!("{{{{ '{}' | crypt | length }}}}", "x".repeat(1024)), "106");
    refuses(
        &format!("{{{{ '{}' | crypt }}}}", "x".repeat(1025)),
        "a password has at most 1024 bytes, and a template at most 512 passwords",
        "",
    );
    refuses("{{ '' | crypt }}", "an empty password has no hash", "give it a value");
    refuses(
        "{{ app | crypt }}",
        "a map cannot become a string",
        "name one of its keys, or use `tojson`, or `join` its values",
    );
}

#[test]
fn tojson_of_lists_in_lists_has_a_limit() {
    let nested = |deep: usize| {
        format!(
            "{{% set ns = namespace(x=[1]) %}}{{% for i in range({deep}) %}}{{% set ns.x = [ns.x] %}}{{% endfor %}}{{{{ ns.x | tojson | length }}}}"
        )
    };
    renders(&nested(60), "123");
    let help = "name one part of the value; the variables of a host may contain the host";
    refuses(&nested(70), "the value for `tojson` is nested more than 64 levels deep", help);
}

const INSTEAD: &str = "use `default(…)` for a missing value; a value with `if` needs an `else`";

#[test]
fn undefined_is_an_error_everywhere() {
    refuses("{{ nmae }}", "`nmae` is undefined", "did you mean `name`?");
    refuses("{{ app.wrokers }}", "`app.wrokers` is undefined", "did you mean `workers`?");
    refuses("{{ app['wrokers'] }}", "`app['wrokers']` is undefined", "did you mean `workers`?");
    refuses("{{ [app.wrokers] | join }}", "`wrokers` is undefined", "did you mean `workers`?");
    refuses("{{ [zzz] | tojson }}", "`zzz` is undefined", INSTEAD);
    refuses("{{ 'a' if not yes }}", "something here is undefined", INSTEAD);
    refuses("{% for x in zzz %}{% endfor %}", "`zzz` is undefined", "use `default(…)` for a missing value");
    expression_refuses("app.wrokers", "`app.wrokers` is undefined", "did you mean `workers`?");
    expression_refuses("[1, app.wrokers]", "`[1, app.wrokers]` is undefined", "did you mean `workers`?");
    expression_refuses("{'a': {'b': [nmae]}}", "`{'a': {'b': [nmae]}}` is undefined", "did you mean `name`?");
    expression_refuses("[nmae] + [1]", "`[nmae] + [1]` is undefined", "did you mean `name`?");
    expression_refuses("by_os['alpine']", "`by_os['alpine']` is undefined", "");
}

#[test]
fn a_dash_is_a_subtraction_and_the_error_says_so() {
    let help = "`app-release` is a subtraction: write `app_release`";
    expression_refuses("app-release", "tried to use - operator on unsupported types map and undefined", help);
    let help = "`max-size` is a subtraction: write `max_size`";
    expression_refuses(
        "app.max-size",
        "tried to use - operator on unsupported types undefined and undefined",
        help,
    );
    // Neither part exists, and the name is at the end of the text.
    let operator = "tried to use - operator on unsupported types undefined and undefined";
    expression_refuses("by-os", operator, "`by-os` is a subtraction: write `by_os`");
}

#[test]
fn errors_know_their_range() {
    let check = |template: &str, at: &str| {
        let error = engine().text(template, &scope()).expect_err(template);
        assert_eq!(error.range.map(|range| &template[range]), Some(at), "{template}");
    };
    check("a {{ n }} {{ app.wrokers }}", "app.wrokers");
    check("a {{ n | nofilter }}", "nofilter");
    check("é {{ nothing }}", "nothing");
    check("a {{ n + }}", "}}");
    let error = engine().file("x.j2", "a\n{% include 'bad.j2' %}", &scope()).unwrap_err();
    assert_eq!(error.message, "`wrokers` is undefined");
    assert_eq!(error.included, Some(("bad.j2".to_owned(), 2)));
}

#[test]
fn a_mistake_in_a_variable_comes_through_as_it_is() {
    for template in ["{{ broken }}", "{{ [broken] | join }}", "{% if n == 3 %}{{ broken.x }}{% endif %}"] {
        let error = engine().text(template, &scope()).unwrap_err();
        assert_eq!(error.cause.map(|cause| cause.0.message).as_deref(), Some("broken itself"), "{template}");
    }
    renders("{{ n if yes else broken }}", "3");
}

#[test]
fn files_have_comments_and_includes() {
    let check = |text: &str, expected: &str| {
        assert_eq!(engine().file("x.html", text, &scope()).unwrap().text, expected, "{text}");
    };
    check("{# gone #}a {{ name }}\n", "a world & <x>\n");
    check("a\n{% include 'part.j2' %}\nb\n", "a\npart of world & <x>\nb\n");
    let fails = |text: &str, message: &str| {
        assert_eq!(engine().file("x", text, &scope()).expect_err(text).message, message);
    };
    fails("{% include 'none.j2' %}", "there is no template `none.j2`");
    fails("{% include '../x' %}", "`../x` is not a template of this folder");
    fails("{% include '/etc/passwd' %}", "`/etc/passwd` is not a template of this folder");
    fails("{% include '\u{1}\u{1}x' %}", "there is no template `\u{fffd}\u{fffd}x`");
    fails("{% include 'loop.j2' %}", "recursion limit exceeded");
    assert_eq!(
        engine().text("{% include 'part.j2' %}", &scope()).unwrap_err().message,
        "a string cannot include a file"
    );
}

#[test]
fn a_template_that_reads_a_secret_is_tainted() {
    let check = |template: &str, tainted: bool| {
        let rendered = engine().file("x", template, &scope()).unwrap_or_else(|e| panic!("{template}: {e:?}"));
        assert_eq!(rendered.marks.tainted, tainted, "{template}");
    };
    for template in [
        "{{ secret }}",
        "{{ secret | length }}",
        "{% if secret == 'x' %}a{% endif %}",
        "{% set x = secret %}{{ x[0] }}",
        "{% macro m() %}{{ secret }}{% endmacro %}{{ m() }}",
        "{% include 'secret.j2' %}",
        "{% filter upper %}{{ secret }}{% endfilter %}",
        "{{ db.password }}",
        "{{ db['password'] }}",
        "{{ db | tojson }}",
        "{{ db ~ '' }}",
        "{{ [db] ~ '' }}",
        "{{ [[users]] ~ '' }}",
        "{% for k, v in db | items %}{{ k }}{% endfor %}",
        "{{ users | map(attribute='key') | join }}",
        "{{ users[0].key }}",
        "{{ (users | first)['key'] }}",
        "{{ db == {'host': 'db1', 'password': 'x'} }}",
        "{% with p = db %}{{ p.password }}{% endwith %}",
        "{{ db | dictsort | tojson }}",
        "{{ dict(db) | tojson }}",
        "{{ db | urlencode }}",
        "{{ users | tojson }}",
        "{{ users ~ '' }}",
    ] {
        check(template, true);
    }
    for template in
        ["{{ n }}", "{{ db.host }}", "{{ users | length }}", "{{ users | map(attribute='name') | join }}"]
    {
        check(template, false);
    }
    for gone in ["{{ debug() }}", "{{ db | pprint }}"] {
        assert!(engine().text(gone, &scope()).is_err(), "{gone}");
    }
}

#[test]
fn a_secret_that_an_expression_returns_unread_keeps_its_mark() {
    let evaluated = engine().expression("db", &scope()).unwrap();
    assert!(!evaluated.marks.tainted);
    let Raw::Map(db) = raw(&evaluated.value) else { panic!("not a map") };
    assert_eq!(held(db, "password").unwrap().marks, Marks::TAINTED);
    let (_, marks) = observe(|| evaluated.value.get_attr("password"));
    assert!(marks.tainted);
    assert!(!format!("{evaluated:?} {:?}", engine().text("{{ secret }}", &scope())).contains("s3cret"));
    assert!(!format!("{evaluated:?}").contains("hunter22"));
}

#[test]
fn results_of_expressions_are_scalars_maps_and_lists() {
    let value = |expression: &str| engine().expression(expression, &scope()).unwrap().value;
    assert!(matches!(raw(&value("n + 1")), Raw::Scalar(v) if *v == Value::from(4)));
    assert!(matches!(raw(&value("nothing")), Raw::Null));
    assert!(matches!(raw(&value("[]")), Raw::List(list) if list.items().is_empty()));
    assert!(matches!(raw(&value("range(3)")), Raw::List(list) if list.items().len() == 3));
    assert!(
        matches!(raw(&value("users | map(attribute='name')")), Raw::List(list) if list.items().len() == 2)
    );
    assert!(matches!(raw(&value("{'a-b': [1], 'c': {}}")), Raw::Map(map) if held(map, "a_b").is_some()));
    assert!(matches!(raw(&value("empty + [1]")), Raw::List(list) if list.items().len() == 1));
    assert!(matches!(raw(&value("users | first")), Raw::Map(_)));
}

#[test]
fn facts_have_a_schema() {
    let known = |expression: &str| engine().expression(expression, &scope()).map(|e| (e.value, e.marks));
    assert_eq!(known("facts.os.family").unwrap(), plain("debian"));
    assert_eq!(known("facts.disks[0].size * 2").unwrap(), plain(18));
    assert_eq!(known("facts.own.rack.row_no").unwrap(), plain(4));
    assert_eq!(known("facts.own.none is defined").unwrap(), plain(false));
    let not_json = known("facts.own.bad").unwrap_err().message;
    assert!(not_json.starts_with("the host's own fact `bad` is not JSON: "), "{not_json}");
    assert!(known("facts.own.deep").unwrap_err().message.ends_with("is nested more than 32 levels deep"));
    assert!(known("facts.own.large").unwrap_err().message.ends_with("is too large"));
    assert_eq!(known("facts.own.just | length").unwrap(), plain(1));
    assert_eq!(known("facts.own.full | length").unwrap(), plain(LIMIT - 2));
    for scope in [scope(), scope_with(unknown_facts())] {
        let check = |expression: &str, message: &str, help: &str| {
            let error = engine().expression(expression, &scope).expect_err(expression);
            assert_eq!(
                (error.message.as_str(), error.help.as_deref().unwrap()),
                (message, help),
                "{expression}"
            );
        };
        check("facts.os.idd", "there is no fact `facts.os.idd`", "did you mean `id`?");
        check("facts.os.idd | default('x')", "there is no fact `facts.os.idd`", "did you mean `id`?");
        check(
            "facts.os.zzz is defined",
            "there is no fact `facts.os.zzz`",
            "the names here are id, family, name, pretty_name, version, codename",
        );
        check("facts.disks[0].nmae", "there is no fact `facts.disks.nmae`", "did you mean `name`?");
    }
}

#[test]
fn what_reads_an_unknown_fact_is_unknown_and_does_not_fail() {
    let scope = scope_with(unknown_facts());
    for template in [
        "{{ facts.os.family }}",
        "{{ facts.os.family == 'redhat' }}",
        "{{ facts.memory.total > 2147483648 }}",
        "{{ facts.memory.total // 1024 }}",
        "{{ facts.os.version | int + 1 }}",
        "{{ facts.hostname | upper | replace('A', 'b') }}",
        "{{ by_os[facts.os.family].apache }}",
        "{{ {'debian': 1}[facts.os.family] }}",
        "{% for disk in facts.disks %}{{ disk.name }} {{ disk.size + 1 }}{% endfor %}",
        "{{ facts.addresses | join(',') }}",
        "{{ facts.addresses[0] }}",
        "{{ facts.addresses[7] }}",
        "{{ facts.disks | length }}",
        "{{ facts.own.rack.row + 1 }}",
        "{{ facts.own.rack['x'] ~ 'y' }}",
        "{{ facts.os | tojson }}",
        "{% if 'x' in facts.addresses %}a{% endif %}",
        "{{ facts.addresses }}",
    ] {
        let rendered =
            engine().text(template, &scope).unwrap_or_else(|error| panic!("{template}: {error:?}"));
        assert!(rendered.marks.unknown, "{template}");
    }
    let error = engine().text("{{ facts.os.id }} {{ nmae }}", &scope).unwrap_err();
    assert_eq!(error.message, "`nmae` is undefined");
    assert!(engine().text("{{ facts.os.id }} {{ broken }}", &scope).unwrap_err().cause.is_some());
    assert!(!engine().text("{{ facts.os is defined }}", &scope).unwrap().marks.unknown);
}

#[test]
fn templates_are_bounded() {
    let fails = |template: &str, message: &str| {
        assert_eq!(engine().text(template, &scope()).expect_err(template).message, message, "{template}");
    };
    let steps = "the template takes too many steps";
    let nested = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
    fails(nested, steps);
    fails("{{ 'xxxxxxxxxx' * 1000000 }}", "the result is longer than 1048576 bytes");
    fails(
        "{% for a in range(99999) %}0123456789abcdef{% endfor %}",
        "the result is longer than 1048576 bytes",
    );
    fails("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion limit exceeded");
    assert!(engine().text(&format!("{{{{ {} }}}}", "(".repeat(100_000)), &scope()).is_err());
    assert!(engine().expression(&"[".repeat(100_000), &scope()).is_err());
    assert!(engine().expression(&"not ".repeat(100_000), &scope()).is_err());
    assert!(engine().text(&"{% if yes %}".repeat(10_000), &scope()).is_err());
    // Templates just below the limits do not overflow the stack of a thread.
    for most in [
        "not ".repeat(598) + "yes",
        "n".to_owned() + &"+n".repeat(598),
        "n".to_owned() + &" and n".repeat(598),
    ] {
        assert!(engine().expression(&most, &scope()).is_ok());
        assert!(engine().text(&format!("{{{{ {most} }}}}"), &scope()).is_ok());
    }
    let elifs = format!("{{% if not yes %}}{}{{% endif %}}", "{% elif not yes %}".repeat(100));
    assert_eq!(engine().text(&elifs, &scope()).unwrap().text, "");
}

#[test]
fn variables_may_not_wait_for_each_other_without_end() {
    /// A scope in which every name is made of another.
    struct Endless(Engine);
    impl Scope for Endless {
        fn get(&self, _name: &str) -> Option<Result<Found, ScopeError>> {
            let scope: Arc<dyn Scope> = Arc::new(Endless(engine()));
            let rendered = self.0.text("{{ a }}", &scope);
            let error = |e: TemplateError| {
                e.cause.unwrap_or_else(|| ScopeError(Box::new(Diagnostic::error(Code::Template, e.message))))
            };
            Some(rendered.map(|r| Found { value: r.text.into(), marks: r.marks }).map_err(error))
        }
        fn names(&self) -> Vec<String> {
            Vec::new()
        }
    }
    let error = engine().text("{{ a }}", &(Arc::new(Endless(engine())) as Arc<dyn Scope>)).unwrap_err();
    assert_eq!(error.message, "too many nested variables");
}

#[test]
fn syntax_is_checked_without_values() {
    assert_eq!(engine().check(None, "{{ a }}"), Ok(()));
    assert!(engine().check(None, "{{ a").is_err());
    assert!(engine().check(Some("x.j2"), "{# a").is_err());
    assert!(engine().check(None, "{# a").is_ok());
    assert!(engine().check_expression("a +").unwrap_err().range.is_some());
    assert!(engine().check_expression("{{ a }}").is_err());
    assert_eq!(engine().check_expression("a | default(1)"), Ok(()));
}

#[test]
fn a_line_of_a_tainted_text_is_clean_where_no_secret_could_change_it() {
    let check = |template: &str, clean: &[&str], pieces: &[&str]| {
        let rendered = engine().file("x", template, &scope()).unwrap_or_else(|e| panic!("{template}: {e:?}"));
        let Some(stand_ins) = &rendered.marks.stand_ins else { panic!("{template}: nothing is known of it") };
        let lines: Vec<&str> = rendered.text.split('\n').collect();
        let found: Vec<&str> =
            stand_ins.clean_lines(&rendered.text).into_iter().map(|line| lines[line as usize]).collect();
        assert_eq!(found, clean, "{template}");
        let mut found: Vec<&str> = stand_ins.pieces().collect();
        found.sort_unstable();
        assert_eq!(found, pieces, "{template}");
    };
    check(
        "frontend web\nuser {{ db.password }}\nbind :80\n",
        &["frontend web", "bind :80", ""],
        &["hunter22"],
    );
    check("a {{ db.password | upper }} b\nc", &["c"], &["HUNTER22"]);
    check("{{ ('user:' ~ db.password) | urlencode }}\nc", &["c"], &["hunter22"]);
    check("{{ 'user=' ~ db.password ~ '\nhost=elsewhere' }}\nc", &["host=elsewhere", "c"], &["hunter22"]);
    check("{{ 'user=' ~ (db.password | replace('-', '\n')) }}\nc", &["c"], &["user=hunter22"]);
    check("{{ db.password | upper }}:{{ db.password | reverse }}", &[], &["22retnuh", "HUNTER22"]);
    check("{{ db | tojson }}\nc", &["c"], &["hunter22"]);
    check("{% set p = db.password %}a\n{{ p }}\n{{ p | length }}\nb", &["a", "b"], &["hunter22"]);
    check("{% macro m(p) %}x\n{{ p }}\n{% endmacro %}{{ m(db.password) }}b", &["x", "b"], &["hunter22"]);
    check("{% for u in users %}{{ u.name }}\n{{ u.key }}\n{% endfor %}z", &["ada", "bob", "z"], &[]);
    // Text that depends on a secret reveals something about it.
    check("a\n{% if db.password %}b\n{% endif %}c", &["a", "c"], &[]);
    check("{% if db.password == 'hunter22' %}weak\n{% else %}fine\n{% endif %}c", &["c"], &[]);
    check("{% if db.password | length > 6 %}long\n{% else %}short\n{% endif %}c", &["c"], &[]);
    check("{{ 'x' if db.password is startingwith('h') else 'y' }}\nc", &["c"], &[]);
    // An empty password has no hash; the other stand-ins are enough.
    let hashed = engine().text("{{ db.password | crypt }}\nc", &scope()).unwrap();
    assert_eq!(hashed.marks.stand_ins.unwrap().clean_lines(&hashed.text), [1]);
}

#[test]
fn what_an_expression_makes_of_a_secret_is_one_without_what_stands_beside_it() {
    let of = |expression: &str| engine().expression(expression, &scope()).unwrap().marks.stand_ins;
    let pieces = |expression: &str| of(expression).unwrap().pieces().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(pieces("'user=' ~ db.password ~ ';'"), ["hunter22"]);
    assert_eq!(of("[db.password]"), None, "a list is secret as a whole");
}

#[test]
fn items_of_a_literal_keep_marks_of_their_own() {
    let evaluated =
        |text: &str| engine().expression(text, &scope()).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    let list = evaluated("['a', secret, facts.os.family, [secret]]");
    assert_eq!(list.marks, Marks::default());
    let Raw::List(items) = raw(&list.value) else { panic!("not a list") };
    let tainted: Vec<bool> = items.items().iter().map(|(_, marks)| marks.tainted).collect();
    assert_eq!(tainted, [false, true, false, false]);
    let map = evaluated("{'name': 'ada', 'password': secret ~ 'x'}");
    assert_eq!(map.marks, Marks::default());
    let Raw::Map(map) = raw(&map.value) else { panic!("not a map") };
    assert!(held(map, "password").unwrap().marks.tainted && !held(map, "name").unwrap().marks.tainted);
    assert!(evaluated("{secret: 1}").marks.tainted, "a key is seen by whoever walks the map");
    assert!(evaluated("['a', secret] + []").marks.tainted);
    assert!(evaluated("['a', secret][0]").marks.tainted);
}
