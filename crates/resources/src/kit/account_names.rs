//! The common parts of the kinds of accounts: names, lists as they are shown, and the login that must stay.

use converge_model::ParamProblem;

use crate::kind::Planned;
use crate::wish::Reader;

/// The groups that by custom give their members the rights of root.
const POWERFUL: [&str; 4] = ["sudo", "wheel", "admin", "root"];

/// Adds a mistake if `name`, the value of `param`, cannot be the name of a user or group.
pub fn check_name(params: &mut Reader<'_>, param: &str, name: &str) {
    let odd = |c: char| c.is_whitespace() || c.is_control() || ":,/\\\"'".contains(c);
    let wrong = if name.is_empty() {
        Some("is empty".to_owned())
    } else if name.starts_with(['-', '+', '~', '@', '%', '#']) || name.contains(odd) {
        Some(format!("{name:?} is not the name of a user or group"))
    } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
        Some(format!("{name:?} must have a character that is not a digit: programs read it as a number"))
    } else {
        (name.len() > 32).then(|| format!("{name:?} must have at most 32 characters"))
    };
    if let Some(wrong) = wrong {
        params.problem(ParamProblem::new(param, wrong));
    }
}

/// Reads a number of a user or group.
pub fn account_number(params: &mut Reader<'_>, param: &str) -> Option<u32> {
    let number = params.number(param)?;
    // System calls use the largest two for "no change".
    let number = u32::try_from(number).ok().filter(|number| *number < u32::MAX - 1);
    if number.is_none() {
        params.problem(ParamProblem::new(param, "is not a number from 0 to 4294967293"));
    }
    number
}

/// Formats names for a plan: sorted, without duplicates.
pub fn shown(names: &[String]) -> String {
    let names = sorted(names);
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Returns the names sorted, without duplicates.
pub fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}

/// Whether membership of `group` gives the rights of root.
pub fn is_powerful(group: &str) -> bool {
    POWERFUL.contains(&group)
}

/// Returns a plan that is impossible, because it would shut out the login of `name`.
pub fn locks_out(name: &str, how: &str) -> Planned {
    Planned::Impossible {
        message: format!("{how} would lock out {name}, whose login this run uses"),
        help: Some("run it again with another login that can become root".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::Params;

    #[test]
    fn only_what_the_account_files_can_hold_is_a_name() {
        let check = |name: &str, good: bool| {
            let params = Params::default();
            let mut reader = Reader::new(&params, None);
            check_name(&mut reader, "name", name);
            assert_eq!(reader.finish().is_ok(), good, "{name:?}");
        };
        check("ada", true);
        check("ada.lovelace", true);
        check("_apt", true);
        check("machine$", true);
        check("-r", false);
        check("a:b", false);
        check("a,b", false);
        check("a b", false);
        check("1000", false);
        check("", false);
        check(&"a".repeat(33), false);
    }
}
