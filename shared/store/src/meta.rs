//! What a store is: an [`Identity`] goes into the tables `meta`, `model` and `attack`; a [`Meta`]
//! comes out, and two identities are compared.

use std::{collections::BTreeMap, path::Path, time::SystemTime};

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::{
    rows::{AttackRow, ModelRow, SPLITS, sha256, split_name},
    shard::Shard,
};
use base::{Error, Result, time::rfc3339};
use data::{Split, check_class_names};

const LICENSE: &str = "The images, and those made from them, stay under the terms of the data \
    set they come from. CIFAR-10: A. Krizhevsky, Learning Multiple Layers of Features from Tiny \
    Images, 2009.";

/// What makes a build what it is: two builds of one identity have the same content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildSpec {
    /// The images' name: for people, and no part of what is compared.
    pub dataset: String,
    /// What the labels mean, from 0; likewise.
    pub classes: Vec<String>,
    /// Hash of the images' files.
    pub source_hash: String,
    /// Seed of every random number.
    pub seed: u64,
    /// Preset that the parameters started from.
    pub preset: String,
    /// `--limit`.
    pub limit: Option<u64>,
    /// `--shard`, as `I/N`; `1/1` for the whole.
    pub shard: String,
    /// Images in this file's train, val and test.
    pub images: [u64; 3],
    /// Version of the program that builds.
    pub generator_version: String,
    /// The attacks in the order of their ids.
    pub attacks: Vec<AttackRow>,
    /// The surrogate.
    pub model: ModelRow,
}

/// The table `meta`, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "see Identity")]
pub struct Meta {
    pub dataset: String,
    pub classes: Vec<String>,
    pub source_hash: String,
    pub seed: u64,
    pub preset: String,
    pub limit: Option<u64>,
    pub shard: String,
    pub images: [u64; 3],
    pub generator_version: String,
    /// RFC 3339 in UTC.
    pub created: String,
    /// Where the attacks ran; `; ` stands between several.
    pub device: String,
    /// Whether every image has a sample of every attack.
    pub complete: bool,
    /// BLAKE3 of a complete store's content, hex.
    pub content_hash: Option<String>,
    /// Of train, val and test likewise.
    #[serde(skip)]
    pub(super) split_hashes: [Option<String>; 3],
    /// A note on whose images these are.
    #[serde(rename = "licence")]
    pub license: String,
    /// What the builds of this store warned of.
    pub warnings: Vec<String>,
}

impl Meta {
    /// What is true of a store that is only a part of one, for a warning.
    pub fn partial(&self) -> Option<String> {
        (self.shard != Shard::WHOLE.to_string()).then(|| {
            let shard = &self.shard;
            format!("only shard {shard} of a store; generator merge makes the whole of all shards")
        })
    }

    /// The name of a class; its number where there is no name.
    pub fn class_name(&self, class: u8) -> String {
        let name = self.classes.get(usize::from(class));
        name.cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// Images that `split` has once the store is complete.
    pub fn images_of(&self, split: Split) -> u64 {
        self.images[split as usize]
    }

    pub(super) fn split_hash(&self, split: Split) -> Option<&str> {
        self.split_hashes[split as usize].as_deref()
    }

    pub(super) fn read(conn: &Connection, path: &Path) -> Result<Self> {
        let rows = || -> rusqlite::Result<BTreeMap<String, String>> {
            let mut query = conn.prepare("SELECT key, value FROM meta")?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        };
        let rows = Rows(rows().map_err(super::fault::fault(path))?, path);
        let hashes = SPLITS.map(|split| rows.hash(&format!("hash_{}", split_name(split))));
        let [train, val, test] = SPLITS.map(|split| rows.number(&images_key(split)));
        let meta = Self {
            dataset: rows.text("dataset")?,
            classes: rows.list("classes")?,
            source_hash: rows.text("source_hash")?,
            seed: rows.number("seed")?,
            preset: rows.text("preset")?,
            limit: match rows.text("limit")?.as_str() {
                "" => None,
                _ => Some(rows.number("limit")?),
            },
            shard: rows.text("shard")?,
            images: [train?, val?, test?],
            generator_version: rows.text("generator_version")?,
            created: rows.text("created")?,
            device: rows.text("device")?,
            complete: rows.number("complete")? == 1,
            content_hash: rows.hash("content_hash")?,
            split_hashes: {
                let [train, val, test] = hashes;
                [train?, val?, test?]
            },
            license: rows.text("licence")?,
            warnings: rows.list("warnings")?,
        };
        if let Err(found) = check_class_names(&meta.classes) {
            return Err(rows.bad("classes", &found, "names of classes"));
        }
        let hashed = meta.content_hash.is_some() && meta.split_hashes.iter().all(Option::is_some);
        if meta.complete && !hashed {
            return Err(rows.bad("complete", "1 without hashes", "hashes"));
        }
        Ok(meta)
    }
}

/// A list of texts as the table keeps it.
pub(super) fn json(texts: &[String]) -> String {
    serde_json::json!(texts).to_string()
}

/// The table as it stands.
struct Rows<'a>(BTreeMap<String, String>, &'a Path);

