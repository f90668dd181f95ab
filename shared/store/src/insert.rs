//! Putting rows into tables: plain values come in, and a connection with a transaction; constraints are SQLite's to check.

use rusqlite::{Connection, Result, ToSql, params_from_iter, types::ToSqlOutput};

use super::{
    SCHEMA,
    meta::BuildSpec,
    rows::{ImageRow, SampleRow, split_name},
};

/// Schema and identity in one transaction: either both are there or the file is empty.
pub(super) fn create(conn: &mut Connection, identity: &BuildSpec, device: &str) -> Result<()> {
    let transaction = conn.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    identity.write(&transaction, device)?;
    transaction.commit()
}

/// Images, then their samples, `at_once` by one statement. A row that breaks a constraint may take the whole
/// transaction back.
pub(super) fn insert_rows(
    conn: &Connection,
    images: &[ImageRow],
    samples: &[SampleRow],
    at_once: usize,
) -> Result<()> {
    let image = "image (id, split, source_index, label, pixels, crc32, clean_pred)";
    insert(conn, image, 1, images, |row| {
        Ok([
            row.id.to_sql()?,
            split_name(row.split).into(),
            row.source_index.into(),
            row.label.into(),
            (*row.pixels).into(),
            row.pixels.crc32().into(),
            row.clean_pred.into(),
        ])
    })?;
    let sample = "sample (image_id, attack_id, pixels, crc32, pred, pred_float, l2, linf, steps)";
    insert(conn, sample, at_once, samples, |row| {
        Ok([
            row.image_id.to_sql()?,
            row.attack_id.into(),
            (*row.pixels).into(),
            row.pixels.crc32().into(),
            row.pred.into(),
            row.pred_float.into(),
            row.l2.into(),
            row.linf.into(),
            row.steps.into(),
        ])
    })
}

/// `at_once` rows by one statement, and the rest one by one.
///
/// To begin a statement and end it takes as long as a row. But one of several rows must not be able to fail
/// alone, as with OR ABORT, a key that may be no integer, or references to check: SQLite then writes down how
/// each page was before, which takes longer than the rows.
fn insert<'a, T, const COLUMNS: usize>(
    conn: &Connection,
    into: &str,
    at_once: usize,
    rows: &'a [T],
    values: impl Fn(&'a T) -> Result<[ToSqlOutput<'a>; COLUMNS]>,
) -> Result<()> {
    let (many, rest) = rows.split_at(rows.len() - rows.len() % at_once);
    for (rows, at_once) in [(many, at_once), (rest, 1)] {
        let places = format!("({})", ["?"; COLUMNS].join(", "));
        let mut insert = conn.prepare_cached(&format!(
            "INSERT OR ROLLBACK INTO {into} VALUES {}",
            vec![places; at_once].join(", ")
        ))?;
        for rows in rows.chunks(at_once) {
            let values = rows.iter().map(&values).collect::<Result<Vec<_>>>()?;
            insert.execute(params_from_iter(values.iter().flatten()))?;
        }
    }
    Ok(())
}
