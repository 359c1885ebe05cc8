//! Reads parameters: from the values of a catalog to the typed wish of a kind.
//!
//! The language has checked the types already. A reader checks again, because a catalog also comes over the wire.
//!
//! A text is one line, so that one value never becomes two lines of a file. A kind names the texts that may have
//! several lines.

use std::path::PathBuf;
use std::time::Duration;

use converge_model::{
    Cell, Content, ParamProblem, Params, Row, Scalar, Secret, SecretRef, SecretTable, Tree, Value,
};

/// Reads the parameters of one resource and collects all mistakes.
pub struct Reader<'a> {
    params: &'a Params,
    secrets: Option<&'a SecretTable>,
    problems: Vec<ParamProblem>,
    /// Whether the texts may have line breaks.
    several_lines: bool,
}

/// A text that may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Text {
    /// A text that everybody may read.
    Plain(String),
    /// A secret text.
    Secret(Secret),
}

impl Text {
    /// Returns the bytes, for the target that they are meant for.
    pub fn expose(&self) -> &[u8] {
        match self {
            Self::Plain(text) => text.as_bytes(),
            Self::Secret(secret) => secret.expose(),
        }
    }

    /// Whether it is a secret.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }
}

/// A decoded value of a nested map.
#[derive(Clone, PartialEq, Eq)]
pub enum TextTree {
    /// A single text.
    Text(Text),
    /// Several values, in order.
    List(Vec<TextTree>),
    /// Keys, each with a value, in written order.
    Map(Vec<(String, TextTree)>),
}

/// The desired content of a file.
#[derive(Clone, PartialEq, Eq)]
pub enum Filling {
    /// Content that the controller holds, by digest.
    Plain {
        /// The digest.
        digest: converge_model::Digest,
        /// The length in bytes.
        length: u64,
    },
    /// Secret content, in memory.
    Secret(Secret),
}

impl Filling {
    /// Returns the text of secret content. None for content by digest: it is always plain.
    pub(crate) fn secret_text(&self) -> Option<Vec<u8>> {
        match self {
            Self::Plain { .. } => None,
            Self::Secret(secret) => Some(secret.expose().to_vec()),
        }
    }
}

impl<'a> Reader<'a> {
    /// Makes a reader of `params`. Without a table, each secret reads as empty; that is enough for a check.
    pub fn new(params: &'a Params, secrets: Option<&'a SecretTable>) -> Self {
        Self { params, secrets, problems: Vec::new(), several_lines: false }
    }

