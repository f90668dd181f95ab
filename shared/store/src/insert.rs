//! Insertion of rows into the tables, several by one statement where that is faster.

use rusqlite::{Connection, Result, ToSql, params_from_iter, types::ToSqlOutput};

use super::{
    connection::MAX_VARIABLES,
    meta::insert_spec,
    rows::{ImageRow, SampleRow},
    schema::SCHEMA,
    spec::BuildSpec,
};

const IMAGE_COLUMNS: [&str; 7] = [
    "id",
    "split",
    "source_index",
    "label",
    "pixels",
    "crc32",
    "clean_pred",
];

const SAMPLE_COLUMNS: [&str; 9] = [
    "image_id",
    "attack_id",
    "pixels",
    "crc32",
    "pred",
    "pred_float",
    "l2",
    "linf",
    "steps",
];

/// Samples by one statement at most, whatever the number of attacks.
pub(super) const MAX_SAMPLES_PER_STATEMENT: usize = MAX_VARIABLES / SAMPLE_COLUMNS.len();

/// Creates schema and specification in one transaction: either both are there or the file is empty.
pub(super) fn create(conn: &mut Connection, spec: &BuildSpec, device: &str) -> Result<()> {
    let transaction = conn.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    insert_spec(&transaction, spec, device)?;
    transaction.commit()
}

/// Inserts images, then their samples, `samples_per_statement` at a time. A row that breaks a constraint may
/// roll the whole transaction back.
pub(super) fn insert_rows(
    conn: &Connection,
    images: &[ImageRow],
    samples: &[SampleRow],
    samples_per_statement: usize,
) -> Result<()> {
    insert(conn, "image", IMAGE_COLUMNS, 1, images, |row| {
        Ok([
            row.id.to_sql()?,
            row.split.name().into(),
            row.source_index.into(),
            row.label.into(),
            (*row.pixels).into(),
            row.pixels.crc32().into(),
            row.clean_pred.into(),
        ])
    })?;
    let at_once = samples_per_statement;
    insert(conn, "sample", SAMPLE_COLUMNS, at_once, samples, |row| {
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

/// Inserts `at_once` rows by one statement, and the rest one by one.
///
/// Beginning and ending a statement takes as long as a row. But one of several rows must not be able to fail
/// alone, as with OR ABORT, a key that may be no integer, or references to check: SQLite then keeps a copy of
/// each page as it was before the statement, which takes longer than the rows.
fn insert<'a, T, const COLUMNS: usize>(
    conn: &Connection,
    table: &str,
    columns: [&str; COLUMNS],
    at_once: usize,
    rows: &'a [T],
    values: impl Fn(&'a T) -> Result<[ToSqlOutput<'a>; COLUMNS]>,
) -> Result<()> {
    let (many, rest) = rows.split_at(rows.len() - rows.len() % at_once);
    for (rows, at_once) in [(many, at_once), (rest, 1)] {
        let row = format!("({})", ["?"; COLUMNS].join(", "));
        let mut insert = conn.prepare_cached(&format!(
            "INSERT OR ROLLBACK INTO {table} ({}) VALUES {}",
            columns.join(", "),
            vec![row; at_once].join(", ")
        ))?;
        for rows in rows.chunks(at_once) {
            let values = rows.iter().map(&values).collect::<Result<Vec<_>>>()?;
            insert.execute(params_from_iter(values.iter().flatten()))?;
        }
    }
    Ok(())
}
