//! Writes KDL strings.

/// Returns `value` as a KDL string on one line, with quotation marks.
pub fn quoted(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len() + 2);
    quote(value, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes `value` as a KDL string on one line. Characters that KDL forbids, or that are invisible in the file, are
/// escaped.
pub(crate) fn quote(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in value.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                out.extend_from_slice(format!("\\u{{{:x}}}", u32::from(c)).as_bytes());
            }
            c if c.is_control() => out.extend_from_slice(format!("\\u{{{:x}}}", u32::from(c)).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}
