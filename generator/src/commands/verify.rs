//! `generator verify`: checksums, distances, references and hashes of a store, computed again.

use std::{
    fmt::{self, Display},
    path::{Path, PathBuf},
};

use base::{Result, log};
use clap::Args;
use data::Split;
use store::Verified;

/// `generator verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  generator verify cifar10.db
  generator verify --quiet cifar10.db && echo intact")]
pub struct Verify {
    /// Path of the store
    db: PathBuf,
}

impl Verify {
    /// Verifies the store and prints what it holds.
    pub fn run(self) -> Result<()> {
        log::result(VerifiedText(&verify(&self.db)?))
    }
}

/// Verifies a store, with a warning if it is only a shard.
///
/// # Errors
/// As [`store::verify`].
pub fn verify(db: &Path) -> Result<Verified> {
    let verified = store::verify(db)?;
    if let Some(partial) = &verified.partial {
        log::warning(format_args!("{}: {partial}", db.display()));
    }
    Ok(verified)
}

/// A verified store as text.
struct VerifiedText<'a>(&'a Verified);

impl Display for VerifiedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let verified = self.0;
        let counts = Split::ALL.map(|split| format!("{} {split}", verified.images[split as usize]));
        let (samples, attacks) = (verified.samples, verified.attacks.join(", "));
        writeln!(f, "images        {}", counts.join(", "))?;
        writeln!(f, "samples       {samples} ({attacks})")?;
        writeln!(f, "surrogate     sha256 {}", verified.model_sha256)?;
        writeln!(f, "content hash  {}", verified.content_hash)?;
        if let Some(partial) = &verified.partial {
            writeln!(f, "part          {partial}")?;
        }
        write!(
            f,
            "every row, distance, reference and hash is as it should be"
        )
    }
}
