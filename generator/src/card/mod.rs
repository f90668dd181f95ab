//! The data sheet of a store: a Croissant description (JSON-LD) and a Markdown card.

mod croissant;
mod markdown;

use std::path::Path;

use base::{
    Result,
    output::{self, Existing, Form},
};

pub use croissant::croissant;
pub use markdown::markdown;

/// The Croissant description as an output.
pub const CROISSANT: output::Kind = output::Kind {
    name: "a store's Croissant description",
    form: Form::File,
    existing: Existing::Kept,
    matches: |path| contains(path, "mlcommons.org/croissant"),
};
/// The Markdown card as an output.
pub const MARKDOWN: output::Kind = output::Kind {
    name: "a store's data sheet",
    matches: |path| contains(path, HASH_LINE),
    ..CROISSANT
};

/// A line near the beginning of every Markdown card, by which it is recognized.
const HASH_LINE: &str = "Content hash (BLAKE3)";

fn contains(path: &Path, text: &str) -> Result<bool> {
    let start = output::beginning(path, 1 << 13)?;
    Ok(String::from_utf8_lossy(&start).contains(text))
}

/// What a store holds, in both files.
const CONTENT: &str = "images with an adversarial variant of each by every attack, the attacks' \
    parameters and the model that was attacked";
