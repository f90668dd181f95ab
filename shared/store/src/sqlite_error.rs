//! Conversion of SQLite's errors: bad data or a failure of the machine, with the advice that helps.

use rusqlite::{Error as SqlError, ErrorCode};

use super::file::StoreFile;
use base::Error;

const DISK_FULL: &str = "the disk is full; make room and run the same command again: a build resumes \
                         where it stopped";
const FILE_BUSY: &str = "another program has kept the file locked for minutes";

impl StoreFile {
    /// Converts a failure on this file; use as `.map_err(file.map_sqlite_error())`.
    ///
    /// A corrupt file and values of a wrong type are bad data; a full disk stays a failure of the
    /// machine, and its text tells that the build can be resumed.
    pub(super) fn map_sqlite_error(&self) -> impl Fn(SqlError) -> Error + '_ {
        move |error| self.convert(error)
    }

    fn convert(&self, error: SqlError) -> Error {
        match &error {
            SqlError::SqliteFailure(code, message) => {
                let message = message.clone().unwrap_or_else(|| code.to_string());
                match code.code {
                    ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::TooBig
                    | ErrorCode::SchemaChanged
                    | ErrorCode::TypeMismatch
                    // Our statements are always the same: if one fails as such, the file is to blame.
                    | ErrorCode::Unknown => self.bad_data(message),
                    ErrorCode::ConstraintViolation => Error::data(
                        self,
                        message,
                        "rows that keep the constraints of schema.sql",
                    ),
                    ErrorCode::DiskFull => self.failure(code, DISK_FULL),
                    ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                        self.failure(code, FILE_BUSY)
                    }
                    _ => self.failure(code, &message),
                }
            }
            SqlError::FromSqlConversionFailure(..)
            | SqlError::IntegralValueOutOfRange(..)
            | SqlError::InvalidColumnType(..)
            | SqlError::Utf8Error(..)
            | SqlError::QueryReturnedNoRows => self.bad_data(error.to_string()),
            _ => Error::Sqlite {
                path: self.path().to_path_buf(),
                source: error.into(),
            },
        }
    }

    fn bad_data(&self, found: String) -> Error {
        Error::data(self, found, "an intact store")
    }

    fn failure(&self, code: &rusqlite::ffi::Error, message: &str) -> Error {
        Error::Sqlite {
            path: self.path().to_path_buf(),
            source: SqlError::SqliteFailure(*code, Some(message.to_string())).into(),
        }
    }
}
