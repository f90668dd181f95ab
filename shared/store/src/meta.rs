//! The tables `meta`, `model` and `attack`: a build specification, and the state of its store.

use std::{collections::BTreeMap, time::SystemTime};

use rusqlite::{Connection, params};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{
    file::StoreFile,
    rows::{AttackRow, ModelRow},
    shard::Shard,
    spec::BuildSpec,
};
use base::{Error, Result, time::rfc3339};
use data::{Split, check_class_names};

const LICENSE: &str = "The images, and those made from them, stay under the terms of the data \
    set they come from. CIFAR-10: A. Krizhevsky, Learning Multiple Layers of Features from Tiny \
    Images, 2009.";

/// Everything in a store but its images, samples and weights; checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What the build was asked for, without the surrogate's weights.
    pub spec: BuildSpec,
    /// RFC 3339 in UTC.
    pub created: String,
    /// Devices that the attacks ran on, separated by `; `.
    pub device: String,
    /// Whether every image has a sample of every attack.
    pub complete: bool,
    /// BLAKE3 of a complete store's content, hex.
    pub content_hash: Option<String>,
    /// Of train, val and test likewise.
    pub(super) split_hashes: [Option<String>; 3],
    /// A note on whose images these are.
    pub license: String,
    /// Warnings of the programs that built the store.
    pub warnings: Vec<String>,
}

/// The table `meta`, as `generator info --json` prints it.
impl Serialize for Meta {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let spec = &self.spec;
        let mut meta = serializer.serialize_struct("Meta", 15)?;
        meta.serialize_field("dataset", &spec.dataset)?;
        meta.serialize_field("classes", &spec.classes)?;
        meta.serialize_field("source_hash", &spec.source_hash)?;
        meta.serialize_field("seed", &spec.seed)?;
        meta.serialize_field("preset", &spec.preset)?;
        meta.serialize_field("limit", &spec.limit)?;
        meta.serialize_field("shard", &spec.shard)?;
        meta.serialize_field("images", &spec.images)?;
        meta.serialize_field("generator_version", &spec.generator_version)?;
        meta.serialize_field("created", &self.created)?;
        meta.serialize_field("device", &self.device)?;
        meta.serialize_field("complete", &self.complete)?;
        meta.serialize_field("content_hash", &self.content_hash)?;
        meta.serialize_field("licence", &self.license)?;
        meta.serialize_field("warnings", &self.warnings)?;
        meta.end()
    }
}

impl Meta {
    /// A warning for a store that is only a shard of one.
    pub fn partial(&self) -> Option<String> {
        let shard = &self.spec.shard;
        (*shard != Shard::WHOLE.to_string()).then(|| {
            format!("only shard {shard} of a store; generator merge makes the whole of all shards")
        })
    }

