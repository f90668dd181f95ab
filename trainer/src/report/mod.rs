//! HTML report of runs: one self-contained file with results, charts and a contact sheet.
//!
//! `run_record` reads a run folder, `sections` choose what is shown of it, `table`, `plot` (on `axis`) and
//! `image_strip` draw it, and `page` puts the document together.

mod axis;
mod curves;
mod elements;
pub mod evaluation;
mod format;
mod image_strip;
mod names;
mod page;
mod paper;
mod plot;
mod results;
mod run_record;
mod sections;
mod seeds;
mod table;

use std::path::{Path, PathBuf};

use base::{
    Error, Result, files,
    output::{self, Existing, Form, Output},
};

use self::run_record::RunRecord;
pub use self::{
    format::short,
    image_strip::{ClassifiedImage, ImageStrip},
    run_record::database,
};
use crate::folder;

/// What a report is made of.
struct ReportData<'a> {
    runs: &'a [RunRecord],
    /// Images of the runs' store; none without a store.
    strips: Option<&'a [ImageStrip]>,
}

/// Writes the report of these runs to `out`, atomically. The caller reads the contact sheet's images from the
/// runs' store ([`database`]).
///
/// An existing report is replaced; another file only with `force`.
///
/// # Errors
/// [`Error::Usage`] without runs or where `out` must not be replaced; [`Error::Data`] naming file
/// and line for a damaged run folder, or for an image of a wrong size; [`Error::Io`].
pub fn write(
    runs: &[PathBuf],
    strips: Option<&[ImageStrip]>,
    out: &Path,
    force: bool,
) -> Result<()> {
    if runs.is_empty() {
        return Err(Error::Usage(
            "a report needs at least one run folder".into(),
        ));
    }
    let output = claim(runs, out, force)?;
    let mut records: Vec<RunRecord> = runs
        .iter()
        .map(|folder| RunRecord::read(folder))
        .collect::<Result<_>>()?;
    disambiguate_names(&mut records, runs);
    let data = ReportData {
        runs: &records,
        strips,
    };
    output.write(page::html(&data)?.as_bytes())
}

/// Names runs whose folders have the same name by the paths they were given with.
fn disambiguate_names(runs: &mut [RunRecord], folders: &[PathBuf]) {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for (run, folder) in runs.iter_mut().zip(folders) {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            run.name = folder.display().to_string();
        }
    }
}

/// An existing report: replaced, since it can be made again.
const REPORT: output::Kind = output::Kind {
    name: "a report of this program",
    form: Form::File,
    existing: Existing::Replaced,
    matches: |path| Ok(beginning(path)?.contains(page::GENERATOR)),
};

/// Any other page: replaced with `--force` only.
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
    // Reserved also where the run has not written the file yet.
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
