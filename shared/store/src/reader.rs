//! Opening a store: a path comes in; what it is, what was attacked and how go out. The images
//! themselves are read in `scan`.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row};

use super::{
    fault::fault,
    hash,
    header::{self, Header},
    meta::{BuildSpec, Meta},
    open,
    rows::{AttackRow, ModelRow, SPLITS, split_name},
};
use base::{Error, Result, log};

/// An open store.
#[derive(Debug)]
pub struct Store {
    pub(super) conn: Connection,
    pub(super) path: PathBuf,
    pub(super) meta: Meta,
    pub(super) attacks: Vec<AttackRow>,
}

/// A row of the view `attack_summary`, and how often the attack succeeded.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SummaryRow {
    /// `train`, `val` or `test`.
    pub split: String,
    /// The attack's name.
    pub attack: String,
    /// Samples.
    pub count: u64,
    /// Share of them that the surrogate classifies correctly.
    pub surrogate_accuracy: f64,
    /// Share of the images that the surrogate classifies correctly while they are clean, and not any
    /// more as samples; none where it classifies no clean image correctly.
    pub success: Option<f64>,
    /// Mean L2 distance from the clean images.
    pub mean_l2: f64,
    /// Mean L-infinity distance.
    pub mean_linf: f64,
    /// Samples that equal their clean image.
    pub unchanged: u64,
    /// Of those, samples of images that the surrogate misclassifies anyway.
    pub unchanged_misclassified: u64,
}

impl Store {
    /// Opens a complete store for reading; one that is only a shard is a warning.
    ///
    /// # Errors
    /// [`Error::Data`] for anything but a complete, intact store of this schema version.
    pub fn open(path: &Path) -> Result<Self> {
        let store = Self::open_part(path)?;
        if let Some(partial) = store.meta.partial() {
            log::warning(format_args!("{}: {partial}", path.display()));
        }
        Ok(store)
    }

