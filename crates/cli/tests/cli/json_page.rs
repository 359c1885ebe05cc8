//! Checks that docs/json.md describes the output of `--json`. Its tables are compared with the samples and with the
//! output of commands, field by field and in both directions. The schema is made from the tables.
//! `CONVERGE_WRITE_DOCS=1` writes it again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::world::{World, repository};

fn page_path() -> PathBuf {
    repository().join("docs/json.md")
}

type Fields = BTreeMap<String, String>;

/// The tables of the page.
struct Page {
    /// The fields of each object, by its heading. Each field has a type.
    objects: BTreeMap<String, Fields>,
    /// The common fields of a line, beside its own. Not present for an object inside a line.
    around: BTreeMap<String, Fields>,
    /// The types and fields that occurred: `step`, `step.kind`.
    seen: BTreeSet<String>,
}

impl Page {
    fn read() -> Self {
        let text = fs::read_to_string(page_path()).unwrap();
        let tables = text.split("\n## Every line\n").nth(1).unwrap();
        let tables = tables.split("\n## Recipes for jq\n").next().unwrap();
        let mut page = Self { objects: BTreeMap::new(), around: BTreeMap::new(), seen: BTreeSet::new() };
        let (every, chapters) = tables.split_once("\n## ").unwrap();
        for chapter in chapters.split("\n## ") {
            let mut sections = chapter.split("\n### ");
            let common = [rows(every), rows(sections.next().unwrap())].into_iter().flatten();
            let common: Fields = common.collect();
            for section in sections {
                let name = section.lines().next().unwrap().to_owned();
                if !chapter.starts_with("Objects") {
                    page.around.insert(name.clone(), common.clone());
                }
                assert!(
                    page.objects.insert(name.clone(), rows(section)).is_none(),
                    "two objects called {name}"
                );
            }
        }
        page
    }

    /// Compares a line of output with the page.
    fn check(&mut self, line: &str) {
        let mut object: Map<String, Value> = serde_json::from_str(line).unwrap();
        let name = [&object["type"], object.get("event").unwrap_or(&Value::Null)].map(Value::as_str);
        let name = name.into_iter().flatten().collect::<Vec<_>>().join(" ");
        assert!(self.around.contains_key(&name), "{name} is not on the page: {line}");
        assert_eq!(object["version"], 2, "{line}");
        let around = self.around[&name].clone();
        let outer = around.keys().filter_map(|field| object.shift_remove_entry(field)).collect();
        self.fields("line", &around, &outer, line);
        self.object(&name, &object, line);
    }

    fn object(&mut self, name: &str, object: &Map<String, Value>, line: &str) {
        let fields = self.objects[name].clone();
        self.seen.insert(name.to_owned());
        self.fields(name, &fields, object, line);
    }

    fn fields(&mut self, name: &str, fields: &Fields, object: &Map<String, Value>, line: &str) {
        let found: BTreeSet<_> = object.keys().collect();
        assert_eq!(found, fields.keys().collect(), "the fields of {name}: {line}");
        for (field, kind) in fields {
            let (value, at) = (&object[field], format!("{name}.{field}"));
            match kind.strip_suffix(" or null") {
                Some(_) if value.is_null() => {}
                kind_of_value => self.value(kind_of_value.unwrap_or(kind), value, &at, line),
            }
        }
    }

    fn value(&mut self, kind: &str, value: &Value, at: &str, line: &str) {
        let fits = match (Kind::of(kind), value) {
            (Kind::Any, _) => true,
            (Kind::Plain(name), value) => match value {
                Value::String(_) => name == "string",
                Value::Bool(_) => name == "boolean",
                Value::Number(number) => name == "integer" && !number.is_f64(),
                _ => false,
            },
            // An empty list shows nothing about its items.
            (Kind::List(_), Value::Array(items)) if items.is_empty() => return,
            (Kind::List(inner), Value::Array(items)) => {
                items.iter().for_each(|item| self.value(inner, item, at, line));
                true
            }
            (Kind::Map(inner), Value::Object(map)) => {
                map.values().for_each(|item| self.value(inner, item, at, line));
                true
            }
            (Kind::Object(name), Value::Object(object)) => {
                self.object(name, object, line);
                true
            }
            _ => false,
        };
        assert!(fits, "{at} should be {kind}: {value} in {line}");
        self.seen.insert(at.to_owned());
    }

