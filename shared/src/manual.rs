//! What shells and `man` want to know of a program: its command line comes in; completions go to
//! standard output, man pages into a folder.

use std::path::PathBuf;

use clap::{Command, Subcommand};
use clap_complete::Shell;

use crate::{Error, Result, files, log};

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
            Self::Man { out } => {
                files::create_folder(out)?;
                clap_mangen::generate_to(program, out).map_err(Error::io("write", out))
            }
        }
    }
}
