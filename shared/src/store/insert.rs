//! Putting rows into tables: plain values come in, and a connection with a transaction; constraints are SQLite's to check.

use rusqlite::{Connection, params};

use super::{
    SCHEMA,
    meta::Identity,
    rows::{ImageRow, SampleRow, split_name},
};

/// Schema and identity in one transaction: either both are there or the file is empty.
pub(super) fn create(
    conn: &mut Connection,
    identity: &Identity,
    device: &str,
) -> rusqlite::Result<()> {
    let transaction = conn.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    identity.write(&transaction, device)?;
    transaction.commit()
}

/// Images, then their samples.
pub(super) fn insert_rows(
    conn: &Connection,
    images: &[ImageRow],
    samples: &[SampleRow],
) -> rusqlite::Result<()> {
    insert_images(conn, images)?;
    insert_samples(conn, samples)
}

fn insert_images(conn: &Connection, images: &[ImageRow]) -> rusqlite::Result<()> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO image (id, split, source_index, label, pixels, crc32, clean_pred) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?;
    for row in images {
        insert.execute(params![
            row.id,
            split_name(row.split),
            row.source_index,
            row.label,
            row.pixels,
            crc32fast::hash(&row.pixels),
            row.clean_pred,
        ])?;
    }
    Ok(())
}

fn insert_samples(conn: &Connection, samples: &[SampleRow]) -> rusqlite::Result<()> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO sample (image_id, attack_id, pixels, crc32, pred, pred_float, l2, linf, \
         steps) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    for row in samples {
        insert.execute(params![
            row.image_id,
            row.attack_id,
            row.pixels,
            crc32fast::hash(&row.pixels),
            row.pred,
            row.pred_float,
            row.l2,
            row.linf,
            row.steps,
        ])?;
    }
    Ok(())
}
