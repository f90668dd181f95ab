//! Shell completions and man pages, generated from a program's command line.

use std::path::{Path, PathBuf};

use clap::{Command, Subcommand};
use clap_complete::Shell;

use base::{
    Error, Result, files, log,
    output::{self, Existing, Form, Output},
};

/// The commands `completions` and `man`.
#[derive(Debug, Subcommand)]
pub enum Manual {
    /// Print the completion script of a shell
    Completions {
        /// Shell to generate completions for
        shell: Shell,
    },
    /// Write a man page for the program and each of its commands
    Man {
        /// Output directory; existing pages are replaced
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

impl Manual {
    /// Runs the command.
    pub fn write(&self, mut program: Command) -> Result<()> {
        let name = program.get_name().to_string();
        match self {
            Self::Completions { shell } => {
                let mut text = Vec::new();
                clap_complete::generate(*shell, &mut program, name, &mut text);
                log::result(String::from_utf8_lossy(&text))
            }
            Self::Man { out } => write_pages(program, out),
        }
    }
}

/// A man page as an output.
const PAGE: output::Kind = output::Kind {
    name: "a man page",
    form: Form::File,
    existing: Existing::Replaced,
    matches: |path| {
        let start = output::beginning(path, 1 << 10)?;
        Ok(String::from_utf8_lossy(&start).contains(".TH "))
    },
};

/// Its folder, which may hold other files.
const PAGES: output::Kind = output::Kind {
    name: "a folder",
    form: Form::Folder,
    existing: Existing::Replaced,
    matches: |_| Ok(true),
};

/// Writes all pages, or none if one of them must not be replaced.
fn write_pages(program: Command, out: &Path) -> Result<()> {
    let pages =
        tempfile::tempdir().map_err(Error::io("create a folder in", &std::env::temp_dir()))?;
    clap_mangen::generate_to(program, pages.path()).map_err(Error::io("write", pages.path()))?;
    let out = &output::check(out, &PAGES, &[], false)?;
    files::create_folder(out)?;
    let mut outputs = Vec::new();
    for entry in std::fs::read_dir(pages.path()).map_err(Error::io("read", pages.path()))? {
        let page = entry.map_err(Error::io("read", pages.path()))?.path();
        let place = out.join(page.file_name().unwrap_or_default());
        outputs.push((
            files::read(&page)?,
            Output::claim(&place, &PAGE, &[], false)?,
        ));
    }
    outputs
        .iter()
        .try_for_each(|(page, output)| output.write(page))
}
