//! What shells and `man` want to know of a program: its command line comes in; completions go to
//! standard output, man pages into a folder.

use std::path::{Path, PathBuf};

use clap::{Command, Subcommand};
use clap_complete::Shell;

use base::{
    Error, Result, files, log,
    output::{self, Existing, Form, Output},
};

/// The commands about the program itself.
#[derive(Debug, Subcommand)]
pub enum Manual {
    /// Print a shell's completions, to be put where it looks for them
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write a man page for the program and for each of its commands
    Man {
        /// The folder; pages that are there are replaced
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

impl Manual {
    /// Does what was asked for.
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

/// A man page as an output: it can be made again.
const PAGE: output::Kind = output::Kind {
    name: "a man page",
    form: Form::File,
    existing: Existing::Replaced,
    matches: |path| {
        let start = output::beginning(path, 1 << 10)?;
        Ok(String::from_utf8_lossy(&start).contains(".TH "))
    },
};

/// Their folder, which may hold other files.
const PAGES: output::Kind = output::Kind {
    name: "a folder",
    form: Form::Folder,
    existing: Existing::Replaced,
    matches: |_| Ok(true),
};

/// Writes all pages or, where one of them must not be replaced, none.
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