    /// Returns what the page describes and no output has shown.
    fn unseen(&self) -> Vec<String> {
        let of_object = |(name, fields): (&String, &Fields)| {
            let fields = fields.keys().map(|field| format!("{name}.{field}")).collect::<Vec<_>>();
            [vec![name.clone()], fields].concat()
        };
        self.objects.iter().flat_map(of_object).filter(|at| !self.seen.contains(at)).collect()
    }

    /// Returns the tables as a JSON Schema, one object per line. Unknown types of lines and unknown fields are valid,
    /// because they may be added.
    fn schema(&self) -> String {
        let line = |(name, around): (&String, &Fields)| {
            let mut words = name.split(' ').map(|word| json!({"const": word}));
            let keys = ["type", "event"].into_iter();
            let keys: Map<_, _> = keys.filter_map(|key| Some((key.to_owned(), words.next()?))).collect();
            let reference = json!({"$ref": format!("#/$defs/{}", anchor(name))});
            let then = json!({"allOf": [of_fields(around), reference]});
            json!({"if": {"properties": keys}, "then": then}).to_string()
        };
        let object =
            |(name, fields): (&String, &Fields)| format!("{:?}: {}", anchor(name), of_fields(fields));
        let lines = self.around.iter().map(line).collect::<Vec<_>>().join(",\n");
        let objects = self.objects.iter().map(object).collect::<Vec<_>>().join(",\n");
        format!(
            "{{\n\"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n\"title\": \"A line of converge --json\",\n\
             \"allOf\": [\n{lines}\n],\n\"$defs\": {{\n{objects}\n}}\n}}\n"
        )
    }
}

