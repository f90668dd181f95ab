//! A path comes in, a SQLite connection goes out that is not at the file's mercy and whose schema
//! is known to be ours.
//!
//! Measures against hostile files: <https://www.sqlite.org/security.html>.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig, ffi, limits::Limit};

use super::{SCHEMA, fault::fault, header};
use base::{Error, Result};

/// How long to wait for a reader to finish, or for a batch to be written.
const PATIENCE: Duration = Duration::from_secs(300);

/// `path` as SQLite may have it: absolute, since it gives names such as `:memory:` a meaning, and
/// without links, since the journal stands beside the file itself.
pub(super) fn real(path: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(path)
        .or_else(|_| std::path::absolute(path))
        .map_err(Error::io("find", path))
}

/// Opens for reading. A batch that a killed build left half-written is taken back first.
pub(super) fn read_only(path: &Path) -> Result<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match probe(&conn) {
        Err(error) if needs_rollback(&error) => {
            drop(conn);
            roll_back(path)?;
            let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            probe(&conn).map_err(fault(path))?;
            Ok(conn)
        }
        probed => probed.map(|()| conn).map_err(fault(path)),
    }
}

/// Opens for writing, creating the file if there is none; takes back a half-written batch.
pub(super) fn read_write(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let conn = connect(path, flags)?;
    let settings = || {
        conn.pragma_update(None, "page_size", 16_384)?;
        probe(&conn)?;
        // Each transaction is on the disk when it is said to be, and leaves one file.
        conn.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        // KiB, negative. Little: so a large batch goes to the file while it is near, and the disk is at
        // work before the last flush; the journal takes it back if it never comes to that.
        conn.pragma_update(None, "cache_size", -4_096)
    };
    settings().map_err(fault(path))?;
    Ok(conn)
}

/// Compares every statement of the file's schema with `schema.sql`.
pub(super) fn check_schema(conn: &Connection, path: &Path) -> Result<()> {
    let ours = Connection::open_in_memory()
        .and_then(|memory| {
            memory.execute_batch(SCHEMA)?;
            statements(&memory)
        })
        .map_err(fault(path))?;
    let theirs = statements(conn).map_err(fault(path))?;
    let named = |statements: &[Statement], like: &Statement| {
        let same = |s: &&Statement| (&s.0, &s.1) == (&like.0, &like.1);
        statements.iter().find(same).cloned()
    };
    let wrong = |found: &str, expected: &str| {
        let advice = "as schema.sql has it (another program may have changed the file)";
        let what = format!("{}: schema", path.display());
        Err(Error::data(what, found, format!("{expected}, {advice}")))
    };
    if let Some(extra) = theirs.iter().find(|theirs| named(&ours, theirs).is_none()) {
        return wrong(&name(extra), "nothing of that name");
    }
    for ours in &ours {
        match named(&theirs, ours) {
            None => return wrong(&format!("no {}", name(ours)), "one"),
            Some(theirs) if theirs != *ours => {
                return wrong(&format!("another {}", name(ours)), &name(ours));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Kind, name, table and text of a schema's entry.
type Statement = (String, String, String, Option<String>);

fn statements(conn: &Connection) -> rusqlite::Result<Vec<Statement>> {
    // Statistics of the query planner, which viewers add (`PRAGMA optimize`), change no row.
    let sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema \
               WHERE name NOT GLOB 'sqlite_stat*' ORDER BY type, name LIMIT 32";
    let mut query = conn.prepare(sql)?;
    let rows = query.query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    rows.collect()
}

fn name((kind, name, ..): &Statement) -> String {
    format!("{kind} '{}'", name.escape_debug())
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(fault(path))?;
    harden(&conn).map_err(fault(path))?;
    Ok(conn)
}

fn harden(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(PATIENCE)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
        (Limit::SQLITE_LIMIT_COLUMN, 100),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 20),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 3),
        (Limit::SQLITE_LIMIT_VDBE_OP, 25_000),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 8),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 60),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
    ] {
        conn.set_limit(limit, most)?;
    }
    conn.pragma_update(None, "cell_size_check", true)
}

/// Reads the schema: the first look at the file, which fails where a rollback is due.
fn probe(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

fn needs_rollback(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == ffi::SQLITE_READONLY_ROLLBACK)
}

/// Lets SQLite play the journal back, which needs a connection that may write.
fn roll_back(path: &Path) -> Result<()> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    probe(&conn).map_err(|error| {
        if needs_rollback(&error) {
            Error::Usage(format!(
                "{}: a build was killed while it wrote, and {} must be played back first: open \
                 the store once where both files can be written",
                path.display(),
                header::journal(path).display()
            ))
        } else {
            fault(path)(error)
        }
    })
}
