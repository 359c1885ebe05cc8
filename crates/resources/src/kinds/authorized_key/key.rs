//! Lines of an `authorized_keys` file: options, type, key, comment. The format is that of sshd(8).

use converge_model::Digest;

use crate::kit::lines::Lines;

/// A public key as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The options before the key. None if there are none.
    pub(super) options: Option<String>,
    /// `ssh-ed25519`.
    pub(super) sort: String,
    /// The key in base64. Two lines with the same value have the same key.
    pub(super) blob: String,
    /// The comment after the key; may be empty.
    pub(super) comment: String,
}

/// The key types that OpenSSH accepts.
const SORTS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// The desired keys of the file.
pub(super) struct Keys<'a> {
    /// The keys of the resource.
    pub(super) keys: &'a [Key],
    /// The options of all keys. None: each key's own options, else the present ones.
    pub(super) options: Option<&'a str>,
    /// The desired state of these keys and of the other lines.
    pub(super) goal: Goal,
}

/// The desired state of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The keys are present; other lines stay.
    Present,
    /// The keys are present; all other lines are removed.
    Exclusive,
    /// The keys are absent.
    Absent,
}

impl Key {
    /// Parses a key from an inventory. Returns the reason if it is no valid key.
    pub(super) fn given(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.contains(char::is_control) {
            return Err("must be one line; write each key as a separate value: `key \"…\" \"…\"`");
        }
        if text.starts_with("ssh-dss ") {
            return Err("is a DSA key, which OpenSSH no longer accepts");
        }
        if text.contains("PRIVATE KEY") {
            return Err("must be a public key, found a private one");
        }
        let key = Self::parse(text).ok_or("must be a public key, as in a line of `authorized_keys`")?;
        let bytes = decode(&key.blob).ok_or("is cut or damaged: its base64 cannot be read")?;
        let fields = fields(&bytes).ok_or("is cut or damaged: its end is missing")?;
        if fields.len() < 2 || fields[0] != key.sort.as_bytes() {
            return Err("is cut or damaged: its type differs from the type in front of it");
        }
        Ok(key)
    }

    /// Parses the key of a line. None if the line is a comment or has no known format.
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let starts = |line: &str| {
            let (sort, rest) = line.split_once([' ', '\t'])?;
            SORTS.contains(&sort).then(|| (sort.to_owned(), rest.trim_start().to_owned()))
        };
        let (options, (sort, rest)) = match starts(line) {
            Some(found) => (None, found),
            None => {
                let end = options_end(line);
                (Some(line[..end].to_owned()), starts(line[end..].trim_start())?)
            }
        };
        let (blob, comment) = rest.split_once([' ', '\t']).unwrap_or((&rest, ""));
        Some(Self { options, sort, blob: blob.to_owned(), comment: comment.trim().to_owned() })
    }

    /// The line of the key in the file.
    fn line(&self, options: Option<&str>) -> String {
        let words = [options.unwrap_or_default(), &self.sort, &self.blob, &self.comment];
        words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
    }

    /// The label of the key in an address: its comment and the end of its base64 text.
    pub(super) fn label(&self) -> String {
        let blob = self.blob.trim_end_matches('=');
        let tail = &blob[blob.len().saturating_sub(8)..];
        if self.comment.is_empty() { tail.to_owned() } else { format!("{} {tail}", self.comment) }
    }

    /// The name of the key as a part of the file.
    pub(super) fn fingerprint(&self) -> String {
        Digest::of(self.blob.as_bytes()).short().to_string()
    }
}

impl Keys<'_> {
    /// Returns the text with the keys as desired. All other lines stay byte for byte, unless the goal is exclusive.
    pub(super) fn edit(&self, text: &[u8]) -> Vec<u8> {
        let mut lines = Lines::of(text);
        match self.goal {
            Goal::Absent => lines.retain(|line| self.known(line).is_none()),
            Goal::Present => self.put(&mut lines),
            Goal::Exclusive => {
                lines.retain(|line| self.known(line).is_some());
                self.put(&mut lines);
            }
        }
        lines.join()
    }

    /// Counts the keys of a text.
    pub(super) fn count(text: &[u8]) -> usize {
        Lines::of(text).iter().filter(|line| parsed(line).is_some()).count()
    }

    fn put(&self, lines: &mut Lines) {
        for key in self.keys {
            let asked = self.options.or(key.options.as_deref());
            let at: Vec<_> = (0..lines.count()).filter(|at| self.is(key, lines.get(*at))).collect();
            let Some(first) = at.first() else {
                lines.insert(lines.count(), key.line(asked).as_bytes());
                continue;
            };
            // sshd takes the first line of a key that allows the login. So if options are asked, only one line may
            // stay.
            let Some(asked) = asked else { continue };
            for again in at[1..].iter().rev() {
                lines.remove(*again, again + 1);
            }
            if let Some(there) =
                parsed(lines.get(*first)).filter(|there| there.options.as_deref().unwrap_or("") != asked)
            {
                lines.set(*first, there.line(Some(asked)).as_bytes());
            }
        }
    }

    fn is(&self, key: &Key, line: &[u8]) -> bool {
        parsed(line).is_some_and(|there| there.blob == key.blob)
    }

    fn known(&self, line: &[u8]) -> Option<&Key> {
        let there = parsed(line)?;
        self.keys.iter().find(|key| key.blob == there.blob)
    }
}

fn parsed(line: &[u8]) -> Option<Key> {
    Key::parse(std::str::from_utf8(line).ok()?)
}