/// A type in the syntax of the tables.
enum Kind<'a> {
    Any,
    Plain(&'a str),
    List(&'a str),
    Map(&'a str),
    Object(&'a str),
}

impl<'a> Kind<'a> {
    fn of(text: &'a str) -> Self {
        let inner = |start: &str| text.strip_prefix(start);
        match (inner("list of "), inner("map of "), inner("[")) {
            (Some(inner), ..) => Self::List(inner),
            (_, Some(inner), _) => Self::Map(inner),
            (.., Some(link)) => Self::Object(link.split_once("](#").unwrap().0),
            _ if text == "any" => Self::Any,
            _ => Self::Plain(text),
        }
    }

    fn schema(&self) -> Value {
        let of = |inner: &str| Kind::of(inner).schema();
        match self {
            Self::Any => json!({}),
            Self::Plain(name) => json!({"type": name}),
            Self::List(inner) => json!({"type": "array", "items": of(inner)}),
            Self::Map(inner) => json!({"type": "object", "additionalProperties": of(inner)}),
            Self::Object(name) => json!({"$ref": format!("#/$defs/{}", anchor(name))}),
        }
    }
}

fn anchor(name: &str) -> String {
    name.replace(' ', "-")
}

fn of_fields(fields: &Fields) -> Value {
    let kind = |kind: &String| match kind.strip_suffix(" or null") {
        Some(kind) => json!({"anyOf": [Kind::of(kind).schema(), {"type": "null"}]}),
        None => Kind::of(kind).schema(),
    };
    let properties: Map<_, _> = fields.iter().map(|(field, of)| (field.clone(), kind(of))).collect();
    let required: Vec<_> = fields.keys().collect();
    json!({"type": "object", "properties": properties, "required": required})
}

/// Returns the rows of a table: each field with its type.
fn rows(text: &str) -> Fields {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let mut cells = line.split(" | ");
        let field = cells.next().unwrap().trim_start_matches("| ").trim_matches('`');
        (field.to_owned(), cells.next().unwrap().to_owned())
    };
    rows.map(row).collect()
}

#[test]
fn the_page_and_the_samples_have_the_same_fields() {
    let mut page = Page::read();
    let samples = fs::read_to_string(repository().join("docs/json-samples.jsonl")).unwrap();
    samples.lines().for_each(|line| page.check(line));
    assert_eq!(page.unseen(), [""; 0], "no sample has a value there");
}

#[test]
fn the_schema_is_that_of_the_page() {
    let path = repository().join("docs/json-schema.json");
    let text = Page::read().schema();
    match std::env::var_os("CONVERGE_WRITE_DOCS") {
        Some(_) => fs::write(path, text).unwrap(),
        None => {
            assert_eq!(fs::read_to_string(path).unwrap(), text, "run this test with CONVERGE_WRITE_DOCS=1")
        }
    }
}

#[test]
fn what_commands_print_is_on_the_page() {
    let world = World::example("quickstart");
    world.write("converge.kdl", "inventory \"inventory.kdl\"\n");
    world.write("broken.kdl", "host \"here\"\non \"here\" { fil \"/x\" }\n");
    let mut page = Page::read();
    let mut check = |arguments: &[&str], exit: i32| {
        let said = world.run(&[arguments, &["--json"]].concat());
        assert_eq!((said.exit, said.err.as_str()), (exit, ""), "{arguments:?}: {}", said.out);
        assert!(!said.out.is_empty(), "{arguments:?}");
        said.out.lines().for_each(|line| page.check(line));
    };
    check(&["check"], 0);
    check(&["check", "broken.kdl"], 1);
    check(&["plan", "broken.kdl"], 1);
    check(&["plan", "nothing.kdl"], 1);
    check(&["plan", "--limit", "nobody"], 1);
    check(&["plan", "--nonsense"], 1);
    check(&["plan", "--parallel", "many"], 1);
    check(&["nonsense"], 1);
    check(&[], 1);
    check(&["apply"], 1);
    check(&["plan", "--detailed-exitcode"], 2);
    check(&["apply", "--yes"], 0);
    check(&["drift"], 0);
    check(&["history"], 0);
    check(&["history", "last"], 0);
    check(&["history", "2999"], 1);
    check(&["inventory"], 0);
    check(&["explain", "here"], 0);
    check(&["explain", "here", "greeting"], 0);
    check(&["explain", "here", "nothing"], 1);
    check(&["facts"], 0);
    check(&["docs"], 0);
    check(&["docs", "file"], 0);
    check(&["docs", "json"], 0);
    check(&["docs", "fil"], 1);
    check(&["completions", "bash"], 0);
    check(&["version"], 0);
}

#[test]
fn an_error_is_one_line_among_the_results() {
    let world = World::new();
    let said = world.run(&["plan", "nothing.kdl", "--json"]);
    assert_eq!((said.exit, said.err.as_str(), said.out.lines().count()), (1, "", 1), "{}", said.out);
    let line: Value = serde_json::from_str(&said.out).unwrap();
    let fields = ["type", "severity", "code", "exit-code"].map(|field| &line[field]);
    assert_eq!(fields, [&Value::from("diagnostic"), &"error".into(), &"cli::project".into(), &1.into()]);
    let human = world.run(&["plan", "nothing.kdl"]);
    assert!(human.err.contains(line["message"].as_str().unwrap()) && human.out.is_empty(), "{human:?}");
}

#[test]
fn a_secret_is_printed_where_it_is_asked_for_alone() {
    let world = World::new();
    world.write("inventory.kdl", "secrets \"s.age\"\nhost \"h\" { connection \"local\" root=\"root\" }\non \"h\" { file \"/x\" content=(secret)\"token\" }\n");
    world.write("typed", "hunter2hunter2");
    assert_eq!(world.run(&["secrets", "keygen", "--json"]).exit, 0);
    let typed = fs::File::open(world.project().join("typed")).unwrap();
    let set = world.command(&["secrets", "set", "token", "s.age", "--json"]).stdin(typed).output().unwrap();
    assert!(world.said(set).exit == 0);
    let mut page = Page::read();
    for arguments in [
        &["secrets", "get", "token", "s.age", "--json"][..],
        &["secrets", "list", "s.age", "--json"],
        &["plan", "--json", "inventory.kdl"],
    ] {
        let said = world.run(arguments);
        assert_eq!((said.exit, said.err.as_str()), (0, ""), "{arguments:?} {}", said.out);
        said.out.lines().for_each(|line| page.check(line));
        assert_eq!(said.out.contains("hunter2"), arguments[1] == "get", "{}", said.out);
    }
}
