//! The schema: `schema.sql`, its identifiers, and the check that a file has exactly this schema.

use rusqlite::Connection;

use super::file::StoreFile;
use base::{Error, Result};

/// The schema's SQL, also readable on its own.
pub const SCHEMA: &str = include_str!("../../../schema.sql");

/// SQLite's `application_id` of a store: "Mith".
pub const APPLICATION_ID: u32 = 0x4D69_7468;

/// SQLite's `user_version` of a store: the version of its schema.
pub const SCHEMA_VERSION: u32 = 2;

/// Bytes of a page of the database; `schema.sql` sets it too.
pub(super) const PAGE_SIZE: u32 = 16_384;

/// Schema entries that are read from a file: far more than `schema.sql` has.
const MAX_ENTRIES: u32 = 32;

/// Refuses a schema version other than [`SCHEMA_VERSION`].
pub(super) fn check_version(file: &StoreFile, found: u32) -> Result<()> {
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    let advice = if found < SCHEMA_VERSION {
        "build the store again"
    } else {
        "use a newer program"
    };
    Err(Error::data(
        file,
        format!("schema version {found}"),
        format!("schema version {SCHEMA_VERSION}, the one this program knows: {advice}"),
    ))
}

/// Compares every statement of the file's schema with `schema.sql`.
pub(super) fn check(conn: &Connection, file: &StoreFile) -> Result<()> {
    let ours = Connection::open_in_memory()
        .and_then(|memory| {
            memory.execute_batch(SCHEMA)?;
            entries(&memory)
        })
        .map_err(file.map_sqlite_error())?;
    let theirs = entries(conn).map_err(file.map_sqlite_error())?;
    let invalid = |reason: String| {
        let advice = "another program may have changed the file";
        Err(Error::invalid(
            file.part("schema"),
            format!("{reason} ({advice})"),
        ))
    };
    if let Some(extra) = theirs.iter().find(|entry| entry.find_in(&ours).is_none()) {
        return invalid(format!("{} is not in schema.sql", extra.title()));
    }
    for expected in &ours {
        let title = expected.title();
        match expected.find_in(&theirs) {
            None => return invalid(format!("{title} is missing")),
            Some(found) if found != expected => {
                return invalid(format!("{title} is not as schema.sql has it"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// A row of `sqlite_schema`.
#[derive(PartialEq)]
struct SchemaEntry {
    kind: String,
    name: String,
    table: String,
    sql: Option<String>,
}

impl SchemaEntry {
    /// The entry of the same kind and name.
    fn find_in<'a>(&self, entries: &'a [Self]) -> Option<&'a Self> {
        let has_name = |entry: &&Self| (&entry.kind, &entry.name) == (&self.kind, &self.name);
        entries.iter().find(has_name)
    }

    fn title(&self) -> String {
        format!("{} '{}'", self.kind, self.name.escape_debug())
    }
}

fn entries(conn: &Connection) -> rusqlite::Result<Vec<SchemaEntry>> {
    // Statistics of the query planner, which viewers add (`PRAGMA optimize`), change no row.
    let sql = format!(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema \
         WHERE name NOT GLOB 'sqlite_stat*' ORDER BY type, name LIMIT {MAX_ENTRIES}"
    );
    let mut query = conn.prepare(&sql)?;
    let rows = query.query_map([], |row| {
        Ok(SchemaEntry {
            kind: row.get(0)?,
            name: row.get(1)?,
            table: row.get(2)?,
            sql: row.get(3)?,
        })
    })?;
    rows.collect()
}
