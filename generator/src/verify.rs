//! `generator verify`: a store with every byte checked, or the first thing that is wrong.

use std::{
    fmt::{self, Display},
    path::Path,
};

use base::{Result, log};
use data::Split;
use store::Verified;

/// Verifies the store at `db` and prints its content.
pub fn command(db: &Path) -> Result<()> {
    log::result(VerifiedText(&verify(db)?))
}

/// Verifies a store; one that is only a shard is a warning.
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
