//! The sections of a unit file, and its text. The syntax is that of systemd.syntax(7).

use converge_model::ParamProblem;

use crate::wish::{Reader, RowReader, Text};

/// A section with its options, in order.
pub(super) struct Section {
    name: String,
    options: Vec<(String, Vec<Text>)>,
}

/// The preset of restrictions for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hardening {
    None,
    Standard,
    Strict,
}

/// Restrictions that suit nearly every service.
const STANDARD: [(&str, &str); 12] = [
    ("NoNewPrivileges", "true"),
    ("ProtectSystem", "true"),
    ("PrivateTmp", "true"),
    ("PrivateDevices", "true"),
    ("ProtectKernelTunables", "true"),
    ("ProtectKernelModules", "true"),
    ("ProtectControlGroups", "true"),
    ("ProtectClock", "true"),
    ("ProtectHostname", "true"),
    ("RestrictSUIDSGID", "true"),
    ("RestrictRealtime", "true"),
    ("LockPersonality", "true"),
];

/// Restrictions for a service that only reads its configuration and writes to known places.
const STRICT: [(&str, &str); 8] = [
    ("ProtectSystem", "full"),
    ("ProtectHome", "true"),
    ("ProtectKernelLogs", "true"),
    ("ProtectProc", "invisible"),
    ("RestrictNamespaces", "true"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallArchitectures", "native"),
];

impl Section {
    /// The options with a secret.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let secret = self.options.iter().filter(|(_, values)| values.iter().any(Text::is_secret));
        secret.map(|(option, _)| option.as_str())
    }
}

/// Reads the sections of `unit`.
pub(super) fn decode(params: &mut Reader<'_>, unit: &str) -> Vec<Section> {
    let rows = params.rows("section");
    let (sections, problems): (Vec<_>, Vec<_>) = rows.iter().map(|row| section(row, unit)).unzip();
    problems.into_iter().flatten().for_each(|problem| params.problem(problem));
    sections
}

fn section(row: &RowReader, unit: &str) -> (Section, Vec<ParamProblem>) {
    let mut problems = Vec::new();
    let mut problem = |message: String| problems.push(ParamProblem::new("section", message));
    let name = row.text("name").map(|name| String::from_utf8_lossy(name.expose()).into_owned());
    let name = name.unwrap_or_default();
    let kind = unit.rsplit_once('.').map_or("", |(_, end)| end);
    if !is_name(&name) {
        problem(format!("{name:?} cannot be the name of a section"));
    } else if !belongs(&name, kind) {
        problem(format!("a {kind} cannot have the section {name:?}"));
    }
    let mut options = Vec::new();
    for (key, values) in row.map("options") {
        if !is_name(key) {
            problem(format!("{key:?} cannot be the name of an option"));
        }
        if values.iter().any(|value| value.expose().iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0))) {
            problem(format!("{key:?} must not contain a line break"));
        }
        if values.iter().any(|value| value.expose().ends_with(b"\\")) {
            problem(format!("{key:?} must not end with a backslash, which would append the next line"));
        }
        options.push((key.to_owned(), values.to_vec()));
    }
    (Section { name, options }, problems)
}

/// Whether a unit of this type may have the section: its own, the two common ones, or an `X-` section.
fn belongs(name: &str, kind: &str) -> bool {
    matches!(name, "Unit" | "Install") || name.starts_with("X-") || name.eq_ignore_ascii_case(kind)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Adds the options of `hardening` to the service section. Options that the section sets itself stay.
pub(super) fn harden(sections: &mut Vec<Section>, hardening: Hardening) {
    let preset: Vec<_> = match hardening {
        Hardening::None => return,
        Hardening::Standard => STANDARD.to_vec(),
        Hardening::Strict => {
            let milder =
                STANDARD.into_iter().filter(|(key, _)| !STRICT.iter().any(|(other, _)| other == key));
            milder.chain(STRICT).collect()
        }
    };
    let place = sections.iter().position(|section| section.name == "Service").unwrap_or_else(|| {
        sections.push(Section { name: "Service".to_owned(), options: Vec::new() });
        sections.len() - 1
    });
    let service = &mut sections[place];
    for (key, value) in preset {
        if !service.options.iter().any(|(given, _)| given == key) {
            service.options.push((key.to_owned(), vec![Text::Plain(value.to_owned())]));
        }
    }
}

/// The text of the file. With `masked`, a placeholder replaces each secret.
pub(super) fn text(sections: &[Section], masked: bool) -> Vec<u8> {
    let mut text = b"# Kept by Converge: what is changed here is put back.\n".to_vec();
    for section in sections {
        text.extend_from_slice(format!("\n[{}]\n", section.name).as_bytes());
        for (key, values) in &section.options {
            for value in values {
                text.extend_from_slice(key.as_bytes());
                text.push(b'=');
                let hidden = masked && value.is_secret();
                text.extend_from_slice(if hidden { stand_in(key) } else { value.expose() });
                text.push(b'\n');
            }
        }
    }
    text
}

/// The placeholder for a secret in the text that systemd checks. It must be valid at this place.
fn stand_in(key: &str) -> &'static [u8] {
    if key == "Environment" { b"SECRET=secret" } else { b"secret" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(options: &[(&str, &str)]) -> Vec<Section> {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), vec![Text::Plain((*value).to_owned())]))
            .collect();
        vec![Section { name: "Service".to_owned(), options }]
    }

    #[test]
    fn hardening_leaves_what_the_section_says_itself() {
        let check = |hardening, lines: &[(&str, usize)]| {
            let mut sections = service(&[("ExecStart", "/bin/app"), ("PrivateTmp", "false")]);
            harden(&mut sections, hardening);
            let text = String::from_utf8(text(&sections, false)).unwrap();
            for (line, count) in lines {
                assert_eq!(
                    text.lines().filter(|other| other == line).count(),
                    *count,
                    "{hardening:?} {line}"
                );
            }
        };
        check(Hardening::None, &[("NoNewPrivileges=true", 0)]);
        let standard = [("NoNewPrivileges=true", 1), ("PrivateTmp=false", 1), ("PrivateTmp=true", 0)];
        check(Hardening::Standard, &standard);
        check(
            Hardening::Strict,
            &[("ProtectSystem=full", 1), ("ProtectSystem=true", 0), ("ProtectHome=true", 1)],
        );
        check(
            Hardening::Strict,
            &[("NoNewPrivileges=true", 1), ("PrivateTmp=false", 1), ("ExecStart=/bin/app", 1)],
        );
        let mut sections = vec![Section { name: "Unit".to_owned(), options: Vec::new() }];
        harden(&mut sections, Hardening::Standard);
        let text = String::from_utf8(text(&sections, false)).unwrap();
        assert!(text.contains("[Unit]\n\n[Service]\nNoNewPrivileges=true\n"), "{text}");
    }
}
