//! `download`: a file that the host downloads itself, verified by its checksum.
//!
//! The agent speaks neither HTTP nor TLS. The host's curl or wget writes into a file that only the agent can name.
//! The file replaces the target only if its SHA-256 is the desired one.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use converge_model::{
    Change, Claim, Extent, KindSchema, Param, ParamProblem, PropertyChange, Secret, Shown, Type, Verb,
};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Depend, Kind, Planned};
use crate::kit::attributes::{self, Asked};
use crate::kit::programs;
use crate::kit::replace_file::{self, Precautions};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::system::processes::Command;
use crate::view::{self, Body, LookError, Need, Place, Seen, View};
use crate::wish::{Reader, Text};

/// The kind.
pub struct Download;

/// The desired file and its URL.
pub struct Wish {
    path: PathBuf,
    url: Text,
    checksum: [u8; 32],
    attributes: Attributes,
    precautions: Precautions,
    replace: bool,
}

/// The state of the host.
pub struct Found {
    place: Seen<Place>,
    checksum: Seen<[u8; 32]>,
    asked: Asked,
    needs: Vec<Need>,
    tool: Tool,
}

/// The download program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Curl,
    Wget,
}

impl Kind for Download {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        let [mode, owner, group] = attributes::params();
        let [validate, backup] = replace_file::params();
        KindSchema::new("download", "A file from the network, identified by its checksum")
            .details(
                "The host downloads the file with curl, or with wget if it has no curl. A file with the right \
                 checksum is not downloaded again. A new file replaces the old one only if its SHA-256 is \
                 right; otherwise the old file stays. The URL can be a secret: it appears on no command line \
                 and in no message. Redirects from `https` to `http` are refused.",
            )
            .param(Param::new("path", Type::Path, "Path of the file").argument(0).required())
            .param(Param::new("url", Type::Url, "Address: `https://…` or `http://…`").required())
            .param(
                Param::new("checksum", Type::Text, "Checksum of the file: `sha256:` and 64 hexadecimal digits")
                    .pattern("sha256:[0-9a-fA-F]{64}")
                    .required(),
            )
            .param(mode)
            .param(owner)
            .param(group)
            .param(validate)
            .param(backup)
            .param(Param::new("replace", Type::Bool, "Replace a link at the path with the file").default(false))
            .example(
                "A package from Python's index",
                "package \"curl\"\npackage \"ca-certificates\"\ndownload \"/opt/six-1.16.0-py2.py3-none-any.whl\" {\n    url \"https://files.pythonhosted.org/packages/d9/5a/e7c31adbe875f2abbb91bd84cf2dc52d792b5a01506781dbcf25c91daf11/six-1.16.0-py2.py3-none-any.whl\"\n    checksum \"sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254\"\n}",
            )
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        Wish {
            path: params.path("path"),
            url: url(params),
            checksum: checksum(params),
            attributes: attributes::decode(params),
            precautions: replace_file::decode(params),
            replace: params.flag("replace").unwrap_or(false),
        }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        vec![Claim::path(wish.path.to_string_lossy(), Extent::Whole)]
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let place = view.place(&wish.path)?;
        let file = matches!(&place, Seen::Known(place) if place.sort == Sort::File);
        let asked = attributes::observe(view, &wish.attributes)?;
        let (tool, program) = tool(view)?;
        let folder = view.need_folder(wish.path.parent().unwrap_or(Path::new("/")))?;
        let mut needs = asked.needs.clone();
        needs.push(folder);
        let checksum = if file { view.sha256(&wish.path)? } else { Seen::Absent };
        if checksum != Seen::Known(wish.checksum) {
            needs.push(program);
        }
        Ok(Found { place, checksum, asked, needs, tool })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        let planned = match &found.place {
            Seen::Known(place) if place.sort == Sort::File => update(wish, found, place),
            Seen::Known(place) if place.sort == Sort::Link && wish.replace => {
                create(wish, found, Verb::Replace)
            }
            Seen::Known(place) => Planned::Impossible {
                message: format!("a {} is in the way", place.sort.word()),
                help: (place.sort == Sort::Link).then(|| "write `replace=#true`".to_owned()),
            },
            _ => create(wish, found, Verb::Create),
        };
        planned.given(found.needs.iter().cloned())
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let before = found.place.clone().known().filter(|place| place.sort == Sort::File);
        let body = match found.checksum == Seen::Known(wish.checksum) {
            true => Body::OnDisk,
            false => Body::Unknown(Vec::new()),
        };
        vec![Effect::Path(
            wish.path.clone(),
            Some(found.asked.place(before.as_ref(), Sort::File, 0o644, body)),
        )]
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        if found.checksum == Seen::Known(wish.checksum) {
            return actor.set_attributes(&wish.path, &wish.attributes);
        }
        if matches!(&found.place, Seen::Known(place) if place.sort == Sort::File) {
            wish.precautions.back_up(actor, &wish.path)?;
        }
        let fill = |actor: &mut Actor<'_>, file: &mut File| fetch(actor, wish, found.tool, file);
        actor.write_by(&wish.path, &wish.attributes, fill, |actor, new| wish.precautions.check(actor, new))
    }
}

fn url(params: &mut Reader<'_>) -> Text {
    let Some(url) = params.maybe_secret("url") else {
        params.problem(ParamProblem::new("url", "is missing"));
        return Text::Plain(String::new());
    };
    let text = url.expose();
    let scheme = text.starts_with(b"https://") || text.starts_with(b"http://");
    // A check has no secrets: a secret reads as an empty text.
    let unknown = url.is_secret() && text.is_empty();
    if !unknown && (!scheme || text.iter().any(|byte| byte.is_ascii_control() || *byte == b' ')) {
        params.problem(ParamProblem::new("url", "must be a URL of http or https"));
    }
    url
}

