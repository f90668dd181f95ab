//! Croissant 1.1, the JSON-LD format of data set descriptions.

use base::{Error, Result};
use serde_json::{Value, json};
use store::Info;

use super::CONTENT;

/// The description of a store: <https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html>. It has no
/// record sets, because no loader reads records from a SQLite database.
pub fn croissant(info: &Info, name: &str, sha256: &str) -> Result<Value> {
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
        "description": format!("{}: {CONTENT}. Attacks: {}.", info.meta.spec.dataset, attacks.join(", ")),
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
