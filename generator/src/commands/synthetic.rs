//! `generator synthetic`: a synthetic data set, for trials without a download.

use std::path::PathBuf;

use base::{Result, log};
use clap::Args;

/// `generator synthetic`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  generator synthetic --out data/synthetic
  generator synthetic --out data/small --count 500 --seed 1")]
pub struct Synthetic {
    /// Output directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of training images, a multiple of 50; a fifth as many are drawn for the test set
    #[arg(long, default_value_t = 5000, value_name = "N")]
    count: usize,
    /// Seed of the images
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Replace an existing synthetic data set
    #[arg(long)]
    force: bool,
}

impl Synthetic {
    /// Draws the images.
    pub fn run(self) -> Result<()> {
        data::synthetic::write(&self.out, self.count, self.seed, self.force)?;
        let (out, count) = (self.out.display(), self.count);
        log::result(format_args!("{out}: {count} training images"))
    }
}