fn checksum(params: &mut Reader<'_>) -> [u8; 32] {
    let text = params.required_text("checksum");
    let digits = text.strip_prefix("sha256:").filter(|digits| digits.is_ascii() && digits.len() == 64);
    let byte = |digits: &str, at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok();
    let bytes: Option<Vec<u8>> = digits.and_then(|digits| (0..32).map(|at| byte(digits, at)).collect());
    match bytes.and_then(|bytes| bytes.try_into().ok()) {
        Some(checksum) => checksum,
        None => {
            params.problem(ParamProblem::new("checksum", "must be `sha256:` and 64 hexadecimal digits"));
            [0; 32]
        }
    }
}

/// The tool of the host, and the need for one. If a folder stands for the host, it is the tool of this machine.
fn tool(view: &View<'_>) -> Result<(Tool, Need), LookError> {
    if view.root() != Path::new("/") {
        let there = |name: &str| view::PATH.iter().any(|folder| Path::new(folder).join(name).exists());
        let tool = if there("curl") || !there("wget") { Tool::Curl } else { Tool::Wget };
        return Ok((tool, Need::Met));
    }
    let (curl, wget) = (programs::need(view, "curl")?, programs::need(view, "wget")?);
    Ok(match (curl, wget) {
        (Need::Met, _) => (Tool::Curl, Need::Met),
        (_, Need::Met) => (Tool::Wget, Need::Met),
        (Need::Absent { .. }, wget @ Need::MayCome { .. }) => (Tool::Wget, wget),
        (curl, _) => (Tool::Curl, curl),
    })
}

fn hex(checksum: &[u8; 32]) -> String {
    let digits: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

fn create(wish: &Wish, found: &Found, verb: Verb) -> Planned {
    let mut change = Change::new(verb);
    change.properties.push(PropertyChange::new("checksum", Shown::Absent, hex(&wish.checksum)));
    change.properties.extend(found.asked.created());
    Planned::change(change)
}

fn update(wish: &Wish, found: &Found, place: &Place) -> Planned {
    let mut change = Change::new(Verb::Update);
    let before = match &found.checksum {
        Seen::Known(checksum) if *checksum == wish.checksum => None,
        Seen::Known(checksum) => Some(Shown::Text(hex(checksum))),
        Seen::Absent | Seen::MayCome(_) | Seen::Unknown(_) => {
            Some(Shown::Unknown("an earlier step decides it".to_owned()))
        }
    };
    if let Some(before) = before {
        change.properties.push(PropertyChange::new("checksum", before, hex(&wish.checksum)));
        change.properties.extend(wish.precautions.shown(&wish.path, true));
    }
    if let Seen::Unknown(steps) | Seen::MayCome(steps) = &found.checksum {
        change.depend("its content", steps);
    }
    change.properties.extend(found.asked.changes(place));
    if change.properties.is_empty() {
        return Planned::InSync("checksum, mode and owner are as asked".to_owned());
    }
    Planned::change(change)
}

/// Lets the tool write into `file`, then compares the checksum.
fn fetch(actor: &mut Actor<'_>, wish: &Wish, tool: Tool, file: &mut File) -> Result<(), ApplyError> {
    // Names the file by its descriptor: a user with write access to the folder cannot replace it with another file.
    let target = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    actor.run(&command(tool, &wish.url, target))?;
    let fail = |error: std::io::Error| ApplyError::at("read", &wish.path, &error);
    file.flush().and_then(|()| file.rewind()).map_err(fail)?;
    let mut hasher = Sha256::new();
    // The file is open for writing only; a second descriptor reads it.
    let mut again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(fail)?;
    std::io::copy(&mut again, &mut hasher).map_err(fail)?;
    let arrived: [u8; 32] = hasher.finalize().into();
    if arrived == wish.checksum {
        return Ok(());
    }
    Err(ApplyError::at(
        "download",
        &wish.path,
        &format!("the downloaded file has the checksum {}", hex(&arrived)),
    ))
}

/// The URL goes to standard input: every user can read the process list.
fn command(tool: Tool, url: &Text, target: String) -> Command {
    let https = url.expose().starts_with(b"https:");
    let url = String::from_utf8_lossy(url.expose());
    let (words, input) = match tool {
        Tool::Curl => {
            let schemes = if https { "=https" } else { "=http,https" };
            let words = [
                "curl",
                "--disable",
                "--fail",
                "--silent",
                "--show-error",
                "--location",
                "--max-redirs",
                "10",
                "--connect-timeout",
                "30",
                "--proto",
                schemes,
                "--config",
                "-",
                "--output",
                &target,
            ];
            let quoted = url.replace('\\', "\\\\").replace('"', "\\\"");
            (words.map(str::to_owned).to_vec(), format!("url = \"{quoted}\"\n"))
        }
        Tool::Wget => {
            let redirects = if https { "--max-redirect=0" } else { "--max-redirect=10" };
            let words = ["wget", "--no-verbose", "--timeout=30", redirects, "--input-file=-", "-O", &target];
            (words.map(str::to_owned).to_vec(), format!("{url}\n"))
        }
    };
    Command { input: Some(Text::Secret(Secret::new(input))), ..Command::new(words) }
}

#[cfg(test)]
mod tests;
