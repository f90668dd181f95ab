//! `generator verify`: a path comes in; every claim the file makes is checked again from its bytes;
//! what was found goes out, or the first thing that is wrong.

use std::{fmt, path::Path, thread};

use super::{
    fault::fault,
    reader::Store,
    rows::{ImageRow, SPLITS, SampleRow, distances, split_name},
};
use base::{Error, Result, log};

/// By how much a stored distance may differ from the bytes' own.
const TOLERANCE: f64 = 1e-6;

/// What a good store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Images in train, val and test.
    pub images: [u64; 3],
    /// Samples in all.
    pub samples: u64,
    /// Names of the attacks.
    pub attacks: Vec<String>,
    /// SHA-256 of the surrogate's weights, hex.
    pub model_sha256: String,
    /// The content hash, computed anew and equal to the stored one.
    pub content_hash: String,
    /// The file's length.
    pub bytes: u64,
    /// Which part of a store this is, if it is not the whole.
    pub partial: Option<String>,
}

/// Checks a complete store: header and schema; every row's types, ranges, CRC and distances; that
/// each image has each attack; SQLite's own structure and the references between tables; the
/// surrogate's hash and the content hash.
///
/// # Errors
/// [`Error::Data`] with the first bad row or the first broken claim.
pub fn verify(path: &Path) -> Result<Verified> {
    let store = open(path)?;
    if let Some(partial) = store.meta().partial() {
        log::warning(format_args!("{}: {partial}", path.display()));
    }
    let samples_read = thread::scope(|scope| {
        let structure = scope.spawn(|| check_structure(path));
        let read = check_rows(&store)?;
        match structure.join() {
            Ok(checked) => checked.map(|()| read),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    check_count(&store, "image", store.meta().images.iter().sum())?;
    // All that have an image were read. The others are soon found, and told by name.
    check_count(&store, "sample", samples_read)
        .or_else(|count| check_pragma(&store, "foreign_key_check(sample)", &[]).and(Err(count)))?;
    check_count(&store, "model", 1)?;
    let model = store.model()?;
    Ok(Verified {
        images: store.meta().images,
        samples: samples_read,
        attacks: store.attacks().iter().map(|a| a.name.clone()).collect(),
        model_sha256: model.sha256,
        // Opening compared it with the splits' hashes, reading compared these with the rows.
        content_hash: store.meta().content_hash.clone().unwrap_or_default(),
        bytes: store.bytes()?,
        partial: store.meta().partial(),
    })
}

/// Opens the store in one transaction, so that all checks on it see the same file.
fn open(path: &Path) -> Result<Store> {
    let store = Store::open_part(path)?;
    let begun = store.conn.execute_batch("BEGIN");
    begun.map_err(fault(&store.path))?;
    Ok(store)
}

/// Checks all rows and says how many samples there are.
fn check_rows(store: &Store) -> Result<u64> {
    let mut samples_read = 0;
    store.for_each_of(&SPLITS, |image, samples| {
        samples_read += samples.len() as u64;
        samples
            .iter()
            .try_for_each(|s| check_distances(store, &image, s))
    })?;
    Ok(samples_read)
}

/// What SQLite says of its own structure and of the attacks' references, on a connection of its own: it
/// reads the whole file twice more. Counts show whether all samples have an image.
fn check_structure(path: &Path) -> Result<()> {
    let store = open(path)?;
    check_pragma(&store, "integrity_check(1)", &["ok"])?;
    check_pragma(&store, "foreign_key_check(attack)", &[])
}

fn check_distances(store: &Store, image: &ImageRow, sample: &SampleRow) -> Result<()> {
    let (l2, linf) = distances(&image.pixels, &sample.pixels);
    if (l2 - sample.l2).abs() <= TOLERANCE && (linf - sample.linf).abs() <= TOLERANCE {
        return Ok(());
    }
    let (id, attack) = (sample.image_id, sample.attack_id);
    Err(Error::data(
        store.part(format!("sample (image {id}, attack {attack})")),
        format!("l2 {}, linf {}", sample.l2, sample.linf),
        format!("l2 {l2}, linf {linf}, as its pixels have it"),
    ))
}

/// Fails with the first line of what a checking pragma says beyond `expected`.
fn check_pragma(store: &Store, pragma: &str, expected: &[&str]) -> Result<()> {
    let said = || -> rusqlite::Result<Option<String>> {
        let mut query = store.conn.prepare(&format!("PRAGMA {pragma}"))?;
        let columns = query.column_count();
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let cells = (0..columns).map(|column| {
                let value = row.get::<_, rusqlite::types::Value>(column)?;
                Ok(match value {
                    rusqlite::types::Value::Text(text) => text,
                    rusqlite::types::Value::Integer(number) => number.to_string(),
                    other => format!("{other:?}"),
                })
            });
            let line = cells.collect::<rusqlite::Result<Vec<_>>>()?.join(" ");
            if !expected.contains(&line.as_str()) {
                return Ok(Some(line));
            }
        }
        Ok(None)
    };
    match said().map_err(fault(&store.path))? {
        None => Ok(()),
        Some(line) => {
            let what = store.part(pragma);
            Err(Error::data(
                what,
                line.replace('\n', " "),
                "an intact store",
            ))
        }
    }
}

fn check_count(store: &Store, table: &str, expected: u64) -> Result<()> {
    let sql = format!("SELECT count(*) FROM {table}");
    let found: u64 = store
        .conn
        .query_row(&sql, [], |row| row.get(0))
        .map_err(fault(&store.path))?;
    if found == expected {
        return Ok(());
    }
    Err(Error::data(
        store.part(format!("rows of {table}")),
        found,
        expected,
    ))
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let counts = SPLITS.map(|s| format!("{} {}", self.images[s as usize], split_name(s)));
        writeln!(f, "images        {}", counts.join(", "))?;
        writeln!(
            f,
            "samples       {} ({})",
            self.samples,
            self.attacks.join(", ")
        )?;
        writeln!(f, "surrogate     sha256 {}", self.model_sha256)?;
        writeln!(f, "content hash  {}", self.content_hash)?;
        if let Some(partial) = &self.partial {
            writeln!(f, "part          {partial}")?;
        }
        write!(
            f,
            "every row, distance, reference and hash is as it should be"
        )
    }
}
