//! The filters, tests and functions of the expression language, one table for each.
//!
//! An environment has only these names. The tables also define which names a template may use, which names are
//! suggested, and which names the tests try. `filters` has the code of our own filters.

use minijinja::{Environment, filters as stock, functions, tests as stock_tests};

use super::filters;

/// Defines a table of names, and a function that adds them to an environment.
macro_rules! table {
    ($doc:literal $names:ident $install:ident $add:ident $($name:literal $function:expr,)*) => {
        #[doc = $doc]
        pub(super) const $names: &[&str] = &[$($name),*];

        fn $install(environment: &mut Environment<'static>) {
            $(environment.$add($name, $function);)*
        }
    };
}

/// Adds all filters, tests and functions.
pub(super) fn install(environment: &mut Environment<'static>) {
    filters(environment);
    tests(environment);
    functions(environment);
    filters::install(environment);
}

table! {
    "The names of all filters." FILTERS filters add_filter
    "abs" stock::abs,
    "attr" stock::attr,
    "batch" filters::batch,
    "bool" stock::bool,
    "capitalize" stock::capitalize,
    "chain" stock::chain,
    "count" stock::length,
    "crypt" filters::crypt,
    "d" stock::default,
    "default" stock::default,
    "dictsort" stock::dictsort,
    "e" stock::escape,
    "escape" stock::escape,
    "first" stock::first,
    "float" stock::float,
    "format" filters::printf,
    "groupby" stock::groupby,
    "indent" filters::indent,
    "int" stock::int,
    "items" stock::items,
    "join" filters::join,
    "last" stock::last,
    "length" stock::length,
    "lines" stock::lines,
    "list" stock::list,
    "lower" stock::lower,
    "map" stock::map,
    "max" stock::max,
    "min" stock::min,
    "quote" filters::quote,
    "reject" stock::reject,
    "rejectattr" stock::rejectattr,
    "replace" filters::replace,
    "reverse" stock::reverse,
    "round" stock::round,
    "safe" stock::safe,
    "select" stock::select,
    "selectattr" stock::selectattr,
    "slice" filters::slice,
    "sort" stock::sort,
    "split" stock::split,
    "string" filters::string,
    "sum" stock::sum,
    "title" stock::title,
    "tojson" filters::to_json,
    "trim" stock::trim,
    "unique" stock::unique,
    "upper" stock::upper,
    "urlencode" stock::urlencode,
    "zip" stock::zip,
}

table! {
    "The names of all tests." TESTS tests add_test
    "!=" stock_tests::is_ne,
    "<" stock_tests::is_lt,
    "<=" stock_tests::is_le,
    "==" stock_tests::is_eq,
    ">" stock_tests::is_gt,
    ">=" stock_tests::is_ge,
    "boolean" stock_tests::is_boolean,
    "defined" stock_tests::is_defined,
    "divisibleby" stock_tests::is_divisibleby,
    "endingwith" stock_tests::is_endingwith,
    "eq" stock_tests::is_eq,
    "equalto" stock_tests::is_eq,
    "escaped" stock_tests::is_safe,
    "even" stock_tests::is_even,
    "false" stock_tests::is_false,
    "filter" stock_tests::is_filter,
    "float" stock_tests::is_float,
    "ge" stock_tests::is_ge,
    "greaterthan" stock_tests::is_gt,
    "gt" stock_tests::is_gt,
    "in" stock_tests::is_in,
    "int" stock_tests::is_integer,
    "integer" stock_tests::is_integer,
    "iterable" stock_tests::is_iterable,
    "le" stock_tests::is_le,
    "lessthan" stock_tests::is_lt,
    "lower" stock_tests::is_lower,
    "lt" stock_tests::is_lt,
    "mapping" stock_tests::is_mapping,
    "ne" stock_tests::is_ne,
    "none" stock_tests::is_none,
    "number" stock_tests::is_number,
    "odd" stock_tests::is_odd,
    "safe" stock_tests::is_safe,
    "sameas" stock_tests::is_sameas,
    "sequence" stock_tests::is_sequence,
    "startingwith" stock_tests::is_startingwith,
    "string" stock_tests::is_string,
    "test" stock_tests::is_test,
    "true" stock_tests::is_true,
    "undefined" stock_tests::is_undefined,
    "upper" stock_tests::is_upper,
}