    /// The same, where shards are as welcome as whole stores.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_part(path: &Path) -> Result<Self> {
        let store = Self::open_any(path)?;
        store.check_complete()?;
        Ok(store)
    }

    /// Opens a store for reading, one whose build is under way or was stopped too.
    ///
    /// # Errors
    /// [`Error::Data`] for anything but an intact store of this schema version.
    pub fn open_any(path: &Path) -> Result<Self> {
        let file = open::real(path)?;
        let look = || match header::look(&file)? {
            Header::Store => Ok(()),
            Header::Absent => Err(Error::io("open", path)(std::io::ErrorKind::NotFound.into())),
            Header::Unwritten => Err(Error::data(
                path.display(),
                "nothing in it yet",
                "a store (a build was stopped before its first write; run it again)",
            )),
        };
        look()?;
        let conn = open::read_only(&file)?;
        // Again, for a rollback may have taken the first page back.
        look()?;
        Self::checked(conn, file)
    }

    /// Checks what is not images on an open connection.
    pub(super) fn checked(conn: Connection, path: PathBuf) -> Result<Self> {
        let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
        let version = pragma("user_version").map_err(fault(&path))?;
        if version != super::SCHEMA_VERSION {
            return Err(header::wrong_version(&path, version));
        }
        open::check_schema(&conn, &path)?;
        let meta = Meta::read(&conn, &path)?;
        let attacks = read_attacks(&conn).map_err(fault(&path))?;
        let store = Self {
            conn,
            path,
            meta,
            attacks,
        };
        store.check_content_hash()?;
        Ok(store)
    }

    /// Of a complete store: what `meta`, `model` and `attack` say is what its content hash covers.
    /// The rows are compared with the splits' hashes when they are read.
    fn check_content_hash(&self) -> Result<()> {
        let [Some(train), Some(val), Some(test)] = &self.meta.split_hashes else {
            return Ok(());
        };
        let model = self.model_without_weights()?;
        let found = hash::content(&self.meta, &model, &self.attacks, [train, val, test]);
        match &self.meta.content_hash {
            Some(expected) if *expected != found => {
                Err(Error::data(self.part("content hash"), found, expected))
            }
            _ => Ok(()),
        }
    }

    /// What the store is.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The attacks in the order of their ids.
    pub fn attacks(&self) -> &[AttackRow] {
        &self.attacks
    }

    /// The surrogate with its weights, whose hash is checked.
    pub fn model(&self) -> Result<ModelRow> {
        let sql = "SELECT weights FROM model WHERE id = ?";
        let mut model = self.model_without_weights()?;
        model.weights = self
            .conn
            .query_row(sql, [model.id], |row| row.get(0))
            .map_err(fault(&self.path))?;
        let found = super::rows::sha256(&model.weights);
        if found != model.sha256 {
            let what = self.part(format!("model {}, sha256 of its weights", model.id));
            return Err(Error::data(what, found, model.sha256));
        }
        Ok(model)
    }

    /// What the build of this store was asked for, the surrogate's weights included.
    pub fn identity(&self) -> Result<BuildSpec> {
        Ok(self.identity_with(self.model()?))
    }

    /// How strong each attack is in each split, over the rows there are.
    pub fn summary(&self) -> Result<Vec<SummaryRow>> {
        let read = || {
            // The view has no success, and to join it with one would read all rows twice.
            let sql = "SELECT i.split, a.name, count(*), avg(s.pred = i.label), avg(s.l2), \
                       avg(s.linf), avg(s.pred <> i.label) FILTER (WHERE i.clean_pred = i.label), \
                       count(*) FILTER (WHERE s.linf = 0), \
                       count(*) FILTER (WHERE s.linf = 0 AND i.clean_pred <> i.label) \
                       FROM sample s JOIN image i ON i.id = s.image_id \
                       JOIN attack a ON a.id = s.attack_id GROUP BY i.split, a.id \
                       ORDER BY i.split = 'test', i.split = 'val', a.id";
            let mut query = self.conn.prepare(sql)?;
            let rows = query.query_map([], |row| {
                Ok(SummaryRow {
                    split: row.get(0)?,
                    attack: row.get(1)?,
                    count: row.get(2)?,
                    surrogate_accuracy: row.get(3)?,
                    mean_l2: row.get(4)?,
                    mean_linf: row.get(5)?,
                    success: row.get(6)?,
                    unchanged: row.get(7)?,
                    unchanged_misclassified: row.get(8)?,
                })
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(fault(&self.path))
    }

    /// Images in each of train, val and test as they stand, and how many of them the surrogate
    /// classifies correctly.
    pub fn counts(&self) -> Result<[(u64, u64); 3]> {
        let sql = "SELECT count(*), total(clean_pred = label) FROM image WHERE split = ?";
        let mut counts = [(0, 0); 3];
        for split in SPLITS {
            counts[split as usize] = self
                .conn
                .query_row(sql, [split_name(split)], |row| {
                    Ok((row.get(0)?, row.get::<_, f64>(1)? as u64))
                })
                .map_err(fault(&self.path))?;
        }
        Ok(counts)
    }

    pub(super) fn check_complete(&self) -> Result<()> {
        if self.meta.complete {
            return Ok(());
        }
        let there: u64 = self.counts()?.iter().map(|(images, _)| images).sum();
        let whole: u64 = self.meta.images.iter().fold(0, |n, m| n.saturating_add(*m));
        Err(Error::data(
            self.path.display(),
            format!("an unfinished build ({there} of {whole} images)"),
            "a finished one (run the same build again to resume it)",
        ))
    }

    /// For comparing: the weights stay where they are, their hash stands for them.
    pub(super) fn identity_without_weights(&self) -> Result<BuildSpec> {
        Ok(self.identity_with(self.model_without_weights()?))
    }

    /// A place in this file, for an error.
    pub(super) fn part(&self, part: impl std::fmt::Display) -> String {
        format!("{}: {part}", self.path.display())
    }

    pub(super) fn refresh(&mut self) -> Result<()> {
        self.meta = Meta::read(&self.conn, &self.path)?;
        Ok(())
    }

    pub(super) fn model_without_weights(&self) -> Result<ModelRow> {
        let sql = "SELECT id, name, sha256, config FROM model ORDER BY id LIMIT 1";
        let read = |row: &Row| {
            Ok(ModelRow {
                id: row.get(0)?,
                name: row.get(1)?,
                sha256: row.get(2)?,
                config: row.get(3)?,
                weights: Vec::new(),
            })
        };
        self.conn
            .query_row(sql, [], read)
            .map_err(fault(&self.path))
    }

    fn identity_with(&self, model: ModelRow) -> BuildSpec {
        let meta = self.meta.clone();
        BuildSpec {
            dataset: meta.dataset,
            classes: meta.classes,
            source_hash: meta.source_hash,
            seed: meta.seed,
            preset: meta.preset,
            limit: meta.limit,
            shard: meta.shard,
            images: meta.images,
            generator_version: meta.generator_version,
            attacks: self.attacks.clone(),
            model,
        }
    }
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
