//! A web address that receives news: valid addresses, trusted certificates, and one try to send.
//!
//! `notify` decides what is sent and how often it is tried.

use std::env;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use converge_model::Secret;
use ureq::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use ureq::http::uri::Scheme;
use ureq::http::{HeaderMap, StatusCode, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::target::{Failed, TIMEOUT, TargetError};

/// The longest pause that an answer may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A web address that receives notifications.
#[derive(Clone)]
pub struct Webhook {
    address: Uri,
    is_here: bool,
    headers: Vec<(HeaderName, Arc<Secret>)>,
}

impl Webhook {
    /// Creates a webhook from an address, and headers as `NAME: VALUE`, one per line. The values are secret.
    ///
    /// # Errors
    /// [`TargetError`] if the address is invalid, or leads to another machine without encryption.
    pub fn new(address: &str, headers: &str) -> Result<Self, TargetError> {
        let address: Uri = address.trim().parse().map_err(|_| TargetError::Address)?;
        let host = address.host().ok_or(TargetError::Address)?;
        let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        match address.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS || (*scheme == Scheme::HTTP && is_here) => {}
            Some(scheme) if *scheme == Scheme::HTTP => return Err(TargetError::Plain(host.to_owned())),
            _ => return Err(TargetError::Address),
        }
        let lines = headers.lines().filter(|line| !line.trim().is_empty());
        let headers = lines.map(header).collect::<Result<_, _>>()?;
        Ok(Self { address, is_here, headers })
    }

    /// Sends a body once, as JSON.
    pub(crate) fn post(&self, body: &str) -> Result<(), Failed> {
        let mut request = self.agent()?.post(&self.address).header(CONTENT_TYPE, "application/json");
        for (name, value) in &self.headers {
            let mut value = HeaderValue::from_bytes(value.expose()).map_err(Failed::now)?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        // Only the status code and the headers of the answer are read.
        match request.send(body) {
            Ok(answer) => taken(answer.status(), answer.headers()),
            // rustls reports an untrusted certificate with this kind of error.
            Err(ureq::Error::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                let trusted = "converge trusts the authorities of this machine, or those in SSL_CERT_FILE";
                Err(Failed::now(format_args!("{error}; {trusted}")))
            }
            Err(error) => Err(Failed::now(error)),
        }
    }

    /// Created for each try, so that renewed or added authorities count without a restart of the daemon.
    fn agent(&self) -> Result<ureq::Agent, Failed> {
        // No redirections: only this address may receive the headers.
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent("converge");
        if self.is_here {
            config = config.proxy(None);
        }
        if self.address.scheme() == Some(&Scheme::HTTPS) {
            config = config.tls_config(TlsConfig::builder().root_certs(authorities()?).build());
        }
        Ok(config.build().new_agent())
    }
}

/// Shows only the host, because the rest may be secret.
impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.address.host().unwrap_or_default())
    }
}

fn header(line: &str) -> Result<(HeaderName, Arc<Secret>), TargetError> {
    let (name, value) = line.split_once(':').ok_or(TargetError::Header)?;
    let name = name.trim().parse().map_err(|_| TargetError::Header)?;
    HeaderValue::from_str(value.trim()).map_err(|_| TargetError::Header)?;
    Ok((name, Arc::new(Secret::new(value.trim().as_bytes().to_vec()))))
}

/// Returns the trusted authorities: those of SSL_CERT_FILE and SSL_CERT_DIR, otherwise those that this machine
/// trusts. If the machine has none at all: those that most browsers trust.
fn authorities() -> Result<RootCerts, Failed> {
    let found = rustls_native_certs::load_native_certs();
    if !found.certs.is_empty() {
        let certificates: Vec<_> =
            found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
        return Ok(RootCerts::new_with_certs(&certificates));
    }
    let is_named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| env::var_os(name).is_some());
    if !is_named {
        return Ok(RootCerts::WebPki);
    }
    let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
    Err(Failed::now(format_args!("SSL_CERT_FILE and SSL_CERT_DIR hold no certificate{why}")))
}

/// Checks whether an answer means that the notification was accepted.
fn taken(code: StatusCode, headers: &HeaderMap) -> Result<(), Failed> {
    if code.is_success() {
        return Ok(());
    }
    // A client error stays the same at the next try, except for these codes.
    let may_later = code.is_server_error() || matches!(code.as_u16(), 408 | 425 | 429);
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let after = seconds.map(Duration::from_secs).unwrap_or_default().min(LONGEST_PAUSE);
    Err(Failed { why: format!("it answered {code}"), is_final: !may_later, after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_without_telling_secrets() {
        let check = |address: &str, headers: &str, error: TargetError| {
            let refused = Webhook::new(address, headers).err().unwrap();
            assert_eq!(refused, error, "{address} {headers}");
            assert!(!refused.to_string().contains("s3cret"), "{refused}");
        };
        check("http://hooks.example/s3cret", "", TargetError::Plain("hooks.example".to_owned()));
        check("ftp://localhost/s3cret", "", TargetError::Address);
        check("s3cret", "", TargetError::Address);
        check("https://hooks.example/", "s3cret", TargetError::Header);
        check("https://hooks.example/", "A: s3cret\r\u{1}", TargetError::Header);
        assert_eq!(
            Webhook::new("https://hooks.example/s3cret", "A: b").unwrap().to_string(),
            "hooks.example"
        );
    }

    #[test]
    fn an_answer_says_whether_and_when_to_try_again() {
        let check = |code: u16, after: &str, expected: Option<(bool, u64)>| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(after).unwrap())]);
            let failed = taken(StatusCode::from_u16(code).unwrap(), &headers).err();
            assert_eq!(failed.map(|failed| (failed.is_final, failed.after.as_secs())), expected, "{code}");
        };
        check(204, "", None);
        check(302, "", Some((true, 0)));
        check(403, "", Some((true, 0)));
        check(429, "30", Some((false, 30)));
        check(503, "86400", Some((false, 60)));
        check(503, "Wed, 21 Oct 2026 07:28:00 GMT", Some((false, 0)));
    }
}