    /// The name of a class; its number where there is no name.
    pub fn class_name(&self, class: u8) -> String {
        let name = self.spec.classes.get(usize::from(class));
        name.cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// Images that `split` has once the store is complete.
    pub fn images_of(&self, split: Split) -> u64 {
        self.spec.images[split as usize]
    }

    /// Refuses a label or a prediction that is none of the store's classes; `what` is the row's place.
    pub(super) fn check_class(&self, class: u8, what: impl FnOnce() -> String) -> Result<()> {
        let classes = self.spec.classes.len();
        if usize::from(class) < classes {
            return Ok(());
        }
        let expected = format!("0 to {}", classes.saturating_sub(1));
        Err(Error::data(what(), format!("class {class}"), expected))
    }

    pub(super) fn split_hash(&self, split: Split) -> Option<&str> {
        self.split_hashes[split as usize].as_deref()
    }

    pub(super) fn read(conn: &Connection, file: &StoreFile) -> Result<Self> {
        let table = MetaTable {
            values: read_values(conn).map_err(file.map_sqlite_error())?,
            file,
        };
        let [train, val, test] = Split::ALL.map(|split| table.number(&images_key(split)));
        let hashes = Split::ALL.map(|split| table.hash(&hash_key(split)));
        let meta = Self {
            spec: BuildSpec {
                dataset: table.text("dataset")?,
                classes: table.list("classes")?,
                source_hash: table.text("source_hash")?,
                seed: table.number("seed")?,
                preset: table.text("preset")?,
                limit: match table.text("limit")?.as_str() {
                    "" => None,
                    _ => Some(table.number("limit")?),
                },
                shard: table.text("shard")?,
                images: [train?, val?, test?],
                generator_version: table.text("generator_version")?,
                attacks: read_attacks(conn).map_err(file.map_sqlite_error())?,
                model: read_model(conn).map_err(file.map_sqlite_error())?,
            },
            created: table.text("created")?,
            device: table.text("device")?,
            complete: table.number("complete")? == 1,
            content_hash: table.hash("content_hash")?,
            split_hashes: {
                let [train, val, test] = hashes;
                [train?, val?, test?]
            },
            license: table.text("licence")?,
            warnings: table.list("warnings")?,
        };
        if let Err(found) = check_class_names(&meta.spec.classes) {
            return Err(table.bad("classes", &found, "names of classes"));
        }
        let hashed = meta.content_hash.is_some() && meta.split_hashes.iter().all(Option::is_some);
        if meta.complete && !hashed {
            let what = file.part("meta, complete");
            return Err(Error::invalid(what, "it is 1, but a hash is missing"));
        }
        Ok(meta)
    }
}

/// The key of a split's number of images.
fn images_key(split: Split) -> String {
    format!("images_{split}")
}

/// The key of a split's hash.
pub(super) fn hash_key(split: Split) -> String {
    format!("hash_{split}")
}

/// A list of texts as the table keeps it.
pub(super) fn json(texts: &[String]) -> String {
    serde_json::json!(texts).to_string()
}

/// Writes a specification; the caller's transaction holds all its rows together.
pub(super) fn insert_spec(
    conn: &Connection,
    spec: &BuildSpec,
    device: &str,
) -> rusqlite::Result<()> {
    let mut insert = conn.prepare("INSERT INTO meta (key, value) VALUES (?, ?)")?;
    let mut put = |key: &str, value: &str| insert.execute([key, value]).map(drop);
    put("dataset", &spec.dataset)?;
    put("classes", &json(&spec.classes))?;
    put("warnings", "[]")?;
    put("source_hash", &spec.source_hash)?;
    put("seed", &spec.seed.to_string())?;
    put("preset", &spec.preset)?;
    let limit = spec.limit.map_or(String::new(), |limit| limit.to_string());
    put("limit", &limit)?;
    put("shard", &spec.shard)?;
    put("generator_version", &spec.generator_version)?;
    put("created", &rfc3339(SystemTime::now()))?;
    put("device", device)?;
    put("complete", "0")?;
    put("content_hash", "")?;
    put("licence", LICENSE)?;
    for split in Split::ALL {
        let images = spec.images[split as usize];
        put(&images_key(split), &images.to_string())?;
        put(&hash_key(split), "")?;
    }
    let ModelRow {
        id,
        name,
        sha256,
        config,
        weights,
    } = &spec.model;
    conn.execute(
        "INSERT INTO model (id, name, sha256, config, weights) VALUES (?, ?, ?, ?, ?)",
        params![id, name, sha256, config, weights],
    )?;
    for attack in &spec.attacks {
        conn.execute(
            "INSERT INTO attack (id, name, params, model_id) VALUES (?, ?, ?, ?)",
            params![attack.id, attack.name, attack.params, attack.model_id],
        )?;
    }
    Ok(())
}

fn read_values(conn: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut query = conn.prepare("SELECT key, value FROM meta")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn read_attacks(conn: &Connection) -> rusqlite::Result<Vec<AttackRow>> {
    let mut query = conn.prepare("SELECT id, name, params, model_id FROM attack ORDER BY id")?;
    let rows = query.query_map([], |row| {
        Ok(AttackRow {
            id: row.get(0)?,
            name: row.get(1)?,
            params: row.get(2)?,
            model_id: row.get(3)?,
        })
    })?;
    rows.collect()
}

/// Without the weights.
fn read_model(conn: &Connection) -> rusqlite::Result<ModelRow> {
    let sql = "SELECT id, name, sha256, config FROM model ORDER BY id LIMIT 1";
    conn.query_row(sql, [], |row| {
        Ok(ModelRow {
            id: row.get(0)?,
            name: row.get(1)?,
            sha256: row.get(2)?,
            config: row.get(3)?,
            weights: Vec::new(),
        })
    })
}

/// The rows of `meta`, converted on access.
struct MetaTable<'a> {
    values: BTreeMap<String, String>,
    file: &'a StoreFile,
}

impl MetaTable<'_> {
    fn text(&self, key: &str) -> Result<String> {
        let value = self.values.get(key).cloned();
        value.ok_or_else(|| self.bad(key, "nothing", "a value"))
    }

    fn number(&self, key: &str) -> Result<u64> {
        let text = self.text(key)?;
        text.parse()
            .map_err(|_| self.bad(key, &quoted(&text), "a whole number"))
    }

    fn list(&self, key: &str) -> Result<Vec<String>> {
        let text = self.text(key)?;
        serde_json::from_str(&text).map_err(|_| self.bad(key, &quoted(&text), "texts as JSON"))
    }

    fn hash(&self, key: &str) -> Result<Option<String>> {
        let text = self.text(key)?;
        match text.len() {
            0 => Ok(None),
            64 => Ok(Some(text)),
            _ => Err(self.bad(key, &quoted(&text), "64 hex digits")),
        }
    }

    fn bad(&self, key: &str, found: &str, expected: &str) -> Error {
        let what = self.file.part(format_args!("meta, {key}"));
        Error::data(what, found, expected)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.escape_debug())
}
