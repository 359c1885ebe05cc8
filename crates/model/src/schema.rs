//! The parameters that a kind of resource or a module accepts. The same table gives their types, checks them, and
//! writes their reference page.

use crate::claim::Claim;
use crate::value::{Params, Value};

/// The schema of a kind of resource. The folder of each kind defines one. The language reads the schema and never the
/// kind's code.
#[derive(Clone, Debug, PartialEq)]
pub struct KindSchema {
    /// The name as written in an inventory: `systemd-unit`.
    pub name: String,
    /// One line about what the kind manages.
    pub summary: String,
    /// Paragraphs for the reference page, in Markdown; may be empty.
    pub details: String,
    /// The parameters, the name of the resource first.
    pub params: Vec<Param>,
    /// The repeated children.
    pub children: Vec<Child>,
    /// Examples in KDL. Each is a body of an `on` block that converges on a Debian host. Tests run them.
    pub examples: Vec<Example>,
    /// Whether it needs a whole system. With `root=`, which uses a folder as the system, such a kind is an error.
    pub whole_system: bool,
    /// Whether other resources may notify it.
    pub notifiable: bool,
}

/// An example of a reference page.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Its title, one line.
    pub title: String,
    /// The body of an `on` block.
    pub kdl: String,
}

/// A parameter of a kind, a module or a child.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// The name as written: `create-home`.
    pub name: String,
    /// The type of its value.
    pub ty: Type,
    /// The value if the user writes none.
    pub default: Option<Value>,
    /// Whether the user must write it.
    pub required: bool,
    /// Its index among the arguments. The name of a resource has index 0.
    pub argument: Option<usize>,
    /// The allowed values, if they are limited.
    pub one_of: Vec<String>,
    /// The smallest number allowed.
    pub min: Option<i64>,
    /// The largest number allowed.
    pub max: Option<i64>,
    /// A regular expression that the whole text must match.
    pub pattern: Option<String>,
    /// One or two sentences for the reference page.
    pub doc: String,
}

/// A repeated child: `section "Service" { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// The name of the node.
    pub name: String,
    /// Its parameters. A kind's child has scalars, lists, maps and content. Only a module's child has children.
    pub params: Vec<Param>,
    /// Children of the child: for modules; empty for kinds.
    pub children: Vec<Child>,
    /// The name of the map that collects undeclared keys with their values, such as `ExecStart` in a section.
    pub free_keys: Option<String>,
    /// Whether the first scalar argument identifies the child.
    pub keyed: bool,
    /// One or two sentences for the reference page.
    pub doc: String,
}

/// The type of a parameter: how its text is read, and its form in a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Any text.
    Text,
    /// A text without white space, `/` or control characters: the name of a user, a package, a unit.
    Name,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// `#true` or `#false`.
    Bool,
    /// An absolute path on the host.
    Path,
    /// A path on the controller, inside the project.
    ControllerPath,
    /// A mode as text, `"0644"`, or as `0o644`. Becomes a number.
    Mode,
    /// `"90s"`, `"5m"`, `"1h30m"`. Becomes milliseconds.
    Duration,
    /// `"16m"`, `"2GiB"`. Becomes bytes.
    Size,
    /// `"50%"` or a whole number. Stays text.
    Share,
    /// A host name or domain.
    Hostname,
    /// An address or a network: `10.0.0.1`, `10.0.0.0/8`, `::1`.
    Network,
    /// A port: 1 to 65535.
    Port,
    /// A URL with its scheme.
    Url,
    /// A command. It is split into words as by a shell, before templates are filled in. It is not split if the sibling
    /// parameter `shell` is true. Becomes a list.
    Command,
    /// A command that is always a shell line: a guard.
    ShellLine,
    /// Content of a file: text, `(file)`, `(template)`, a secret. Becomes a digest.
    Content,
    /// Several values of one type.
    List(Box<Type>),
    /// Free keys. Each value is a scalar or a list of scalars. It is written `map` with `of="any"` in `module.kdl`.
    Map,
    /// A value of any scalar type, kept as written.
    Any,
    /// A map whose values are scalars, lists and maps, nested as written. It is `map` in `module.kdl`.
    Tree,
}