impl Rows<'_> {
    fn text(&self, key: &str) -> Result<String> {
        let value = self.0.get(key).cloned();
        value.ok_or_else(|| self.bad(key, "nothing", "a value"))
    }

    fn number(&self, key: &str) -> Result<u64> {
        let text = self.text(key)?;
        text.parse()
            .map_err(|_| self.bad(key, &format!("'{}'", text.escape_debug()), "a whole number"))
    }

    fn list(&self, key: &str) -> Result<Vec<String>> {
        let text = self.text(key)?;
        serde_json::from_str(&text)
            .map_err(|_| self.bad(key, &format!("'{}'", text.escape_debug()), "texts as JSON"))
    }

    fn hash(&self, key: &str) -> Result<Option<String>> {
        let text = self.text(key)?;
        match text.len() {
            0 => Ok(None),
            64 => Ok(Some(text)),
            _ => Err(self.bad(key, &format!("'{}'", text.escape_debug()), "64 hex digits")),
        }
    }

    fn bad(&self, key: &str, found: &str, expected: &str) -> Error {
        let what = format!("{}: meta, {key}", self.1.display());
        Error::data(what, found, expected)
    }
}

fn images_key(split: Split) -> String {
    format!("images_{}", split_name(split))
}

impl BuildSpec {
    /// Refuses what no file could hold.
    pub(super) fn check(&self) -> Result<()> {
        let found = sha256(&self.model.weights);
        if found != self.model.sha256 {
            let what = format!("surrogate {}: sha256 of its weights", self.model.name);
            return Err(Error::data(what, found, &self.model.sha256));
        }
        if !self.attacks.is_sorted_by_key(|attack| attack.id) || self.attacks.is_empty() {
            return Err(Error::Usage("attacks must be at least one, by id".into()));
        }
        Ok(())
    }

    /// Writes everything but the images; the caller's transaction holds it together.
    pub(super) fn write(&self, conn: &Connection, device: &str) -> rusqlite::Result<()> {
        let mut insert = conn.prepare("INSERT INTO meta (key, value) VALUES (?, ?)")?;
        let mut put = |key: &str, value: &str| insert.execute([key, value]).map(drop);
        put("dataset", &self.dataset)?;
        put("classes", &json(&self.classes))?;
        put("warnings", "[]")?;
        put("source_hash", &self.source_hash)?;
        put("seed", &self.seed.to_string())?;
        put("preset", &self.preset)?;
        put(
            "limit",
            &self.limit.map_or(String::new(), |n| n.to_string()),
        )?;
        put("shard", &self.shard)?;
        put("generator_version", &self.generator_version)?;
        put("created", &rfc3339(SystemTime::now()))?;
        put("device", device)?;
        put("complete", "0")?;
        put("content_hash", "")?;
        put("licence", LICENSE)?;
        for split in SPLITS {
            let images = self.images[split as usize];
            put(&images_key(split), &images.to_string())?;
            put(&format!("hash_{}", split_name(split)), "")?;
        }
        let ModelRow {
            id,
            name,
            sha256,
            config,
            weights,
        } = &self.model;
        conn.execute(
            "INSERT INTO model (id, name, sha256, config, weights) VALUES (?, ?, ?, ?, ?)",
            params![id, name, sha256, config, weights],
        )?;
        for attack in &self.attacks {
            conn.execute(
                "INSERT INTO attack (id, name, params, model_id) VALUES (?, ?, ?, ?)",
                params![attack.id, attack.name, attack.params, attack.model_id],
            )?;
        }
        Ok(())
    }

    /// Refuses to go on with a file of another identity.
    ///
    /// # Errors
    /// [`Error::Usage`] with the first difference, both values named.
    pub(super) fn check_same(&self, file: &Self, path: &Path) -> Result<()> {
        match file.difference(self) {
            None => Ok(()),
            Some((what, have, want)) => Err(Error::Usage(format!(
                "{}: {what}: the file has {have}, asked for {want}; choose another --out or \
                 --force",
                path.display()
            ))),
        }
    }

    /// The first thing in which two identities differ: what it is, and both values.
    pub(super) fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let mut pairs = self.facts().into_iter().zip(other.facts());
        // The name of a preset is no content, but it says best why parameters differ.
        let same_parameters = self.attacks == other.attacks;
        pairs.find_map(|((what, one), (_, other))| {
            let differs = one != other && !(what == "preset" && same_parameters);
            differs.then_some((what, one, other))
        })
    }

    /// Everything that is compared, in the order in which a difference is told. Names of attacks
    /// come before their parameters, so the lists of two identities match up to a difference.
    fn facts(&self) -> Vec<(String, String)> {
        let names = self
            .attacks
            .iter()
            .map(|a| format!("{} ({})", a.name, a.id));
        let names = names.collect::<Vec<_>>().join(", ");
        let limit = self.limit.map_or("none".into(), |limit| limit.to_string());
        let mut facts = vec![
            ("preset", self.preset.clone()),
            ("seed", self.seed.to_string()),
            ("limit", limit),
            ("shard", self.shard.clone()),
            ("source hash", self.source_hash.clone()),
            ("model", self.model.name.clone()),
            ("model's sha256", self.model.sha256.clone()),
            ("model's config", self.model.config.clone()),
            ("attacks", names),
            ("generator version", self.generator_version.clone()),
        ]
        .into_iter()
        .map(|(what, value)| (what.to_string(), value))
        .collect::<Vec<_>>();
        for split in SPLITS {
            let images = self.images[split as usize];
            facts.push((
                format!("images in {}", split_name(split)),
                images.to_string(),
            ));
        }
        for attack in &self.attacks {
            facts.push((
                format!("parameters of {}", attack.name),
                attack.params.clone(),
            ));
        }
        facts
    }
}
