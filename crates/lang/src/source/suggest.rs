//! Suggestions for misspelt names.

/// Returns the nearest of `names` to `wanted`, if it is near enough to be a typing error.
pub(crate) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (wanted.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .filter(|name| *name != wanted)
        .map(|name| (distance(wanted, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Returns a sentence for help: `did you mean `x`?`.
pub fn did_you_mean<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(wanted, names).map(|name| format!("did you mean `{name}`?"))
}

/// Returns a sentence for help: `there are a, b, c`, or `there is only a`. None without names.
pub(crate) fn there_are<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names: Vec<_> = names.into_iter().collect();
    match &names[..] {
        [] => None,
        [only] => Some(format!("there is only `{only}`")),
        _ => Some(format!("there are {}", names.join(", "))),
    }
}

/// Returns the number of edits between two names. Differences in case, dashes and underscores are free; swapped letters
/// cost one.
fn distance(a: &str, b: &str) -> usize {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    strsim::osa_distance(&plain(a), &plain(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_found_and_nothing_else() {
        let names = ["workers", "web1", "web2", "open-files", "on", "a"];
        let check = |wanted: &str, found: Option<&str>| assert_eq!(nearest(wanted, names), found, "{wanted}");
        check("wrokers", Some("workers"));
        check("worker", Some("workers"));
        check("open_file", Some("open-files"));
        check("OPEN_FILES", Some("open-files"));
        check("web3", Some("web1"));
        check("no", Some("on"));
        check("database", None);
        check("woker", None);
        check("workers", None);
        check("", Some("a"));
    }
}
