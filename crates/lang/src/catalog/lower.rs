//! Converts given values to the parameters of a catalog: fills in defaults, replaces content by digests and secrets by
//! references.

use converge_model::schema::{Checked, Param};
use converge_model::{
    Cell, Content, Digest, ParamProblem, Params, Row, Scalar, Secret, SecretRef, SecretTable, Tree, Type,
    Value,
};

use crate::expand::arguments::{Arguments, Atom, Bound, MapEntry, Nested, SecretText};
use crate::project::library::Kind;
use crate::schema::Schema;
use crate::source::content::{ContentSource, Contents};

/// A resource in the form of the catalog, and the result of its kind's check.
pub(crate) struct Lowered {
    /// The parameters. Unknown values are left out: such a resource is only checked, never sent.
    pub(crate) params: Params,
    /// The sources of its contents.
    pub(crate) contents: Contents,
    /// The result of the kind's check. `None` if a value is unknown or wrong: the check would only repeat that.
    pub(crate) checked: Option<Result<Checked, Vec<ParamProblem>>>,
}

impl Lowered {
    /// Converts `given` to a resource of `kind`. The kind checks it if `is_sound`.
    pub(crate) fn of(kind: &Kind, given: &Arguments, is_sound: bool, secrets: &mut SecretTable) -> Self {
        let mut contents = Contents::default();
        let params = params(&kind.schema, given, secrets, &mut contents);
        let checked = (is_sound && !given.has_unknown()).then(|| kind.info.check(&params));
        Self { params, contents, checked }
    }
}

/// Returns the parameters of a resource, in the order of its schema.
fn params(schema: &Schema, given: &Arguments, secrets: &mut SecretTable, contents: &mut Contents) -> Params {
    let mut writer = Writer { secrets, contents };
    let mut params = Params::default();
    let newline = schema.param("newline").and_then(|param| given.scalar(param));
    let newline = newline != Some(&Scalar::Bool(false));
    for (param, argument) in schema.params.iter().zip(&given.params) {
        let value = match argument {
            Some(argument) => writer.value(param, &argument.held, newline),
            None => param.default.clone().map(|default| writer.default(param, default, newline)),
        };
        params.0.extend(value.map(|value| (param.name.clone(), value)));
    }
    for (child, rows) in schema.children.iter().zip(&given.children) {
        if !rows.is_empty() {
            let rows = rows.iter().map(|row| writer.row(child, &row.given)).collect();
            params.0.push((child.name.clone(), Value::Rows(rows)));
        }
    }
    if let Some(name) = schema.free_keys.as_ref().filter(|_| !given.free.is_empty()) {
        params.0.push((name.clone(), Value::Map(writer.map(&given.free))));
    }
    params
}

struct Writer<'a> {
    secrets: &'a mut SecretTable,
    contents: &'a mut Contents,
}

