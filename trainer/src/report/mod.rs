//! The report: run folders and images of their store come in, one self-contained HTML file
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

use std::path::{Path, PathBuf};

use base::{
    Error, Result, files,
    output::{self, Existing, Form, Output},
};

use self::run::Run;
pub use self::{
    run::database,
    strip::{PictureStrip, Shown},
};
use crate::folder;

/// Writes the report of these runs to `out`, whole or not at all. The images of the contact
/// sheet come from the caller, who reads them from the runs' store ([`database`]); without any
/// the page says so.
///
/// A report that stands at `out` is replaced; another file only with `force`.
///
/// # Errors
/// [`Error::Usage`] without runs or where `out` must not be replaced; [`Error::Data`] for what is
/// wrong in a run folder, by file and line, or an image that is none; [`Error::Io`].
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
    let output = claim(runs, out, force)?;
    let mut read: Vec<Run> = runs
        .iter()
        .map(|folder| Run::read(folder))
        .collect::<Result<_>>()?;
    tell_apart(&mut read, runs);
    output.write(page::html(&read, strips)?.as_bytes())
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

/// A report as an output: it can be made again.
const REPORT: output::Kind = output::Kind {
    name: "a report of this program",
    form: Form::File,
    existing: Existing::Replaced,
    // The mark stands in the first lines of a report.
    matches: |path| Ok(beginning(path)?.contains(page::GENERATOR)),
};

/// Another page, which is replaced with `--force` alone.
const PAGE: output::Kind = output::Kind {
    name: "an HTML page",
    existing: Existing::Kept,
    matches: |path| {
        let start = beginning(path)?.trim_start().to_lowercase();
        Ok(["<!doctype html", "<html"]
            .iter()
            .any(|tag| start.starts_with(tag)))
    },
    ..REPORT
};

fn claim(runs: &[PathBuf], out: &Path, force: bool) -> Result<Output> {
    // What a run keeps may not be there yet.
    let reserved = runs.iter().any(|run| {
        let same = |a: &Path, b: &Path| {
            a.canonicalize()
                .is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
        };
        same(&files::folder_of(out), run) && folder::is_reserved(out)
    });
    if reserved {
        let advice = "is the name of what a run keeps; name another output, such as report.html";
        return Err(Error::Usage(format!("{}: {advice}", out.display())));
    }
    let inputs: Vec<&Path> = runs.iter().map(PathBuf::as_path).collect();
    let is_report = out.is_file() && (REPORT.matches)(out)?;
    Output::claim(out, if is_report { &REPORT } else { &PAGE }, &inputs, force)
}

fn beginning(path: &Path) -> Result<String> {
    let start = output::beginning(path, 1024)?;
    Ok(String::from_utf8_lossy(&start).into_owned())
}

#[cfg(test)]
mod tests;
