//! An index of distributions. The address is kept apart from its user and password, which the installer reads from a
//! file.

use converge_model::secret::percent_decoded;

use crate::wish::Text;

/// An index of distributions.
pub(super) struct Index {
    /// The address without user and password.
    pub(super) url: String,
    /// The line of a netrc file with the login.
    pub(super) login: Option<String>,
}

/// The problems of an address.
const NO_ADDRESS: &str = "must be an address that starts with https:// or http://";
const NO_LOGIN: &str =
    "must have a user and a password without blanks, quotes, `\\` and `#`, which a netrc file cannot store";

impl Index {
    /// Parses `address`: `https://user:password@host/simple`. The error says what is wrong with it.
    pub(super) fn of(address: &Text) -> Result<Self, &'static str> {
        // A check has no secrets: a secret reads as an empty text.
        if address.is_secret() && address.expose().is_empty() {
            return Ok(Self { url: String::new(), login: None });
        }
        let address = std::str::from_utf8(address.expose()).map_err(|_| NO_ADDRESS)?.trim();
        let (scheme, rest) = address.split_once("://").ok_or(NO_ADDRESS)?;
        let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !matches!(scheme, "https" | "http" | "file") || address.contains(char::is_whitespace) {
            return Err(NO_ADDRESS);
        }
        let Some((login, host)) = place.rsplit_once('@') else {
            return Ok(Self { url: address.to_owned(), login: None });
        };
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let meant =
            |text: &str| percent_decoded(text.as_bytes()).and_then(|text| String::from_utf8(text).ok());
        let plain = |text: &str| meant(text).filter(|text| is_plain(text)).ok_or(NO_LOGIN);
        let (user, password) = (plain(user)?, plain(password)?);
        let machine = host.split(':').next().unwrap_or(host);
        let login = format!("machine {machine} login {user} password {password}\n");
        Ok(Self { url: format!("{scheme}://{host}{path}"), login: Some(login) })
    }
}

/// Whether every reader of netrc files reads `text` unchanged.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.contains(['"', '\'', '\\', '#'])
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_leaves_the_address_and_goes_into_a_file() {
        let check = |address: &str, expected: Result<(&str, Option<&str>), &str>| {
            let index = Index::of(&Text::Plain(address.to_owned()));
            let index = index.as_ref().map(|index| (index.url.as_str(), index.login.as_deref()));
            assert_eq!(index.map_err(|why| *why), expected, "{address}");
        };
        check("https://pypi.example/simple", Ok(("https://pypi.example/simple", None)));
        check(
            "https://ci:p%40ss@pypi.example:8443/simple",
            Ok(("https://pypi.example:8443/simple", Some("machine pypi.example login ci password p@ss\n"))),
        );
        check("https://ci:a%20b@pypi.example/simple", Err(NO_LOGIN));
        check("https://token@pypi.example/simple", Err(NO_LOGIN));
        check("pypi.example", Err(NO_ADDRESS));
        check("ssh://pypi.example", Err(NO_ADDRESS));
    }
}
