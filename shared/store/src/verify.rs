//! Verification of a store: every checksum, distance, reference and hash, computed again from its bytes.

use std::{path::Path, thread};

use rusqlite::types::Value;

use super::{
    reader::Store,
    rows::{ImageRow, SampleRow, distances},
};
use base::{Error, Result};
use data::Split;

/// By how much a stored distance may differ from that of the bytes.
const DISTANCE_TOLERANCE: f64 = 1e-6;

/// The content of a store that is intact.
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
    /// A warning if this is only a shard of a store.
    pub partial: Option<String>,
}

/// Checks a complete store: header and schema; every row's types, ranges, CRC and distances; that
/// each image has each attack; SQLite's own structure and the references between tables; the
/// surrogate's hash and the content hash.
///
/// # Errors
/// [`Error::Data`] and [`Error::Invalid`] with the first bad row or the first claim that is wrong.
pub fn verify(path: &Path) -> Result<Verified> {
    let store = open(path)?;
    let samples_read = thread::scope(|scope| {
        let structure = scope.spawn(|| check_structure(path));
        let read = check_rows(&store)?;
        match structure.join() {
            Ok(checked) => checked.map(|()| read),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    check_count(&store, "image", store.meta().spec.image_count())?;
    // All samples that have an image were read. SQLite finds the others soon, and names them.
    check_count(&store, "sample", samples_read)
        .or_else(|count| check_pragma(&store, "foreign_key_check(sample)", &[]).and(Err(count)))?;
    check_count(&store, "model", 1)?;
    let model = store.model()?;
    Ok(Verified {
        images: store.meta().spec.images,
        samples: samples_read,
        attacks: store.attacks().iter().map(|a| a.name.clone()).collect(),
        model_sha256: model.sha256,
        // Opening compared it with the splits' hashes, reading compared these with the rows.
        content_hash: store.meta().content_hash.clone().unwrap_or_default(),
        bytes: store.file.len()?,
        partial: store.meta().partial(),
    })
}

/// Opens the store in one transaction, so that all checks on it see the same file.
fn open(path: &Path) -> Result<Store> {
    let store = Store::open_part(path)?;
    let begun = store.conn.execute_batch("BEGIN");
    begun.map_err(store.file.map_sqlite_error())?;
    Ok(store)
}

/// Checks all rows; returns the number of samples.
fn check_rows(store: &Store) -> Result<u64> {
    let mut samples_read = 0;
    store.for_each_of(&Split::ALL, |image, samples| {
        samples_read += samples.len() as u64;
        samples
            .iter()
            .try_for_each(|sample| check_distances(store, &image, sample))
    })?;
    Ok(samples_read)
}

/// SQLite's own checks of the file's structure and of the attacks' references, on a connection of its own
/// because they read the whole file twice more. Counts show whether all samples have an image.
fn check_structure(path: &Path) -> Result<()> {
    let store = open(path)?;
    check_pragma(&store, "integrity_check(1)", &["ok"])?;
    check_pragma(&store, "foreign_key_check(attack)", &[])
}

fn check_distances(store: &Store, image: &ImageRow, sample: &SampleRow) -> Result<()> {
    let (l2, linf) = distances(&image.pixels, &sample.pixels);
    if (l2 - sample.l2).abs() <= DISTANCE_TOLERANCE
        && (linf - sample.linf).abs() <= DISTANCE_TOLERANCE
    {
        return Ok(());
    }
    let (id, attack) = (sample.image_id, sample.attack_id);
    Err(Error::data(
        store
            .file
            .part(format_args!("sample (image {id}, attack {attack})")),
        format!("l2 {}, linf {}", sample.l2, sample.linf),
        format!("l2 {l2}, linf {linf}, as its pixels have it"),
    ))
}

/// Fails with the first line of a checking pragma's result that is not `expected`.
fn check_pragma(store: &Store, pragma: &str, expected: &[&str]) -> Result<()> {
    let first_unexpected = || -> rusqlite::Result<Option<String>> {
        let mut query = store.conn.prepare(&format!("PRAGMA {pragma}"))?;
        let columns = query.column_count();
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let cells = (0..columns).map(|column| {
                let value = row.get::<_, Value>(column)?;
                Ok(match value {
                    Value::Text(text) => text,
                    Value::Integer(number) => number.to_string(),
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
    match first_unexpected().map_err(store.file.map_sqlite_error())? {
        None => Ok(()),
        Some(line) => {
            let what = store.file.part(pragma);
            Err(Error::data(what, line, "an intact store"))
        }
    }
}

fn check_count(store: &Store, table: &str, expected: u64) -> Result<()> {
    let sql = format!("SELECT count(*) FROM {table}");
    let found: u64 = store
        .conn
        .query_row(&sql, [], |row| row.get(0))
        .map_err(store.file.map_sqlite_error())?;
    if found == expected {
        return Ok(());
    }
    Err(Error::data(
        store.file.part(format_args!("rows of {table}")),
        found,
        expected,
    ))
}