impl Type {
    /// Returns the name of the type in `module.kdl`. Both maps have the same name; [`Type::parse`] distinguishes them.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Name => "name",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Path => "path",
            Self::ControllerPath => "controller-path",
            Self::Mode => "mode",
            Self::Duration => "duration",
            Self::Size => "size",
            Self::Share => "share",
            Self::Hostname => "hostname",
            Self::Network => "network",
            Self::Port => "port",
            Self::Url => "url",
            Self::Command => "command",
            Self::ShellLine => "shell-line",
            Self::Content => "content",
            Self::List(_) => "list",
            Self::Map | Self::Tree => "map",
            Self::Any => "any",
        }
    }

    /// Returns the scalar or collection type called `name`. A list takes its item type from `of`. A map nests, unless
    /// `of` is `any`.
    pub fn parse(name: &str, of: Option<&str>) -> Option<Self> {
        let named = |name: &str| Self::ALL.iter().find(|ty| ty.name() == name).cloned();
        match (name, of) {
            ("list", of) => named(of.unwrap_or("string")).map(|of| Self::List(Box::new(of))),
            ("map", None) => Some(Self::Tree),
            ("map", Some("any")) => Some(Self::Map),
            ("map", Some(_)) => None,
            (name, _) => named(name),
        }
    }

    /// All types without the lists.
    pub const ALL: [Self; 21] = [
        Self::Text,
        Self::Name,
        Self::Int,
        Self::Float,
        Self::Bool,
        Self::Path,
        Self::ControllerPath,
        Self::Mode,
        Self::Duration,
        Self::Size,
        Self::Share,
        Self::Hostname,
        Self::Network,
        Self::Port,
        Self::Url,
        Self::Command,
        Self::ShellLine,
        Self::Content,
        Self::Map,
        Self::Any,
        Self::Tree,
    ];
}

/// The interface between the language and a kind, beside its schema. The same code decodes the parameters on the host.
pub trait KindInfo: Sync {
    /// Returns the schema.
    fn schema(&self) -> &KindSchema;

    /// Decodes `params` as the host will. Returns their claims, or all problems.
    ///
    /// It is called only if every value is known. With facts that are not known yet, the plan makes this check.
    fn check(&self, params: &Params) -> Result<Checked, Vec<ParamProblem>>;
}

/// The result of a check without problems.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// The claims of the resource on its host.
    pub claims: Vec<Claim>,
    /// The text after the name in the address: `line[/etc/hosts: 127.0.0.1 x]`.
    pub suffix: Option<String>,
    /// Warnings: objections that are not errors.
    pub warnings: Vec<ParamProblem>,
}

/// One mistake in the parameters of a resource that only the kind can find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamProblem {
    /// The wrong parameter. None if the combination is wrong.
    pub param: Option<String>,
    /// The mistake, as a lowercase fragment.
    pub message: String,
    /// Advice for the user.
    pub help: Option<String>,
}

impl KindSchema {
    /// Returns a schema with its name and summary. The methods below add the rest.
    pub fn new(name: &str, summary: &str) -> Self {
        Self {
            name: name.to_owned(),
            summary: summary.to_owned(),
            details: String::new(),
            params: Vec::new(),
            children: Vec::new(),
            examples: Vec::new(),
            whole_system: false,
            notifiable: false,
        }
    }

    /// Adds paragraphs to the reference page.
    pub fn details(mut self, markdown: &str) -> Self {
        self.details = markdown.to_owned();
        self
    }

    /// Adds a parameter.
    pub fn param(mut self, param: Param) -> Self {
        self.params.push(param);
        self
    }

    /// Adds several parameters.
    pub fn params(mut self, params: impl IntoIterator<Item = Param>) -> Self {
        self.params.extend(params);
        self
    }

    /// Adds a repeated child.
    pub fn child(mut self, child: Child) -> Self {
        self.children.push(child);
        self
    }

    /// Adds an example.
    pub fn example(mut self, title: &str, kdl: &str) -> Self {
        self.examples.push(Example { title: title.to_owned(), kdl: kdl.to_owned() });
        self
    }

    /// Marks a kind that makes no sense if a folder is used as the system.
    pub fn whole_system(mut self) -> Self {
        self.whole_system = true;
        self
    }

