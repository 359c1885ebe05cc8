//! The text of a source in deb822 format: sources.list(5).

use std::fmt;
use std::path::PathBuf;

use converge_model::ParamProblem;

use crate::wish::Reader;

/// The fields of the file, in order.
pub(super) struct Source {
    fields: Vec<(String, String)>,
}

/// The fields that have a parameter of their own.
const OWN: [&str; 7] = ["Enabled", "Types", "URIs", "Suites", "Components", "Architectures", "Signed-By"];

impl Source {
    /// Reads and checks all fields of the file.
    pub(super) fn decode(
        params: &mut Reader<'_>,
        absent: bool,
        signed_by: Option<PathBuf>,
        enabled: bool,
    ) -> Self {
        let types = words(params, "types");
        let [uris, suites, components, architectures] =
            ["uris", "suites", "components", "architectures"].map(|name| words(params, name));
        let mut refuse = |param: &str, why: &str| params.problem(ParamProblem::new(param, why));
        if types.iter().any(|ty| ty != "deb" && ty != "deb-src") {
            refuse("types", "must contain only `deb` and `deb-src`");
        }
        if uris.iter().any(|uri| !uri.contains(":/")) {
            refuse("uris", "must contain only addresses");
        }
        if !absent && uris.is_empty() {
            refuse("uris", "is missing");
        }
        if !absent && suites.is_empty() {
            refuse("suites", "is missing");
        }
        let flat = |suite: &String| suite.ends_with('/');
        if suites.iter().any(flat) && !(components.is_empty() && suites.iter().all(flat)) {
            refuse("components", "must not be set if a suite ends in `/`");
        }
        if !absent && components.is_empty() && !suites.iter().any(flat) && !suites.is_empty() {
            refuse("components", "is missing");
        }
        let types = if types.is_empty() { vec!["deb".to_owned()] } else { types };
        let mut fields = Vec::new();
        if !enabled {
            fields.push(("Enabled".to_owned(), "no".to_owned()));
        }
        let lists = [types, uris, suites, components, architectures];
        let named = OWN[1..6].iter().zip(lists).filter(|(_, list)| !list.is_empty());
        fields.extend(named.map(|(name, list)| ((*name).to_owned(), list.join(" "))));
        fields.extend(signed_by.map(|path| ("Signed-By".to_owned(), path.display().to_string())));
        fields.extend(options(params));
        Self { fields }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Written by Converge.")?;
        self.fields.iter().try_for_each(|(name, value)| writeln!(f, "{name}: {value}"))
    }
}

/// Values that the file separates with blanks. Refuses a value that contains a blank.
fn words(params: &mut Reader<'_>, name: &str) -> Vec<String> {
    let words = params.texts(name);
    if words
        .iter()
        .any(|word| word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()))
    {
        params.problem(ParamProblem::new(name, "has a value that is empty or contains blanks"));
    }
    words
}

fn options(params: &mut Reader<'_>) -> Vec<(String, String)> {
    let mut options = Vec::new();
    for (name, values) in params.map("options") {
        let mut refuse = |why: &str| params.problem(ParamProblem::new("options", format!("{name} {why}")));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            refuse("cannot be the name of a field");
        }
        if OWN.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
            refuse("has its own parameter");
        }
        if values.is_empty() || values.iter().any(crate::wish::Text::is_secret) {
            refuse("must not have a secret as its value");
        }
        let texts: Vec<_> =
            values.iter().map(|text| String::from_utf8_lossy(text.expose()).into_owned()).collect();
        let value = texts.join(" ");
        if value.trim().is_empty() || value.contains(char::is_control) {
            refuse("must have a value of one line");
        }
        options.push((name, value));
    }
    options
}