/// The end of the options at the start of a line: the first blank outside of quotes.
fn options_end(line: &str) -> usize {
    scan_options(line).0
}

/// Checks that `options` are options before a key. An error is a fragment of a sentence.
pub(super) fn check_options(options: &str) -> Result<(), &'static str> {
    match scan_options(options) {
        _ if options.contains(char::is_control) => Err("must not contain a control character"),
        _ if options.starts_with('#') => Err("must not start with `#`, which makes the line a comment"),
        (end, _) if end < options.len() => Err("has a blank outside of quotes, where a key would begin"),
        (_, true) => Err("must close every quotation mark"),
        _ => Ok(()),
    }
}

/// The end of the options at the start of `line`, and whether a quotation is open there.
fn scan_options(line: &str) -> (usize, bool) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => return (at, false),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    (line.len(), quoted)
}

/// The fields of a key (RFC 4253): a length in four bytes, then that many bytes. The first field names the type.
fn fields(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        fields.push(field);
        bytes = rest;
    }
    Some(fields)
}

/// Decodes base64 with padding (RFC 4648).
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada@example.com";
    const BOB: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGQw7sU0xG3Qx2o6o4r0eGd1P3M1lq3x5n5aF7y2hJ7w";

    #[test]
    fn a_key_is_read_with_what_stands_around_it() {
        let check = |line: &str, options: Option<&str>, comment: &str| {
            let key = Key::given(line).unwrap();
            assert_eq!((key.options.as_deref(), key.comment.as_str()), (options, comment), "{line}");
        };
        check(ADA, None, "ada@example.com");
        check(&format!("  {BOB}\n"), None, "");
        check(&format!("{BOB} of two words"), None, "of two words");
        let options = r#"command="echo \"a b\" ssh-rsa x",no-pty"#;
        check(&format!("{options} {ADA}"), Some(options), "ada@example.com");
        // The second of two backslashes is escaped. So the quotation mark after them ends the quotation.
        let options = r#"command="echo \\",no-pty"#;
        check(&format!("{options} {ADA}"), Some(options), "ada@example.com");
        let options = r#"command="a \b \"c d\" e""#;
        check(&format!("{options} {ADA}"), Some(options), "ada@example.com");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let check = |line: &str, why: &str| {
            let said = Key::given(line).unwrap_err();
            assert!(said.contains(why), "{line}: {said}");
        };
        check("", "must be a public key");
        check("ssh-ed25519", "must be a public key");
        check(&format!("# {ADA}"), "must be a public key");
        check(&ADA[..60], "its end is missing");
        check("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "its type differs");
        check(&ADA.replacen("ssh-ed25519", "ssh-rsa", 1), "its type differs");
        check(&ADA.replace("AAAAC3", "AAAA!3"), "base64");
        check(&format!("{ADA}\n{BOB}"), "must be one line");
        check("ssh-dss AAAAB3NzaC1kc3MAAAA=", "DSA");
        check("-----BEGIN OPENSSH PRIVATE KEY-----", "private");
    }

    #[test]
    fn base64_is_read_as_its_standard_says() {
        let check = |text: &str, bytes: Option<&[u8]>| assert_eq!(decode(text).as_deref(), bytes, "{text}");
        check("", Some(b""));
        check("Zg==", Some(b"f"));
        check("Zm8=", Some(b"fo"));
        check("Zm9vYmFy", Some(b"foobar"));
        check("+/9a", Some(b"\xfb\xff\x5a"));
        check("Zg", None);
        check("Zh==", None);
        check("Z===", None);
        check("Zm9*", None);
    }

    #[test]
    fn only_the_keys_that_are_asked_about_change() {
        let (ada, bob) = (Key::given(ADA).unwrap(), Key::given(BOB).unwrap());
        let check = |goal: Goal, options: Option<&str>, before: &str, after: &str| {
            let keys = [ada.clone()];
            let keys = Keys { keys: &keys, options, goal };
            let edited = keys.edit(before.as_bytes());
            assert_eq!(String::from_utf8(edited.clone()).unwrap(), after, "{goal:?} {before}");
            assert_eq!(keys.edit(&edited), edited, "once is enough");
        };
        let other = format!("# mine\n{BOB} bob\nnonsense\n");
        let renamed = ADA.replace("ada@example.com", "laptop");
        check(Goal::Present, None, "", &format!("{ADA}\n"));
        check(Goal::Present, None, &other, &format!("{other}{ADA}\n"));
        check(Goal::Present, None, &format!("{renamed}\n{other}"), &format!("{renamed}\n{other}"));
        check(Goal::Present, None, BOB, &format!("{BOB}\n{ADA}"));
        check(Goal::Present, None, &format!("no-pty {ADA}\n"), &format!("no-pty {ADA}\n"));
        check(Goal::Present, Some("no-pty"), &format!("{ADA}\n{ADA}\n"), &format!("no-pty {ADA}\n"));
        check(Goal::Present, Some(""), &format!("no-pty {ADA}\n"), &format!("{ADA}\n"));
        check(Goal::Exclusive, None, &format!("{other}{renamed}\n"), &format!("{renamed}\n"));
        check(Goal::Absent, None, &format!("{other}no-pty {renamed}\n"), &other);
        assert_ne!(ada.fingerprint(), bob.fingerprint());
        assert_eq!((ada.label(), bob.label()), ("ada@example.com h2l9GKJl".into(), "F7y2hJ7w".into()));
        assert_eq!(Keys::count(other.as_bytes()), 1);
    }
}
