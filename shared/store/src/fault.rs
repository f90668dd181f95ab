//! What SQLite complains about comes in, an error that says what to do about it goes out.

use std::path::Path;

use rusqlite::ErrorCode;

use base::Error;

const FULL: &str = "the disk is full; nothing stored so far is lost: make room and run the same \
                    command again to resume";
const BUSY: &str = "another program has kept the file locked for minutes";

/// Turns a failure on `path` into an error; use as `.map_err(fault(path))`.
///
/// A corrupt file and values of a wrong type are bad data; a full disk stays a fault of the
/// machine and says that the build can be resumed.
pub(super) fn fault(path: &Path) -> impl Fn(rusqlite::Error) -> Error {
    use rusqlite::Error as Sql;
    let bad = |found: String| Error::data(path.display(), found, "an intact store");
    move |error| match &error {
        Sql::SqliteFailure(code, message) => {
            let message = message.clone().unwrap_or_else(|| code.to_string());
            match code.code {
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::TooBig
                | ErrorCode::SchemaChanged
                | ErrorCode::TypeMismatch
                // Our statements are always the same: if one fails as such, the file is to blame.
                | ErrorCode::Unknown => {
                    bad(message)
                }
                ErrorCode::ConstraintViolation => Error::data(
                    path.display(),
                    message,
                    "rows that keep the constraints of schema.sql",
                ),
                ErrorCode::DiskFull => with_message(path, code, FULL),
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                    with_message(path, code, BUSY)
                }
                _ => with_message(path, code, &message),
            }
        }
        Sql::FromSqlConversionFailure(..)
        | Sql::IntegralValueOutOfRange(..)
        | Sql::InvalidColumnType(..)
        | Sql::Utf8Error(..)
        | Sql::QueryReturnedNoRows => bad(error.to_string()),
        _ => Error::Sqlite {
            path: path.to_path_buf(),
            source: error.into(),
        },
    }
}

fn with_message(path: &Path, code: &rusqlite::ffi::Error, message: &str) -> Error {
    Error::Sqlite {
        path: path.to_path_buf(),
        source: rusqlite::Error::SqliteFailure(*code, Some(message.to_string())).into(),
    }
}
