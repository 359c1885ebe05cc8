//! Embeds the built-in modules: writes a list of the files below `modules/`, each with `include_bytes!`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../modules");
    println!("cargo::rerun-if-changed={}", modules.display());
    let mut list = String::from("&[\n");
    for module in folders(&modules)? {
        let mut files = Vec::new();
        walk(&module, &mut files)?;
        let _ = writeln!(list, "    Builtin {{ name: {:?}, files: &[", name(&module));
        for file in files {
            let below = file.strip_prefix(&module).map_err(io::Error::other)?;
            let _ = writeln!(list, "        ({:?}, include_bytes!({:?})),", below, file.canonicalize()?);
        }
        list.push_str("    ] },\n");
    }
    list.push_str("]\n");
    let out = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    fs::write(out.join("modules.rs"), list)
}

/// Returns the module folders in `folder`, sorted by name. Empty if `folder` does not exist.
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    Ok(entries(folder)?.into_iter().filter(|path| path.join("module.kdl").is_file()).collect())
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for path in entries(folder)? {
        match path.is_dir() {
            // The cases of a module are tests, so they are not embedded.
            true if name(&path) == "cases" => {}
            true => walk(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