    /// Marks a kind that can be notified.
    pub fn notifiable(mut self) -> Self {
        self.notifiable = true;
        self
    }
}

impl Param {
    /// Returns a parameter with its name, type and documentation.
    pub fn new(name: &str, ty: Type, doc: &str) -> Self {
        Self {
            name: name.to_owned(),
            ty,
            default: None,
            required: false,
            argument: None,
            one_of: Vec::new(),
            min: None,
            max: None,
            pattern: None,
            doc: doc.to_owned(),
        }
    }

    /// Returns a parameter that is a list of `of`.
    pub fn list(name: &str, of: Type, doc: &str) -> Self {
        Self::new(name, Type::List(Box::new(of)), doc)
    }

    /// Makes it the argument at index `place`. The argument at 0 is the name of the resource.
    pub fn argument(mut self, place: usize) -> Self {
        self.argument = Some(place);
        self
    }

    /// Makes it mandatory.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Gives it a default.
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Allows only these texts.
    pub fn one_of(mut self, allowed: &[&str]) -> Self {
        self.one_of = allowed.iter().map(|s| (*s).to_owned()).collect();
        self
    }

    /// Allows only numbers from `min` to `max`.
    pub fn range(mut self, min: i64, max: i64) -> Self {
        (self.min, self.max) = (Some(min), Some(max));
        self
    }

    /// Allows only text that matches `pattern` as a whole.
    pub fn pattern(mut self, pattern: &str) -> Self {
        self.pattern = Some(pattern.to_owned());
        self
    }
}

impl Child {
    /// Returns a keyed child with its name and documentation.
    pub fn new(name: &str, doc: &str) -> Self {
        Self {
            name: name.to_owned(),
            params: Vec::new(),
            children: Vec::new(),
            free_keys: None,
            keyed: true,
            doc: doc.to_owned(),
        }
    }

    /// Adds a parameter.
    pub fn param(mut self, param: Param) -> Self {
        self.params.push(param);
        self
    }

    /// Collects undeclared keys in the map `name`.
    pub fn free_keys(mut self, name: &str) -> Self {
        self.free_keys = Some(name.to_owned());
        self
    }
}

impl ParamProblem {
    /// Returns a problem with one parameter.
    pub fn new(param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), message: message.into(), help: None }
    }

    /// Returns a problem with the combination of parameters.
    pub fn together(message: impl Into<String>) -> Self {
        Self { param: None, message: message.into(), help: None }
    }

    /// Sets what the user can do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Returns the message as a sentence with a subject. A message that begins with a verb gets the parameter's name in
    /// front.
    pub fn sentence(&self) -> String {
        let first = self.message.split(' ').next().unwrap_or_default();
        let is_verb = matches!(first, "cannot" | "must" | "may")
            || first.ends_with('s')
                && first.bytes().all(|byte| byte.is_ascii_lowercase())
                && !matches!(first, "this" | "its");
        match self.param.as_deref().filter(|_| is_verb) {
            Some(param) => format!("`{param}` {}", self.message),
            None => self.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_has_a_subject() {
        let check = |message: &str, sentence: &str| {
            assert_eq!(ParamProblem::new("content", message).sentence(), sentence);
        };
        check("must not be set without `version`", "`content` must not be set without `version`");
        check("cannot be a secret", "`content` cannot be a secret");
        check("\"x\" cannot be the name of a job", "\"x\" cannot be the name of a job");
        check("there is no such owner", "there is no such owner");
        check("PATH has a line break", "PATH has a line break");
        assert_eq!(ParamProblem::together("names nothing").sentence(), "names nothing");
    }

    #[test]
    fn every_type_is_found_by_its_name() {
        for ty in Type::ALL.into_iter().filter(|ty| *ty != Type::Map) {
            assert_eq!(Type::parse(ty.name(), None), Some(ty));
        }
        assert_eq!(Type::parse("map", Some("any")), Some(Type::Map), "a map of values is flat");
        assert_eq!(Type::parse("map", Some("int")), None);
        assert_eq!(Type::parse("list", Some("port")), Some(Type::List(Box::new(Type::Port))));
        assert_eq!(Type::parse("list", Some("list")), None, "lists do not nest");
        assert_eq!(Type::parse("lisst", None), None);
    }
}
