//! The whole language with any text: as an inventory, as a module, and as a file of secrets.

use std::sync::{Arc, LazyLock};

use converge_model::schema::{Checked, Child};
use converge_model::{
    Claim, Extent, Facts, HostName, KindInfo, KindSchema, Param, ParamProblem, Params, Type,
};

use crate::catalog::selection::Selection;
use crate::evaluate::facts::{FactsOf, NoFacts};
use crate::project::loader::Loader;
use crate::source::diagnostic::Style;
use crate::source::sources::MemorySources;

/// For any text, loading, checking and compiling end. No report shows the secret.
pub fn loader(text: &str) {
    const SECRET: &str = "s3cr3t-Zq9";
    let host = "host \"a\" \"b\"\nvars { x 1; l \"a\" \"b\"; m { k 1 } }\nsecrets \"s.age\"\n";
    let inventories = [text.to_owned(), format!("{host}{text}"), format!("{host}on \"*\" {{\n{text}\n}}")];
    for inventory in inventories {
        let sources = MemorySources::new()
            .file("inventory.kdl", inventory)
            .file("modules/own/module.kdl", text)
            .file("templates/t.j2", text)
            .secret_file("s.age", format!("a \"{SECRET}\""));
        let kinds: Vec<&'static dyn KindInfo> =
            KINDS.iter().map(|kind| kind as &'static dyn KindInfo).collect();
        let loader = Loader::new(Arc::new(sources), kinds, Vec::new());
        let loaded = loader.load("inventory.kdl", &[]);
        if let Some(first) = loaded.diagnostics.iter().next() {
            assert!(!first.render(&loaded.files, Style::PLAIN).contains(SECRET), "a report shows a secret");
        }
        let Some(inventory) = loaded.inventory else { continue };
        let found = inventory.check();
        for diagnostic in &found {
            assert!(!diagnostic.message.contains(SECRET), "a report shows a secret");
        }
        let facts: Arc<dyn FactsOf> = Arc::new(Known);
        for host in inventory.hosts().take(3) {
            for facts in [&facts, &(Arc::new(NoFacts) as Arc<dyn FactsOf>)] {
                let (compiled, diagnostics) = inventory.compile(host, facts, &Selection::default());
                assert!(compiled.is_some() || diagnostics.has_errors(), "no catalog, and no word why");
            }
        }
    }
}

/// Facts for every host, all empty.
struct Known;

impl FactsOf for Known {
    fn facts(&self, _: &HostName) -> Option<Arc<Facts>> {
        Some(Arc::default())
    }
}

/// A kind with parameters of every type.
struct Every(KindSchema);

impl KindInfo for Every {
    fn schema(&self) -> &KindSchema {
        &self.0
    }

    fn check(&self, params: &Params) -> Result<Checked, Vec<ParamProblem>> {
        match params.get("name") {
            None => Err(vec![ParamProblem::new("name", "it has none")]),
            Some(name) => Ok(Checked {
                claims: vec![Claim::path(format!("{name:?}"), Extent::Whole)],
                suffix: None,
                warnings: Vec::new(),
            }),
        }
    }
}

static KINDS: LazyLock<Vec<Every>> = LazyLock::new(|| {
    let name = || Param::new("name", Type::Text, "").argument(0).required();
    let every = Type::ALL.iter().fold(KindSchema::new("every", "").param(name()), |schema, ty| {
        schema.param(Param::new(
            &format!("p-{}", if *ty == Type::Tree { "tree" } else { ty.name() }),
            ty.clone(),
            "",
        ))
    });
    let file = KindSchema::new("file", "")
        .param(name())
        .param(Param::new("content", Type::Content, ""))
        .param(Param::list("list", Type::Int, ""))
        .child(
            Child::new("section", "").param(Param::new("name", Type::Name, "").argument(0)).free_keys("keys"),
        )
        .notifiable();
    vec![Every(every), Every(file)]
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of inventories and modules. Random texts made of them get past the parser.
    const PIECES: &[&str] = &[
        "host \"c\"",
        "host \"w[1..3]\"",
        "group \"g\" {",
        "members \"*\"",
        "on \"*\" {",
        "on \"g\" after=\"a\" {",
        "vars {",
        "}",
        "\n",
        ";",
        "x 1",
        "y \"{{ x }}\"",
        "z (expr)\"l\"",
        "s (secret)\"a\"",
        "include \"inventory.kdl\"",
        "connection \"local\" root=\"r\"",
        "drift every=\"1m\"",
        "rollout canary=1",
        "file \"/f\"",
        "file \"/{{ x }}\" {",
        "content (template)\"t.j2\"",
        "content \"{{ s }}\"",
        "every \"e\" p-int=\"{{ x }}\"",
        "with=(expr)\"m\"",
        "when=\"x == 1\"",
        "when \"facts.os.id == ''\" {",
        "for \"i\" in=\"l\" {",
        "for \"k\" \"v\" in=\"m\" {",
        "after=\"file[/f]\"",
        "notify=\"file[/f]:reload\"",
        "section \"S\" k=1",
        "own \"n\" {",
        "module \"own\"",
        "params {",
        "param \"p\" type=\"int\" default=1",
        "child \"c\" {",
        "arg \"name\"",
        "assert \"p > 0\" \"t\"",
        "resources {",
        "own",
        "c \"n\"",
        "p 2",
        "tags \"a\" \"b\"",
        "id=\"i\"",
        "-",
        "\"t\"",
        " ",
        "{",
        "list 1 2",
        "(raw)\"r\"",
        "#null",
        "=",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn any_project_loads_or_is_refused(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
            loader(&pieces.join(" "));
        }

        #[test]
        fn any_balanced_project_loads_or_is_refused(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..25)) {
            let mut text = String::new();
            let mut open = 0;
            for piece in pieces {
                open += usize::from(piece.ends_with('{'));
                if piece == "}" {
                    if open == 0 { continue }
                    open -= 1;
                }
                text.push_str(piece);
                text.push('\n');
            }
            text.push_str(&"}\n".repeat(open));
            loader(&text);
        }
    }

    #[test]
    fn the_corpus_holds() {
        let folder = format!("{}/fuzz/corpus/loader", env!("CARGO_MANIFEST_DIR"));
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty());
        for file in files {
            loader(&String::from_utf8_lossy(&std::fs::read(file).unwrap()));
        }
    }
}