    /// Reads values that may have line breaks: a script, the words of a command.
    pub fn several_lines<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.several_lines, true);
        let value = read(self);
        self.several_lines = before;
        value
    }

    /// Returns all mistakes that were found.
    pub fn finish(self) -> Result<(), Vec<ParamProblem>> {
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems) }
    }

    /// Adds a mistake.
    pub fn problem(&mut self, problem: ParamProblem) {
        self.problems.push(problem);
    }

    /// Whether the parameter is set.
    pub fn has(&self, name: &str) -> bool {
        self.params.get(name).is_some()
    }

    /// Reads a text that is not a secret.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.params.get(name)? {
            Value::Scalar(scalar) => self.plain(name, scalar),
            _ => self.wrong(name, "a string"),
        }
    }

    /// Reads a required text. If it is missing, adds a mistake and returns an empty text.
    pub fn required_text(&mut self, name: &str) -> String {
        if !self.has(name) {
            self.problem(ParamProblem::new(name, "is missing"));
        }
        self.text(name).unwrap_or_default()
    }

    /// Reads a text that may be a secret.
    pub fn maybe_secret(&mut self, name: &str) -> Option<Text> {
        match self.params.get(name)? {
            Value::Scalar(Scalar::Secret(reference)) => Some(Text::Secret(self.secret(*reference))),
            _ => self.text(name).map(Text::Plain),
        }
    }

    /// Reads an absolute path, without `.`, `..` and double slashes. If it is not one, adds a mistake and returns
    /// `/`.
    pub fn path(&mut self, name: &str) -> PathBuf {
        let text = self.required_text(name);
        match normal_path(&text) {
            Some(path) => path,
            None => {
                self.problem(ParamProblem::new(name, format!("{text:?} is not an absolute path")));
                PathBuf::from("/")
            }
        }
    }

    /// Reads an absolute path that may be missing.
    pub fn optional_path(&mut self, name: &str) -> Option<PathBuf> {
        self.has(name).then(|| self.path(name))
    }

    /// Reads a boolean.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        match self.params.get(name)? {
            Value::Scalar(Scalar::Bool(value)) => Some(*value),
            _ => self.wrong(name, "`#true` or `#false`"),
        }
    }

    /// Reads a whole number.
    pub fn number(&mut self, name: &str) -> Option<i64> {
        match self.params.get(name)? {
            Value::Scalar(Scalar::Int(value)) => Some(*value),
            _ => self.wrong(name, "a whole number"),
        }
    }

    /// Reads a mode: 0 to 0o7777.
    pub fn mode(&mut self, name: &str) -> Option<u32> {
        match u32::try_from(self.number(name)?) {
            Ok(mode) if mode <= 0o7777 => Some(mode),
            _ => self.wrong(name, "a mode from 0 to 7777"),
        }
    }

    /// Reads a duration, in milliseconds.
    pub fn duration(&mut self, name: &str) -> Option<Duration> {
        match u64::try_from(self.number(name)?) {
            Ok(milliseconds) => Some(Duration::from_millis(milliseconds)),
            Err(_) => self.wrong(name, "a duration that is not negative"),
        }
    }

    /// Reads several texts. Empty if the parameter is not set.
    pub fn texts(&mut self, name: &str) -> Vec<String> {
        match self.params.get(name) {
            None => Vec::new(),
            Some(Value::List(list)) => list.iter().filter_map(|scalar| self.plain(name, scalar)).collect(),
            Some(Value::Scalar(scalar)) => self.plain(name, scalar).into_iter().collect(),
            Some(_) => {
                self.wrong::<()>(name, "a list of strings");
                Vec::new()
            }
        }
    }

    /// Reads several texts. Each may be a secret.
    pub fn maybe_secrets(&mut self, name: &str) -> Vec<Text> {
        match self.params.get(name) {
            None => Vec::new(),
            Some(Value::List(list)) => list.iter().filter_map(|scalar| self.either(name, scalar)).collect(),
            Some(Value::Scalar(scalar)) => self.either(name, scalar).into_iter().collect(),
            Some(_) => {
                self.wrong::<()>(name, "a list of strings");
                Vec::new()
            }
        }
    }

    /// Reads free keys, each with its values, in written order.
    pub fn map(&mut self, name: &str) -> Vec<(String, Vec<Text>)> {
        match self.params.get(name) {
            None => Vec::new(),
            Some(Value::Map(map)) => map
                .iter()
                .map(|(key, values)| {
                    (key.clone(), values.iter().filter_map(|scalar| self.either(key, scalar)).collect())
                })
                .collect(),
            Some(_) => {
                self.wrong::<()>(name, "a map");
                Vec::new()
            }
        }
    }

    /// Reads keys with nested values, in written order.
    pub fn tree(&mut self, name: &str) -> Vec<(String, TextTree)> {
        match self.params.get(name) {
            None => Vec::new(),
            Some(Value::Tree(entries)) => self.branches(entries),
            Some(_) => {
                self.wrong::<()>(name, "a map of values, lists and maps");
                Vec::new()
            }
        }
    }

    fn branches(&mut self, entries: &[(String, Tree)]) -> Vec<(String, TextTree)> {
        entries
            .iter()
            .filter_map(|(key, value)| self.branch(key, value).map(|value| (key.clone(), value)))
            .collect()
    }

    /// Reads the value of `key`. An item of a list takes the key of the list.
    fn branch(&mut self, key: &str, value: &Tree) -> Option<TextTree> {
        match value {
            Tree::Scalar(scalar) => self.either(key, scalar).map(TextTree::Text),
            Tree::List(items) => {
                Some(TextTree::List(items.iter().filter_map(|item| self.branch(key, item)).collect()))
            }
            Tree::Map(entries) => Some(TextTree::Map(self.branches(entries))),
        }
    }

    /// Reads the desired content of a file.
    pub fn filling(&mut self, name: &str) -> Option<Filling> {
        match self.params.get(name)? {
            Value::Content(content) => Some(self.filled(content)),
            _ => self.wrong(name, "content"),
        }
    }

    fn filled(&mut self, content: &Content) -> Filling {
        match content {
            Content::Plain { digest, length } => Filling::Plain { digest: *digest, length: *length },
            Content::Secret(reference) => Filling::Secret(self.secret(*reference)),
        }
    }

    /// Reads one of a few words by a table of word and meaning. The first row is the default.
    pub fn choice<T: Copy>(&mut self, name: &str, table: &[(&str, T)]) -> T {
        let written = self.text(name);
        let found = written.as_deref().map(|text| table.iter().find(|(word, _)| *word == text));
        match found {
            Some(Some((_, meaning))) => *meaning,
            Some(None) => {
                let words: Vec<_> = table.iter().map(|(word, _)| *word).collect();
                self.wrong::<()>(name, &format!("one of {}", words.join(", ")));
                table[0].1
            }
            None => table[0].1,
        }
    }

    /// Reads the repeated children called `name`.
    pub fn rows(&mut self, name: &str) -> Vec<RowReader> {
        match self.params.get(name) {
            None => Vec::new(),
            Some(Value::Rows(rows)) => rows.iter().map(|row| self.row(row)).collect(),
            Some(_) => {
                self.wrong::<()>(name, "repeated children");
                Vec::new()
            }
        }
    }

    fn row(&mut self, row: &Row) -> RowReader {
        let mut read = RowReader::default();
        for (key, cell) in &row.0 {
            match cell {
                Cell::Scalar(scalar) => {
                    read.scalars.extend(self.either(key, scalar).map(|text| (key.clone(), text)))
                }
                Cell::List(list) => {
                    let texts = list.iter().filter_map(|scalar| self.either(key, scalar)).collect();
                    read.lists.push((key.clone(), texts));
                }
                Cell::Map(map) => {
                    for (free, values) in map {
                        let texts = values.iter().filter_map(|scalar| self.either(free, scalar)).collect();
                        read.maps.push((key.clone(), free.clone(), texts));
                    }
                }
                Cell::Content(content) => read.fillings.push((key.clone(), self.filled(content))),
                Cell::Tree(entries) => read.trees.push((key.clone(), self.branches(entries))),
            }
        }
        read
    }

    fn either(&mut self, name: &str, scalar: &Scalar) -> Option<Text> {
        match scalar {
            Scalar::Secret(reference) => Some(Text::Secret(self.secret(*reference))),
            plain => self.plain(name, plain).map(Text::Plain),
        }
    }

    fn plain(&mut self, name: &str, scalar: &Scalar) -> Option<String> {
        match scalar {
            Scalar::Text(text) => Some(self.lines(name, text)),
            Scalar::Int(number) => Some(number.to_string()),
            Scalar::Float(number) => Some(number.to_string()),
            Scalar::Bool(value) => Some(value.to_string()),
            Scalar::Secret(_) => {
                self.problem(ParamProblem::new(name, "cannot be a secret"));
                None
            }
        }
    }

    /// Returns `text` as one line, unless several are allowed. A refused line break is one mistake; the text is read
    /// without it.
    fn lines(&mut self, name: &str, text: &str) -> String {
        let is_break = |c: char| matches!(c, '\n' | '\r' | '\0');
        if self.several_lines || !text.contains(is_break) {
            return text.to_owned();
        }
        let start: String = text.chars().take(60).collect();
        let problem = ParamProblem::new(name, format!("{start:?} must be one line"));
        self.problem(problem.help("remove the line break; write several values as separate strings"));
        text.replace(is_break, "")
    }

    fn secret(&mut self, reference: SecretRef) -> Secret {
        let empty = || Secret::new(Vec::new());
        match self.secrets {
            None => empty(),
            Some(table) => table.get(reference).cloned().unwrap_or_else(|| {
                self.problem(ParamProblem::together("a secret is missing from the catalog's table"));
                empty()
            }),
        }
    }

    fn wrong<T>(&mut self, name: &str, wanted: &str) -> Option<T> {
        self.problem(ParamProblem::new(name, format!("is not {wanted}")));
        None
    }
}

