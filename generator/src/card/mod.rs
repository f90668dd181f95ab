//! The data sheet: a store comes in; a Croissant description (JSON-LD, for catalogues and loaders) and
//! a Markdown card (for people) go out beside it.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use base::{
    Error, Result, log,
    output::{self, Existing, Form, Output},
};
use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::Info;

use crate::verify;

/// `generator card`.
#[derive(Debug, Args)]
#[command(after_help = "\
Writes DB without its ending plus .croissant.json (Croissant 1.1) and .md.")]
pub struct Card {
    /// Path of the store
    db: PathBuf,
    /// Replace cards that are there
    #[arg(long)]
    force: bool,
}

impl Card {
    /// Writes both files.
    ///
    /// # Errors
    /// As [`store::verify`]: no card is written for a store that is damaged or unfinished.
    pub fn run(&self) -> Result<()> {
        let paths = ["croissant.json", "md"].map(|ending| self.db.with_extension(ending));
        let claim = |(path, kind): (&PathBuf, &output::Kind)| {
            Output::claim(path, kind, &[&self.db], self.force)
        };
        let outputs = std::iter::zip(&paths, [&CROISSANT, &MARKDOWN]).map(claim);
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        verify::verify(&self.db)?;
        let info = store::info(&self.db)?;
        let name = self.db.file_name().unwrap_or_default().to_string_lossy();
        let croissant = croissant(&info, &name, &sha256(&self.db)?)?;
        let text = serde_json::to_string_pretty(&croissant)
            .map_err(|reason| Error::data(self.db.display(), reason, "what JSON can say"))?;
        let texts = [text + "\n", markdown(&info, &name)];
        for ((path, output), text) in paths.iter().zip(outputs).zip(texts) {
            output.write(text.as_bytes())?;
            log::result(path.display())?;
        }
        Ok(())
    }
}

/// What both files are known by.
const CROISSANT: output::Kind = output::Kind {
    name: "a store's Croissant description",
    form: Form::File,
    existing: Existing::Kept,
    matches: |path| contains(path, "mlcommons.org/croissant"),
};
const MARKDOWN: output::Kind = output::Kind {
    name: "a store's data sheet",
    matches: |path| contains(path, HASH_LINE),
    ..CROISSANT
};

/// A line that every data sheet has near its beginning.
const HASH_LINE: &str = "Content hash (BLAKE3)";

fn contains(path: &Path, text: &str) -> Result<bool> {
    let start = output::beginning(path, 1 << 13)?;
    Ok(String::from_utf8_lossy(&start).contains(text))
}

fn sha256(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    File::open(path)
        .and_then(|mut file| std::io::copy(&mut file, &mut hash))
        .map_err(Error::io("read", path))?;
    Ok(hex::encode(hash.finalize()))
}

const WHAT: &str = "images with an adversarial variant of each by every attack, the attacks' \
    parameters and the model that was attacked";

/// <https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html>. It has no record sets: no loader
/// reads records out of a SQLite database.
fn croissant(info: &Info, name: &str, sha256: &str) -> Result<Value> {
    let context: Value = serde_json::from_str(include_str!("context.json"))
        .map_err(|reason| Error::data("Croissant's context", reason, "JSON"))?;
    let attacks: Vec<&str> = info
        .attacks
        .iter()
        .map(|attack| attack.name.as_str())
        .collect();
    Ok(json!({
        "@context": context,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": format!("Adversarial variants of {}", info.meta.spec.dataset),
        "description": format!("{}: {WHAT}. Attacks: {}.", info.meta.spec.dataset, attacks.join(", ")),
        "license": info.meta.license,
        "citeAs": "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        "datePublished": info.meta.created,
        "version": info.meta.spec.generator_version,
        "identifier": format!("blake3:{}", info.meta.content_hash.as_deref().unwrap_or_default()),
        "distribution": [{
            "@type": "cr:FileObject",
            "@id": "store",
            "name": name,
            "description": "A SQLite database; its schema is documented inside.",
            "contentUrl": name,
            "contentSize": format!("{} B", info.bytes),
            "encodingFormat": "application/vnd.sqlite3",
            "sha256": sha256,
        }],
    }))
}

/// What a person wants to know before using it.
fn markdown(info: &Info, name: &str) -> String {
    let (meta, spec) = (&info.meta, &info.meta.spec);
    let hash = meta.content_hash.as_deref().unwrap_or_default();
    let mut text = format!(
        "# {name}\n\n{}: {WHAT}, in one SQLite file of {:.1} MB.\n\n",
        code(&spec.dataset),
        info.bytes as f64 / 1e6
    );
    let mut add = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for (what, value) in [
        (HASH_LINE, hash),
        ("Hash of the source", &spec.source_hash),
        ("Preset", &spec.preset),
        ("Seed", &spec.seed.to_string()),
        ("Attacked model", &info.model.name),
        ("SHA-256 of its weights", &info.model.sha256),
        ("Its settings", &info.model.config.to_string()),
        ("Classes", &spec.classes.join(", ")),
        ("Made", &meta.created),
        ("By generator", &spec.generator_version),
        ("On", &meta.device),
        ("License", &meta.license),
    ] {
        add(format!("- {what}: {}", code(value)));
    }
    add("\n## Images\n\n| split | images | the model's accuracy |\n|---|---|---|".into());
    for split in &info.splits {
        let accuracy = percent(split.clean_accuracy);
        add(format!(
            "| {} | {} | {accuracy} |",
            split.split, split.images
        ));
    }
    add("\n## Attacks\n\n| attack | parameters |\n|---|---|".into());
    for attack in &info.attacks {
        add(format!(
            "| {} | {} |",
            code(&attack.name),
            code(&attack.params.to_string())
        ));
    }
    add(
        "\nThe model's accuracy on each attack's samples, the share of correctly classified clean images whose \
         samples it misclassifies, samples that equal their clean image, and the mean distances from the clean \
         images (pixels in [0,1]):\n\n\
         | split | attack | accuracy | success | unchanged | L2 | L-infinity |\n|---|---|---|---|---|---|---|"
            .into(),
    );
    for row in &info.summary {
        let accuracy = percent(Some(row.surrogate_accuracy));
        let (success, l2, linf) = (percent(row.success), row.mean_l2, row.mean_linf);
        add(format!(
            "| {} | {} | {accuracy} | {success} | {} | {l2:.4} | {linf:.4} |",
            row.split,
            code(&row.attack),
            row.unchanged
        ));
    }
    let partial = meta.partial();
    let warnings: Vec<&String> = meta.warnings.iter().chain(&partial).collect();
    if !warnings.is_empty() {
        add("\n## Warnings\n".into());
        for warning in warnings {
            add(format!("- {}", code(warning)));
        }
    }
    add(format!(
        "\n## Use\n\nThe variants fool the model above, and others less: accuracy on them says how robust \
         a model is against these very images, not against an attack on itself. Check the file before \
         use with `generator verify {name}`, which must end with the content hash above."
    ));
    text
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.2} %", 100.0 * share))
}

/// What a store says of itself, on one line and as code, so that nothing in it is markup.
fn code(text: &str) -> String {
    let characters = text.chars().map(|character| match character {
        '`' => '\'',
        '|' => '\u{a6}',
        control if control.is_control() => ' ',
        plain => plain,
    });
    format!("`{}`", characters.collect::<String>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_store_says_is_no_markup_in_its_card() {
        let said = super::code("a`<b>\n# x | y");
        assert_eq!(said, "`a'<b> # x \u{a6} y`");
    }
}
