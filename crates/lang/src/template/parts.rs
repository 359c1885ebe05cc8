//! Evaluates single parts of a parsed template or expression. Parts are the items of a list literal, and the lookups
//! and conditions of `unmet`.

use std::sync::Arc;

use minijinja::machinery::ast::Expr;
use minijinja::machinery::{self, CodeGenerator};
use minijinja::{AutoEscape, Environment, Error, Value};

use super::context::Context;
use super::error::TemplateError;
use super::explain::{EXPRESSION, Rendering};
use super::marks::{Marks, with_stand_ins};
use super::recording::{self, Record};
use super::scope::Scope;
use super::settle::{scalar_text, settle};
use super::stand_ins::instead;
use super::unknown::unknown;
use super::values::{List, Map};

/// The context in which parts are evaluated.
pub(super) struct Parts<'a> {
    pub(super) environment: &'a Environment<'static>,
    pub(super) context: Arc<Context>,
    pub(super) scope: &'a Arc<dyn Scope>,
}

impl Parts<'_> {
    /// Returns a rendering that explains an error of a part.
    pub(super) fn rendering<'p>(&'p self, source: &'p str, record: &'p Record) -> Rendering<'p> {
        Rendering { environment: self.environment, source, key: EXPRESSION, context: &self.context, record }
    }

    /// Returns an item of a list or map literal, its marks, and whether a part of it is unknown.
    pub(super) fn item(
        &self,
        expression: &Expr<'_>,
        text: &str,
    ) -> Result<(Value, Marks, bool), TemplateError> {
        match expression {
            Expr::List(list) => self.items(&list.items, text),
            Expr::Tuple(tuple) => self.items(&tuple.items, text),
            Expr::Map(map) => self.entries(&map.keys, &map.values, text),
            other => self.settled(other, text),
        }
    }

    fn items(&self, items: &[Expr<'_>], text: &str) -> Result<(Value, Marks, bool), TemplateError> {
        let (mut list, mut is_unknown) = (Vec::new(), false);
        for item in items {
            let (value, marks, unknown) = self.item(item, text)?;
            is_unknown |= unknown;
            list.push((value, marks));
        }
        Ok((List::new(list), Marks::default(), is_unknown))
    }

    fn entries(
        &self,
        keys: &[Expr<'_>],
        values: &[Expr<'_>],
        text: &str,
    ) -> Result<(Value, Marks, bool), TemplateError> {
        let (mut entries, mut is_unknown, mut of_keys) = (Vec::new(), false, Marks::default());
        for (key, value) in keys.iter().zip(values) {
            let (key, marks, _) = self.settled(key, text)?;
            of_keys = of_keys | marks;
            let (value, marks, unknown) = self.item(value, text)?;
            is_unknown |= unknown;
            entries.push((key.to_string(), value, marks));
        }
        is_unknown |= of_keys.unknown;
        let map = Map::folding(entries)
            .map_err(|clash| TemplateError { message: clash.to_string(), ..TemplateError::default() })?;
        Ok((map, of_keys, is_unknown))
    }

    /// Returns the value of one expression, with its lists and maps converted to our types.
    fn settled(&self, expression: &Expr<'_>, text: &str) -> Result<(Value, Marks, bool), TemplateError> {
        let (result, record) =
            instead(None, || recording::record(|| self.run(expression, text).map(|value| settle(value, 0))));
        let rendering = self.rendering(text, &record);
        let error = match result {
            Ok(Some(Ok(value))) => {
                let is_unknown = record.marks.unknown;
                let again = |stand_in| self.again(expression, text, stand_in);
                return Ok((value, with_stand_ins(record.marks, again), is_unknown));
            }
            Ok(Some(Err(error))) | Err(error) => rendering.explain(&error),
            Ok(None) => rendering.undefined(text.trim()),
        };
        match error {
            Some(error) => Err(error),
            None => Ok((unknown(), record.marks, true)),
        }
    }

    /// Returns the value of an expression with a stand-in in place of the secrets.
    fn again(
        &self,
        expression: &Expr<'_>,
        text: &str,
        stand_in: Option<usize>,
    ) -> Option<(Value, Vec<String>)> {
        let other = Parts { context: Context::new(self.scope), ..*self };
        let (value, _) = instead(stand_in, || recording::record(|| other.run(expression, text)));
        scalar_text(&value.ok()?).map(|text| (Value::from(&*text), vec![text]))
    }

    /// Returns the value of an expression.
    pub(super) fn run(&self, expression: &Expr<'_>, text: &str) -> Result<Value, Error> {
        let mut code = CodeGenerator::new(EXPRESSION, text);
        code.compile_expr(expression);
        let (code, blocks) = code.finish();
        let context = Value::from_dyn_object(Arc::clone(&self.context));
        let mut shown = String::new();
        let mut out = machinery::make_string_output(&mut shown);
        let (value, _) =
            machinery::eval(self.environment, &code, context, &blocks, &mut out, AutoEscape::None)?;
        Ok(value.unwrap_or_default())
    }
}