/// One repeated child, decoded.
#[derive(Clone, Default)]
pub struct RowReader {
    scalars: Vec<(String, Text)>,
    lists: Vec<(String, Vec<Text>)>,
    maps: Vec<(String, String, Vec<Text>)>,
    fillings: Vec<(String, Filling)>,
    trees: Vec<(String, Vec<(String, TextTree)>)>,
}

impl RowReader {
    /// Returns a text of the child.
    pub fn text(&self, name: &str) -> Option<&Text> {
        self.scalars.iter().find(|(key, _)| key == name).map(|(_, text)| text)
    }

    /// Returns a text of the child that is not a secret. The schema guarantees that.
    pub fn plain(&self, name: &str) -> Option<String> {
        match self.text(name)? {
            Text::Plain(text) => Some(text.clone()),
            Text::Secret(_) => None,
        }
    }

    /// Returns the desired content of a file.
    pub fn filling(&self, name: &str) -> Option<&Filling> {
        self.fillings.iter().find(|(key, _)| key == name).map(|(_, filling)| filling)
    }

    /// Returns several texts of the child.
    pub fn texts(&self, name: &str) -> &[Text] {
        self.lists.iter().find(|(key, _)| key == name).map_or(&[], |(_, texts)| texts)
    }

    /// Returns the free keys under `name`, each with its values, in written order.
    pub fn map<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a [Text])> {
        self.maps
            .iter()
            .filter(move |(map, ..)| map == name)
            .map(|(_, key, texts)| (key.as_str(), texts.as_slice()))
    }

    /// Returns the keys of the child's nested map `name`, in written order.
    pub fn tree(&self, name: &str) -> &[(String, TextTree)] {
        self.trees.iter().find(|(key, _)| key == name).map_or(&[], |(_, entries)| entries)
    }
}

