//! Where the value of a variable comes from: every definition, and which one won.

use serde::Serialize;

/// A variable of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The variable, with dots where it is a key of a map: `app.workers`.
    pub variable: String,
    /// Its value as JSON text, `********` where it holds a secret; none where it depends on facts.
    pub value: Option<String>,
    /// Every definition, the nearest first.
    pub definitions: Vec<Definition>,
}

/// One definition of a variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// What it defines: `app`, or one key of it, `app.workers`.
    pub key: String,
    /// Who says so: `inventory`, `group web`, `host web1`, `--set`.
    pub level: String,
    /// The file; none for `--set`.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: usize,
    /// The value as written, a secret as its name.
    pub written: String,
    /// Whether it is in force.
    pub wins: bool,
}
