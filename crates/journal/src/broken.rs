//! What can be wrong with a journal, in words: what could not be done, why, and what to do.

use std::io;

use camino::Utf8Path;
use model::{error::JournalError, name::Label};
use rusqlite::ErrorCode;
use thiserror::Error;

/// What was being done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    Open,
    Read,
    Write,
    Lock,
}

/// Why it could not be done.
#[derive(Debug, Error)]
pub(crate) enum DatabaseError {
    #[error("the label is taken")]
    Taken(Label),
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0} already exists and is not a directory")]
    NotADirectory(String),
    #[error("another process has kept it locked for {0} s")]
    Busy(u64),
    #[error("it was written by {0}, and this is {this}", this = env!("CARGO_PKG_VERSION"))]
    Newer(String),
    #[error("{0}")]
    Damaged(String),
    #[error("it is a database of another program")]
    Foreign,
    #[error("the disk or the file is read-only")]
    ReadOnly,
    #[error("it was cut off: {0}")]
    Stopped(String),
}

impl DatabaseError {
    /// Says it to the caller of the journal.
    pub(crate) fn at(self, at: At, path: &Utf8Path) -> JournalError {
        if let Self::Taken(label) = self {
            return JournalError::Taken(label);
        }
        let operation = match at {
            At::Open => "open",
            At::Read => "read",
            At::Write => "write",
            At::Lock => "lock",
        };
        JournalError::Broken {
            operation,
            path: path.to_string(),
            cause: self.to_string(),
            help: self.help(path),
        }
    }

    fn help(&self, path: &Utf8Path) -> String {
        let dir = path.parent().unwrap_or(path);
        match self.kind() {
            Kind::Newer(version) => format!("use {version} or newer, or another journal: --state-dir DIR"),
            Kind::Damaged => format!(
                "keep it for a look (mv {path} {path}.damaged), then find by tag what it knew of: twolane reap --dry-run"
            ),
            Kind::Busy => {
                format!("wait for the other twolane to end (`fuser {path}` names it), then try again")
            }
            Kind::Full => {
                format!("free some space on the disk of {dir}, or choose another one: --state-dir DIR")
            }
            Kind::NotWritable => {
                format!(
                    "make {dir} a directory that you can write to, or choose another one: --state-dir DIR"
                )
            }
            Kind::Other => {
                format!("look whether the disk of {dir} is sound, or choose another one: --state-dir DIR")
            }
        }
    }

    fn kind(&self) -> Kind<'_> {
        match self {
            Self::Newer(version) => Kind::Newer(version),
            Self::Damaged(_) | Self::Foreign => Kind::Damaged,
            Self::Busy(_) => Kind::Busy,
            Self::ReadOnly | Self::NotADirectory(_) => Kind::NotWritable,
            Self::Io(error) => of_io(error),
            Self::Sqlite(error) => of_sqlite(error),
            Self::Taken(_) | Self::Stopped(_) => Kind::Other,
        }
    }
}

/// What the help depends on.
enum Kind<'a> {
    Newer(&'a str),
    Damaged,
    Busy,
    Full,
    NotWritable,
    Other,
}

fn of_io(error: &io::Error) -> Kind<'static> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Kind::Full,
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory => Kind::NotWritable,
        _ => Kind::Other,
    }
}

fn of_sqlite(error: &rusqlite::Error) -> Kind<'static> {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Kind::Damaged,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Busy,
        Some(ErrorCode::DiskFull) => Kind::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Kind::NotWritable,
        _ => Kind::Other,
    }
}