/// Returns `text` as an absolute path without `.` and double slashes. None if it is relative, or holds `..` or a NUL.
pub fn normal_path(text: &str) -> Option<PathBuf> {
    if !text.starts_with('/') || text.contains('\0') || text.split('/').any(|part| part == "..") {
        return None;
    }
    let mut path = PathBuf::from("/");
    path.extend(text.split('/').filter(|part| !part.is_empty() && *part != "."));
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_normal() {
        let check =
            |text: &str, path: Option<&str>| assert_eq!(normal_path(text), path.map(PathBuf::from), "{text}");
        check("/etc//x/./y/", Some("/etc/x/y"));
        check("/", Some("/"));
        check("etc", None);
        check("/etc/../x", None);
        check("/a..b", Some("/a..b"));
    }

    #[test]
    fn a_text_is_one_line_unless_it_may_be_several() {
        let params = Params(vec![("text".into(), Value::from("a\nb")), ("nul".into(), Value::from("a\0"))]);
        let mut reader = Reader::new(&params, None);
        assert_eq!(reader.several_lines(|reader| reader.text("text")).as_deref(), Some("a\nb"));
        assert_eq!(reader.text("text").as_deref(), Some("ab"));
        reader.text("nul");
        let problems = reader.finish().unwrap_err();
        let told: Vec<_> = problems.iter().map(ParamProblem::sentence).collect();
        assert_eq!(told, [r#""a\nb" must be one line"#, r#""a\0" must be one line"#]);
    }

    /// Formats a tree as text. A secret is between stars.
    fn shown(entries: &[(String, TextTree)]) -> String {
        fn one(value: &TextTree) -> String {
            match value {
                TextTree::Text(Text::Plain(text)) => text.clone(),
                TextTree::Text(text) => format!("*{}*", String::from_utf8_lossy(text.expose())),
                TextTree::List(items) => format!("[{}]", items.iter().map(one).collect::<Vec<_>>().join(" ")),
                TextTree::Map(entries) => shown(entries),
            }
        }
        let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key}={}", one(value))).collect();
        format!("{{{}}}", entries.join(" "))
    }

    #[test]
    fn tree_is_read_with_its_secrets_and_in_its_order() {
        let mut secrets = SecretTable::default();
        let hidden = Tree::Scalar(Scalar::Secret(secrets.add(Secret::new("hunter2"))));
        let login = Tree::Map(vec![("user".into(), "app".into()), ("password".into(), hidden)]);
        let logins = Tree::List(vec![login, Tree::List(Vec::new()), 7.into()]);
        let entries = vec![("logins".to_owned(), logins), ("debug".to_owned(), Tree::from(true))];
        let row = Row(vec![("options".into(), Cell::Tree(entries.clone()))]);
        let params =
            Params(vec![("options".into(), Value::Tree(entries)), ("part".into(), Value::Rows(vec![row]))]);
        let mut reader = Reader::new(&params, Some(&secrets));
        let expected = "{logins=[{user=app password=*hunter2*} [] 7] debug=true}";
        assert_eq!(shown(&reader.tree("options")), expected);
        assert_eq!(shown(reader.rows("part")[0].tree("options")), expected);
        assert_eq!(shown(&reader.tree("other")), "{}");
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn tree_is_nothing_else_and_its_texts_are_one_line() {
        let entries = vec![("deep".into(), Tree::Map(vec![("motto".into(), "a\nb".into())]))];
        let params = Params(vec![("options".into(), Value::Tree(entries)), ("text".into(), "x".into())]);
        let mut reader = Reader::new(&params, None);
        assert_eq!(shown(&reader.tree("options")), "{deep={motto=ab}}");
        assert_eq!(shown(&reader.tree("text")), "{}");
        reader.map("options");
        let told: Vec<_> = reader.finish().unwrap_err().iter().map(ParamProblem::sentence).collect();
        assert_eq!(
            told,
            [
                r#""a\nb" must be one line"#,
                "`text` is not a map of values, lists and maps",
                "`options` is not a map",
            ]
        );
    }

    #[test]
    fn all_mistakes_are_gathered() {
        let params =
            Params(vec![("mode".into(), Value::from(0o10000)), ("backup".into(), Value::from("yes"))]);
        let mut reader = Reader::new(&params, None);
        reader.mode("mode");
        reader.flag("backup");
        reader.path("path");
        let problems = reader.finish().unwrap_err();
        let params: Vec<_> = problems.iter().filter_map(|p| p.param.as_deref()).collect();
        assert_eq!(params, ["mode", "backup", "path", "path"]);
    }
}
