//! Hardened SQLite connections: limits and settings against hostile files, and recovery of a write that was
//! killed.
//!
//! The measures are those of <https://www.sqlite.org/security.html>.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags, config::DbConfig, ffi, limits::Limit};

use super::{file::StoreFile, schema::PAGE_SIZE};
use base::{Error, Result};

/// How long to wait for a reader to finish, or for a batch to be written.
const BUSY_TIMEOUT: Duration = Duration::from_secs(300);

/// Variables that a statement may bind.
pub(super) const MAX_VARIABLES: usize = 60;

/// Memory for pages, in KiB. Little: so a large batch goes to the file while it grows, and the disk
/// is at work before the final flush; the journal undoes it if the commit never comes.
const CACHE_KIB: i32 = 4_096;

impl StoreFile {
    /// Opens for reading. A batch that a killed build left half-written is rolled back first.
    pub(super) fn open_read_only(&self) -> Result<Connection> {
        let conn = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        match read_schema(&conn) {
            Err(error) if needs_rollback(&error) => {
                drop(conn);
                self.roll_back()?;
                let conn = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
                read_schema(&conn).map_err(self.map_sqlite_error())?;
                Ok(conn)
            }
            read => read.map(|()| conn).map_err(self.map_sqlite_error()),
        }
    }

    /// Opens for writing, creating the file if there is none; rolls a half-written batch back.
    pub(super) fn open_read_write(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let conn = self.connect(flags)?;
        let configure = || {
            conn.pragma_update(None, "page_size", PAGE_SIZE)?;
            read_schema(&conn)?;
            // A committed transaction is on the disk, and leaves one file.
            conn.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
            conn.pragma_update(None, "synchronous", "FULL")?;
            conn.pragma_update(None, "foreign_keys", true)?;
            // A negative number is one of KiB.
            conn.pragma_update(None, "cache_size", -CACHE_KIB)
        };
        configure().map_err(self.map_sqlite_error())?;
        Ok(conn)
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection> {
        let conn =
            Connection::open_with_flags(self.path(), flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .map_err(self.map_sqlite_error())?;
        harden(&conn).map_err(self.map_sqlite_error())?;
        Ok(conn)
    }

    /// Lets SQLite roll the journal back, which needs a connection that may write.
    fn roll_back(&self) -> Result<()> {
        let conn = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        read_schema(&conn).map_err(|error| {
            if needs_rollback(&error) {
                Error::Usage(format!(
                    "{self}: a build was killed while it wrote, and {} must be played back first: open \
                     the store once where both files can be written",
                    self.journal().display()
                ))
            } else {
                self.map_sqlite_error()(error)
            }
        })
    }
}

fn harden(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
        (Limit::SQLITE_LIMIT_COLUMN, 100),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 20),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 3),
        (Limit::SQLITE_LIMIT_VDBE_OP, 25_000),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 8),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, MAX_VARIABLES as i32),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
    ] {
        conn.set_limit(limit, value)?;
    }
    conn.pragma_update(None, "cell_size_check", true)
}

/// Reads the schema: the first access to the file, which fails where a rollback is due.
fn read_schema(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

fn needs_rollback(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == ffi::SQLITE_READONLY_ROLLBACK)
}
