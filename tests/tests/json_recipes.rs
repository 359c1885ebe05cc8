//! Runs the recipes of docs/json.md like a reader. The page must have their output. `CONVERGE_WRITE_DOCS=1` writes it
//! again.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::fs;
use std::path::{Path, PathBuf};

use converge_tests::converge_binary;
use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{install, or_skip};

const HEADING: &str = "\n## Recipes for jq\n";

#[test]
fn recipes_print_what_the_page_says() {
    let Some(()) = or_skip(install(&[("jq", "jq")])) else { return };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, recipes) = text.split_once(HEADING).unwrap();
    let reader = Project::new("", None).unwrap();
    let mut files = ["inventory.kdl", "broken.kdl"].into_iter();
    let mut written = format!("{before}{HEADING}");
    let (mut line, mut count) = (String::new(), 0);
    for (place, part) in recipes.split("```").enumerate() {
        let (kind, body) = part.split_once('\n').unwrap_or((part, ""));
        let fence = |body: &str| format!("```{kind}\n{body}```");
        written.push_str(&match (place % 2, kind) {
            (0, _) => part.to_owned(),
            (_, "kdl") => {
                reader.write(&format!("project/{}", files.next().unwrap()), body).unwrap();
                fence(body)
            }
            (_, "sh") => {
                line = body.to_owned();
                fence(body)
            }
            _ => {
                count += 1;
                fence(&printed(&reader, &line))
            }
        });
    }
    assert!(count >= 10);
    if std::env::var_os("CONVERGE_WRITE_DOCS").is_some() {
        return fs::write(page, written).unwrap();
    }
    for (found, told) in written.lines().zip(text.lines()) {
        assert_eq!(found, told, "run this test with CONVERGE_WRITE_DOCS=1");
    }
    assert_eq!(written.len(), text.len());
}

fn printed(reader: &Project, line: &str) -> String {
    let folder = converge_binary().parent().map(PathBuf::from).unwrap();
    let mut shell = reader.program("sh");
    shell.args(["-c", line]).env("USER", "ada").env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
    let ended = Ended::from(shell.output().unwrap());
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{line}: {ended}");
    assert!(!ended.stdout.is_empty(), "it prints nothing: {line}");
    ended.stdout
}