impl Writer<'_> {
    fn value(&mut self, param: &Param, held: &Bound, newline: bool) -> Option<Value> {
        match held {
            Bound::One(atom) if matches!(param.ty, Type::Content | Type::ControllerPath) => {
                self.content(atom, newline).map(Value::Content)
            }
            Bound::One(atom) => self.scalar(atom).map(Value::Scalar),
            Bound::Many(items) => {
                Some(Value::List(items.iter().filter_map(|item| self.scalar(item)).collect()))
            }
            Bound::Map(entries) if param.ty == Type::Tree => Some(Value::Tree(self.tree(entries))),
            Bound::Map(entries) => Some(Value::Map(self.map(entries))),
            Bound::Unknown => None,
        }
    }

    /// Returns a default. A text that is used as content becomes a digest, like any other.
    fn default(&mut self, param: &Param, default: Value, newline: bool) -> Value {
        match (&param.ty, default) {
            (Type::Content, Value::Scalar(scalar)) => {
                let content = self.content(&Atom::Plain(scalar.clone()), newline);
                content.map_or(Value::Scalar(scalar), Value::Content)
            }
            (_, default) => default,
        }
    }

    fn scalar(&mut self, atom: &Atom) -> Option<Scalar> {
        match atom {
            Atom::Plain(scalar) => Some(scalar.clone()),
            Atom::Secret(secret) => Some(Scalar::Secret(self.secret(secret, false))),
            Atom::Content(..) | Atom::Unknown => None,
        }
    }

    /// Adds a text that holds a secret, its lines without a secret, and its pieces that are derived from a secret.
    fn secret(&mut self, secret: &SecretText, newline: bool) -> SecretRef {
        let text = Secret::new(ended(&secret.text, newline).into_bytes());
        let Some(stand_ins) = &secret.stand_ins else { return self.secrets.add(text) };
        for piece in stand_ins.pieces() {
            self.secrets.add(Secret::new(piece.as_bytes()));
        }
        self.secrets.add_text(text, stand_ins.clean_lines(&secret.text))
    }

    fn content(&mut self, atom: &Atom, newline: bool) -> Option<Content> {
        match atom {
            Atom::Unknown => None,
            Atom::Secret(secret) => Some(Content::Secret(self.secret(secret, newline))),
            Atom::Plain(scalar) => {
                let bytes = ended(&text(scalar), newline).into_bytes();
                let (digest, length) = (Digest::of(&bytes), bytes.len() as u64);
                self.contents.insert(digest, ContentSource::Bytes(bytes.into()));
                Some(Content::Plain { digest, length })
            }
            Atom::Content(content, source) => {
                if let Content::Plain { digest, .. } = content {
                    self.contents.insert(*digest, source.clone());
                }
                Some(*content)
            }
        }
    }

    fn map(&mut self, entries: &[MapEntry]) -> Vec<(String, Vec<Scalar>)> {
        entries
            .iter()
            .map(|entry| {
                let values = entry.value.atoms().into_iter().filter_map(|atom| self.scalar(atom)).collect();
                (entry.key.to_string(), values)
            })
            .collect()
    }

    fn tree(&mut self, entries: &[MapEntry]) -> Vec<(String, Tree)> {
        let branch = |entry: &MapEntry| Some((entry.key.to_string(), self.branch(&entry.value)?));
        entries.iter().filter_map(branch).collect()
    }

    fn branch(&mut self, value: &Nested) -> Option<Tree> {
        Some(match value {
            Nested::One(atom) => Tree::Scalar(self.scalar(atom)?),
            Nested::List(items) => Tree::List(items.iter().filter_map(|item| self.branch(item)).collect()),
            Nested::Map(entries) => Tree::Map(self.tree(entries)),
        })
    }

    fn row(&mut self, schema: &Schema, given: &Arguments) -> Row {
        let mut row = Row::default();
        for (param, argument) in schema.params.iter().zip(&given.params) {
            let cell = match argument {
                Some(argument) => self.value(param, &argument.held, true).and_then(cell),
                None => {
                    param.default.clone().map(|default| self.default(param, default, true)).and_then(cell)
                }
            };
            row.0.extend(cell.map(|cell| (param.name.clone(), cell)));
        }
        if let Some(name) = schema.free_keys.as_ref().filter(|_| !given.free.is_empty()) {
            row.0.push((name.clone(), Cell::Map(self.map(&given.free))));
        }
        row
    }
}

fn cell(value: Value) -> Option<Cell> {
    match value {
        Value::Scalar(scalar) => Some(Cell::Scalar(scalar)),
        Value::List(list) => Some(Cell::List(list)),
        Value::Map(map) => Some(Cell::Map(map)),
        Value::Content(content) => Some(Cell::Content(content)),
        Value::Tree(entries) => Some(Cell::Tree(entries)),
        Value::Rows(_) => None,
    }
}

/// Returns text with a newline at its end. An empty text stays empty.
fn ended(text: &str, newline: bool) -> String {
    let mut text = text.to_owned();
    if newline && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn text(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Text(text) => text.clone(),
        Scalar::Int(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Bool(value) => value.to_string(),
        // A plain value is never a secret.
        Scalar::Secret(_) => String::new(),
    }
}
