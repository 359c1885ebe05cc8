//! Shows long text in the user's pager, as git does: CONVERGE_PAGER, PAGER, `less`.

use std::env;
use std::io::{self, Write};
use std::process::{Command, Stdio};

/// The default pager. `-R` keeps colours, `-F` ends at once if one screen is enough, `-X` leaves the text on the
/// screen.
const USUAL: &str = "less";
const OPTIONS: &str = "FRX -Psq\\: back   space\\: more";

/// Shows `text` in the pager, and waits for its end. Returns whether there was a pager.
pub(crate) fn show(text: &str) -> bool {
    let chosen = ["CONVERGE_PAGER", "PAGER"].iter().find_map(|name| env::var(name).ok());
    let chosen = chosen.filter(|line| !line.trim().is_empty()).unwrap_or_else(|| USUAL.to_owned());
    page(&chosen, text).is_ok()
}

/// Runs the pager, a line for a shell. It is no error if the pager ends before it has read everything.
fn page(line: &str, text: &str) -> io::Result<()> {
    let mut pager = Command::new("sh");
    pager.args(["-c", line]).stdin(Stdio::piped());
    if env::var_os("LESS").is_none() {
        pager.env("LESS", OPTIONS);
    }
    let mut pager = pager.spawn()?;
    if let Some(mut input) = pager.stdin.take() {
        let written = input.write_all(text.as_bytes());
        written
            .or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })?;
    }
    // Exit code 127: the shell found no such program.
    match pager.wait()?.code() {
        Some(127) => Err(io::Error::from(io::ErrorKind::NotFound)),
        _ => Ok(()),
    }
}
