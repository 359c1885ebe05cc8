//! `converge fmt`.

use std::fs;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use converge_lang::format::{Formatted, LIMIT, format};
use converge_model::exit;

use crate::failure::{ARGUMENTS, Failure};
use crate::view::Screen;
use crate::view::json::Document;
use crate::view::text::{count, harmless};

/// How many folders deep files are found.
const DEPTH: usize = 32;

/// Lay out KDL files: indentation, blanks and empty lines
///
/// Changes no other character: comments, the order of nodes and the spelling of
/// values stay. A second run changes nothing. Prints the files that changed. Runs
/// no program and opens no secret.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct FmtArgs {
    /// Files, or folders with all their .kdl files; `-`: standard input; default: this folder
    #[arg(value_name = "PATH", default_value = ".", hide_default_value = true)]
    paths: Vec<PathBuf>,
    /// Change no file; exit with code 1 if a file would change
    #[arg(long)]
    check: bool,
}

impl FmtArgs {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        if self.paths.iter().any(|path| path.as_os_str() == "-") {
            return self.standard_input(&mut screen);
        }
        let mut files = Vec::new();
        for path in &self.paths {
            find(path, &mut files)?;
        }
        let (mut changed, mut is_wrong) = (0, false);
        for path in &files {
            let text = fs::File::open(path).and_then(read).map_err(|error| failed("read", path, &error))?;
            let name = name(path);
            let Some(laid_out) = shown(format(&name, &text), &mut screen) else {
                is_wrong = true;
                continue;
            };
            let differs = laid_out != text;
            if differs && !self.check {
                replace(path, &laid_out).map_err(|error| failed("write", path, &error))?;
            }
            changed += usize::from(differs);
            if screen.is_json() {
                screen.print_json(&Document::Formatted { path: &name, changed: differs });
            } else if differs {
                screen.print(&format!("{}\n", harmless(&name)));
            }
        }
        if self.check && changed > 0 && !screen.is_json() {
            screen
                .say(&format!("{} would change; `converge fmt` writes the layout\n", count(changed, "file")));
        }
        if is_wrong { Err(Failure::Drawn) } else { Ok(self.code(changed > 0)) }
    }

    /// Lays out standard input, for editors.
    fn standard_input(&self, screen: &mut Screen) -> Result<u8, Failure> {
        if self.paths.len() > 1 {
            return Err(Failure::new("`-` must be the only path").code(ARGUMENTS));
        }
        let text = read(io::stdin().lock());
        let text = text.map_err(|error| failed("read", Path::new("standard input"), &error))?;
        let laid_out = shown(format("standard input", &text), screen).ok_or(Failure::Drawn)?;
        if !self.check {
            screen.print(&laid_out);
        }
        Ok(self.code(laid_out != text))
    }

    fn code(&self, has_changed: bool) -> u8 {
        if self.check && has_changed { exit::ERROR } else { exit::OK }
    }
}

fn read(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    // The language refuses a text over its limit, and says so.
    from.take(LIMIT as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Shows the mistakes of a file. Returns its layout.
fn shown(formatted: Formatted, screen: &mut Screen) -> Option<String> {
    screen.diagnostics(&formatted.diagnostics, &formatted.files);
    formatted.text
}

/// Adds the file `path`, or the .kdl files below the folder `path`. Links and hidden folders are not followed.
fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let found = fs::metadata(path).map_err(|error| failed("read", path, &error))?;
    if !found.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut below = Vec::new();
    walk(path, DEPTH, &mut below).map_err(|error| failed("read", path, &error))?;
    below.sort();
    files.extend(below);
    Ok(())
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, sort) = (entry.path(), entry.file_type()?);
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if sort.is_dir() && !is_hidden && depth > 0 {
            walk(&path, depth - 1, files)?;
        } else if sort.is_file() && path.extension().is_some_and(|extension| extension == "kdl") {
            files.push(path);
        }
    }
    Ok(())
}

/// Replaces a file in one step, so that a full disk does not cut it short. It keeps its mode.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // The file behind a link is meant, and the link stays.
    let path = &fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::with_prefix_in(".fmt.", folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs::metadata(path)?.permissions())?;
    file.persist(path)?;
    Ok(())
}

/// Returns the path for people: without a leading `./`.
fn name(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("failed to {verb} {}: {error}", name(path)))
}
