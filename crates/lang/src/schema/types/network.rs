//! Host names, addresses, networks and URLs.

use std::net::IpAddr;

use super::error::{TypeError, fail, printable};

/// Reads a host name or domain: letters, digits, `-`, `_` and dots. It may start with `*.` and end with a dot.
pub(super) fn hostname(text: &str) -> Result<String, TypeError> {
    let bare = text.strip_prefix("*.").unwrap_or(text);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    let valid = |label: &str| {
        let ends = label.starts_with('-') || label.ends_with('-');
        (1..=63).contains(&label.len())
            && !ends
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if bare.len() <= 253 && bare.split('.').all(valid) {
        return Ok(text.to_owned());
    }
    let help = match text {
        _ if text.contains("://") => "a host name has no scheme and no path",
        _ if text.contains(':') => "a host name has no port",
        _ if !text.is_ascii() => "write the ASCII form: `xn--…`",
        _ => "expected letters, digits and dashes, separated by dots",
    };
    fail(format!("`{}` is not a host name", printable(text)), Some(help.to_owned()))
}

/// Reads an address, or a network without bits set beyond its prefix.
pub(super) fn network(text: &str) -> Result<String, TypeError> {
    let wrong = |help: &str| fail(format!("`{}` is not a network", printable(text)), Some(help.to_owned()));
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return wrong("write `10.0.0.1`, `10.0.0.0/8` or `2001:db8::/32`");
    };
    let Some(prefix) = prefix else {
        return Ok(address.to_string());
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let digits = prefix.bytes().all(|b| b.is_ascii_digit()) && prefix.len() <= 3;
    let Some(prefix) = prefix.parse::<u32>().ok().filter(|prefix| digits && *prefix <= bits) else {
        return wrong(&format!("the number after the `/` must be from 0 to {bits}"));
    };
    let start = masked(address, prefix);
    match start == address {
        true => Ok(format!("{address}/{prefix}")),
        false => wrong(&format!("the network is `{start}/{prefix}`")),
    }
}

/// Returns `address` with all bits beyond `prefix` cleared.
fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

/// Reads a URL with its scheme. Rules of single schemes are checked where the URL is used.
pub(super) fn url(text: &str) -> Result<String, TypeError> {
    let wrong = |help: &str| fail(format!("`{}` is not a URL", printable(text)), Some(help.to_owned()));
    let Some((scheme, rest)) = text.split_once(':') else {
        return wrong(&format!("a URL has a scheme: `https://{}`", printable(text)));
    };
    let letters = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let host = rest.strip_prefix("//").is_some_and(|rest| !rest.is_empty());
    if !letters || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) || !host {
        return match scheme == "file" && rest.starts_with('/') {
            true => wrong(&format!("write `file://{}`", printable(rest))),
            false => {
                wrong(&format!("a URL has a scheme: `https://{}`", printable(text.trim_start_matches('/'))))
            }
        };
    }
    match text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        true => wrong("a URL holds no blanks: write `%20`"),
        false => Ok(text.to_owned()),
    }
}