table! {
    "The names of all functions." FUNCTIONS functions add_function
    "dict" functions::dict,
    "namespace" functions::namespace,
    "range" functions::range,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, LazyLock};

    use minijinja::Value;

    use super::super::tests::{Names, engine, list, map};
    use super::super::{Engine, Marks, Scope, unknown, unknown_facts};
    use super::{FILTERS, FUNCTIONS, TESTS};

    static ENGINE: LazyLock<Engine> = LazyLock::new(engine);

    /// Values of every sort that a template may meet: unknown, secret, of a known shape, and these nested.
    fn scope() -> Arc<dyn Scope> {
        let nested = |value: Value, marks: Marks| {
            map([("a", map([("b", value.clone(), marks.clone())]), Marks::default()), ("c", value, marks)])
        };
        Arc::new(Names(BTreeMap::from([
            ("later", unknown()),
            ("closed", unknown()),
            ("secret", Value::from("s3cret")),
            ("facts", unknown_facts()),
            ("laters", list([list([unknown()]), unknown()])),
            ("later_inside", nested(unknown(), Marks::UNKNOWN)),
            ("secret_inside", nested(Value::from("s3cret"), Marks::TAINTED)),
            ("secrets", list([nested(Value::from("s3cret"), Marks::TAINTED)])),
        ])))
    }

    const VALUES: [&str; 14] = [
        "later",
        "closed",
        "secret",
        "facts",
        "facts.os",
        "facts.disks",
        "facts.own",
        "facts.own.a.b",
        "laters",
        "later_inside",
        "secret_inside",
        "secrets",
        "[facts, later, secrets]",
        "{'a': facts.own, 'b': later}",
    ];

    /// Checks that a template ends, that an unknown value is never an error, and that a secret stays a secret.
    fn ends(template: &str, value: &str) {
        let found = ENGINE.text(template, &scope());
        if matches!(value, "later" | "closed") {
            let found = found.as_ref().unwrap_or_else(|error| panic!("{template}: {error:?}"));
            assert!(found.marks.unknown, "{template}");
        }
        if let Ok(found) = found {
            assert!(!found.text.contains("3cret") || found.marks.tainted, "{template}");
        }
    }

    #[test]
    fn filters_come_to_an_end() {
        for filter in FILTERS {
            for value in VALUES {
                for arguments in
                    ["", "(1)", "('upper')", "('upper', 'upper')", "(attribute='c')", "(V)", "('c', V)"]
                {
                    let arguments = arguments.replace('V', value);
                    ends(&format!("{{{{ {value} | {filter}{arguments} | tojson }}}}"), value);
                }
                ends(&format!("{{% for x in {value} | {filter} %}}{{{{ x }}}}{{% endfor %}}"), value);
                ends(&format!("{{{{ {value} | {filter} }}}}"), value);
                ends(&format!("{{{{ [{value}] | map('{filter}') | list | tojson }}}}"), value);
            }
        }
    }

    #[test]
    fn tests_come_to_an_end() {
        for test in TESTS.iter().filter(|test| test.starts_with(char::is_alphabetic)) {
            for value in VALUES {
                for arguments in ["", "(1)", "('upper')", "(V)"] {
                    let arguments = arguments.replace('V', value);
                    ends(&format!("{{{{ {value} is {test}{arguments} }}}}"), value);
                }
                ends(&format!("{{{{ [{value}] | select('{test}', {value}) | list | tojson }}}}"), value);
            }
        }
    }

    #[test]
    fn functions_and_operators_come_to_an_end() {
        for value in VALUES {
            for function in FUNCTIONS {
                ends(&format!("{{{{ {function}({value}) | tojson }}}}"), value);
            }
            for operator in ["==", "<", "in", "~", "+", "-", "*", "//", "**", "and", "or"] {
                ends(&format!("{{{{ ({value} {operator} {value}) | tojson }}}}"), value);
            }
            for form in [
                "{{ V[V] | tojson }}",
                "{{ V[:2] | tojson }}",
                "{{ V.x.y.z | tojson }}",
                "{% for x in V recursive %}{{ loop(x) }}{% endfor %}",
                "{% macro m(x) %}{% for y in x %}{{ m(y) }}{% endfor %}{% endmacro %}{{ m(V) }}",
                "{% for x in V %}{% for y in x %}{% for z in y %}{{ z.w }}{% endfor %}{% endfor %}{% endfor %}",
                "{% set ns = namespace(a=V) %}{% for x in V %}{% set ns.a = [ns.a, x] %}{% endfor %}{{ ns.a | tojson }}",
            ] {
                ends(&form.replace('V', value), value);
            }
        }
    }

    #[test]
    fn tables_are_those_of_the_language_page() {
        let page = include_str!("../../../../docs/language.md");
        let section = page.split("### What expressions know").nth(1).unwrap_or_default();
        let section = section.split("\n#").next().unwrap_or_default();
        for name in FILTERS.iter().chain(TESTS).chain(FUNCTIONS) {
            let is_word = name.starts_with(char::is_alphabetic);
            assert!(!is_word || section.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn what_is_in_no_table_is_not_there() {
        for gone in ["{{ debug() }}", "{{ 1 | pprint }}", "{{ 1 | nothing }}", "{{ 1 is nothing }}"] {
            assert!(engine().text(gone, &scope()).is_err(), "{gone}");
        }
    }
}
