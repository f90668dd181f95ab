//! `generator card`: the data sheet of a store, beside it.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use base::{
    Error, Result, log,
    output::{self, Output},
};
use clap::Args;
use sha2::{Digest, Sha256};

use super::verify::verify;
use crate::card;

/// `generator card`.
#[derive(Debug, Args)]
#[command(after_help = "\
Writes DB without its extension plus .croissant.json (Croissant 1.1) and .md.

Examples:
  generator card cifar10.db
  generator card cifar10.db --force")]
pub struct Card {
    /// Path of the store
    db: PathBuf,
    /// Replace existing cards
    #[arg(long)]
    force: bool,
}

impl Card {
    /// Writes both files.
    ///
    /// # Errors
    /// As [`store::verify`]: no card is written for a store that is damaged or unfinished.
    pub fn run(self) -> Result<()> {
        let paths = ["croissant.json", "md"].map(|ending| self.db.with_extension(ending));
        let claim = |(path, kind): (&PathBuf, &output::Kind)| {
            Output::claim(path, kind, &[&self.db], self.force)
        };
        let outputs = std::iter::zip(&paths, [&card::CROISSANT, &card::MARKDOWN]).map(claim);
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        verify(&self.db)?;
        let info = store::info(&self.db)?;
        let name = self.db.file_name().unwrap_or_default().to_string_lossy();
        let croissant = card::croissant(&info, &name, &sha256(&self.db)?)?;
        let text = serde_json::to_string_pretty(&croissant)
            .map_err(|reason| Error::data(self.db.display(), reason, "what JSON can say"))?;
        let texts = [text + "\n", card::markdown(&info, &name)];
        for ((path, output), text) in paths.iter().zip(outputs).zip(texts) {
            output.write(text.as_bytes())?;
            log::result(path.display())?;
        }
        Ok(())
    }
}

fn sha256(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    File::open(path)
        .and_then(|mut file| std::io::copy(&mut file, &mut hash))
        .map_err(Error::io("read", path))?;
    Ok(hex::encode(hash.finalize()))
}
