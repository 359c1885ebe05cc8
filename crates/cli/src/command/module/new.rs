//! `converge module new`.

use std::fs;
use std::path::Path;

use clap::Args;
use converge_model::exit;

use crate::failure::Failure;
use crate::project;
use crate::view::Screen;
use crate::view::json::Document;

/// Start a module: modules/NAME with its parameters, a template, a case and a README
///
/// The new module passes `converge module test NAME`. An existing folder is not
/// changed.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct NewArgs {
    /// Name of the module: lower-case letters, digits and dashes
    name: String,
}

impl NewArgs {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let name = self.name.as_str();
        check(name)?;
        let folder = Path::new("modules").join(name);
        let root = super::project()?.root;
        if root.join(&folder).exists() {
            return Err(Failure::new(format!("{} already exists", folder.display())));
        }
        for (file, text) in FILES {
            let file = file.replace("NAME", name);
            let path = root.join(&folder).join(&file);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&path, text.replace("NAME", name))?;
            let path = folder.join(file);
            match screen.is_json() {
                true => screen.print_json(&Document::Written { file: &path, added: None }),
                false => screen.print(&format!("{}\n", path.display())),
            }
        }
        screen.say(&format!("now: converge module test {name}\n"));
        Ok(exit::OK)
    }
}

fn check(name: &str) -> Result<(), Failure> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(fits) || name.len() > 64 {
        return Err(Failure::new(format!("{name:?} is not a valid module name"))
            .help("use lower-case letters, digits and dashes, begin with a letter, at most 64 characters"));
    }
    match project::kinds().iter().any(|kind| kind.schema().name == name) {
        true => {
            Err(Failure::new(format!("{name} is a kind of resource, and a module cannot replace a kind"))
                .help("choose another name"))
        }
        false => Ok(()),
    }
}

/// The files of a new module.
const FILES: [(&str, &str); 5] = [
    ("module.kdl", MODULE),
    ("templates/NAME.conf.j2", "# Managed by Converge.\ngreeting = {{ params.greeting }}\n"),
    ("cases/usual.kdl", "NAME { greeting \"Good day\" }\n"),
    ("cases/usual.expected", EXPECTED),
    ("README.md", README),
];

const MODULE: &str = r#"module "NAME" summary="Purpose of the module, in one line"

params {
    param "greeting" type="string" default="Hello" doc="Text of the greeting"
}

resources {
    file "/etc/NAME.conf" mode="0644" {
        content (template)"NAME.conf.j2"
    }
}
"#;

const EXPECTED: &str = "NAME.file[/etc/NAME.conf]
    path \"/etc/NAME.conf\"
    content
        | # Managed by Converge.
        | greeting = Good day
    mode 0644
";

const README: &str = "# NAME

Purpose of the module, and the parts that it does not manage.

```kdl
NAME {
    greeting \"Good day\"
}
```
";
