//! The reason of an installer's failure, in its own words, without the rest of its log.

/// The longest reason in a message, in characters.
const LENGTH: usize = 400;

/// The lines with the reason, joined. None if there are none.
pub(super) fn of(output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    let reason = of_pip(&lines).or_else(|| of_uv(&lines))?;
    let short: String = reason.chars().take(LENGTH).collect();
    Some(if short.len() < reason.len() { format!("{short}…") } else { short })
}

/// pip's lines with `ERROR: `. The last one has the result. The details of a wrong hash are on the lines below.
fn of_pip(lines: &[&str]) -> Option<String> {
    let errors: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("ERROR: ")).collect();
    let (first, last) = (errors.first()?, errors.last()?);
    let hashes = lines.iter().filter(|line| line.starts_with("Expected sha256") || line.starts_with("Got "));
    let mut parts = vec![*first];
    if first != last {
        parts.push(last);
    }
    parts.extend(hashes);
    Some(parts.join("; "))
}

/// uv's tree of causes: `× …` and `╰─▶ …`, or `error: …` with `Caused by: …`.
fn of_uv(lines: &[&str]) -> Option<String> {
    let starts = |line: &&&str| line.starts_with("error: ") || line.starts_with('×');
    let first = lines.iter().position(|line| starts(&line))?;
    let parts = lines[first..].iter().map(|line| line.trim_start_matches(|c: char| "×│├╰─▶ ".contains(c)));
    let parts =
        parts.map(|line| line.strip_prefix("error: ").unwrap_or(line)).filter(|line| !line.is_empty());
    Some(parts.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, expected: Option<&str>) {
        assert_eq!(of(output).as_deref(), expected, "{output}");
    }

    #[test]
    fn the_lines_of_pip_that_say_why_are_found() {
        check(
            "Looking in links: /srv/wheels\nERROR: Could not find a version that satisfies the requirement leaf==9 (from versions: 1.0, 2.0)\nERROR: No matching distribution found for leaf==9\n\n[notice] A new release of pip\n",
            Some(
                "Could not find a version that satisfies the requirement leaf==9 (from versions: 1.0, 2.0); No matching distribution found for leaf==9",
            ),
        );
        check(
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n    leaf==1.0 from file:///srv:\n        Expected sha256 00\n             Got        11\n",
            Some("THESE PACKAGES DO NOT MATCH THE HASHES; Expected sha256 00; Got        11"),
        );
        check("Successfully installed leaf\n", None);
        let long = format!("ERROR: {}", "x".repeat(1000));
        assert_eq!(of(&long).unwrap().chars().count(), LENGTH + 1);
    }

    #[test]
    fn the_lines_of_uv_that_say_why_are_found() {
        check(
            "Using Python 3.11\n  × No solution found when resolving dependencies:\n  ╰─▶ Because leaf==9 was not found and you require leaf==9, we can conclude\n      that your requirements are unsatisfiable.\n",
            Some(
                "No solution found when resolving dependencies: Because leaf==9 was not found and you require leaf==9, we can conclude that your requirements are unsatisfiable.",
            ),
        );
        check(
            "error: Failed to fetch: `https://x/`\n  Caused by: 401 Unauthorized\n",
            Some("Failed to fetch: `https://x/` Caused by: 401 Unauthorized"),
        );
    }
}
