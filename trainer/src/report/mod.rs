//! The report: run folders and pictures of their store come in, one self-contained HTML file
//! goes out.
//!
//! A number walks: `run` (read the folder) -> `results` and `curves` (which numbers stand
//! where) -> `table`, `plot` on `axis`, and `strip` (how they look) -> `page`.

mod axis;
mod curves;
pub mod evaluation;
mod html;
mod names;
mod page;
mod paper;
mod plot;
mod results;
mod run;
mod strip;
mod table;

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use shared::{Error, Result, files};

use self::run::Run;
pub use self::{
    run::database,
    strip::{PictureStrip, Shown},
};

/// Writes the report of these runs to `out`, whole or not at all. The pictures of the contact
/// sheet come from the caller, who reads them from the runs' store ([`database`]); without any
/// the page says so.
///
/// A report that stands at `out` is replaced; another file only with `force`.
///
/// # Errors
/// [`Error::Usage`] without runs or where `out` must not be replaced; [`Error::Data`] for what is
/// wrong in a run folder, by file and line, or a picture that is none; [`Error::Io`].
pub fn write(
    runs: &[PathBuf],
    strips: Option<&[PictureStrip]>,
    out: &Path,
    force: bool,
) -> Result<()> {
    if runs.is_empty() {
        return Err(Error::Usage(
            "a report needs at least one run folder".into(),
        ));
    }
    may_replace(out, force)?;
    let mut read: Vec<Run> = runs
        .iter()
        .map(|folder| Run::read(folder))
        .collect::<Result<_>>()?;
    tell_apart(&mut read, runs);
    files::write_whole(out, page::html(&read, strips)?.as_bytes())
}

/// Runs whose folders have the same name go by the paths they were given with.
fn tell_apart(runs: &mut [Run], folders: &[PathBuf]) {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for (run, folder) in runs.iter_mut().zip(folders) {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            run.name = folder.display().to_string();
        }
    }
}

fn may_replace(out: &Path, force: bool) -> Result<()> {
    let Ok(metadata) = fs::metadata(out) else {
        return Ok(());
    };
    if !metadata.is_file() {
        return Err(Error::Usage(format!(
            "{}: not a file that could be replaced",
            out.display()
        )));
    }
    // The mark stands in the first lines of a report.
    let mut start = Vec::new();
    let mut file = File::open(out).map_err(Error::io("read", out))?.take(1024);
    file.read_to_end(&mut start)
        .map_err(Error::io("read", out))?;
    if force || String::from_utf8_lossy(&start).contains(page::GENERATOR) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{}: exists and is no report of this program; name another file, or add --force",
        out.display()
    )))
}

#[cfg(test)]
mod tests;
