//! The file: how it is made, checked, migrated, read and appended to. Entries are only ever added.

use std::{fs, io, os::unix::fs::PermissionsExt, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    journal::{Entry, Fact, Holdings},
    name::{Label, RunId},
    world::Clock,
};
use rusqlite::{Connection, OpenFlags, Row, TransactionBehavior, params};

use crate::{
    broken::DatabaseError,
    lock::{Locks, private_file},
};

/// Marks the file as a journal of twolane: "2lan".
const APPLICATION: i64 = 0x326c_616e;

/// The form of the `body` column that this twolane writes, and the last one that it reads.
const BODY: i64 = 1;

/// The n-th leads from version n to version n + 1 of the file. What was released is never changed.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE writers (
        version INTEGER PRIMARY KEY,
        twolane TEXT NOT NULL
    ) STRICT;
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        run TEXT NOT NULL,
        label TEXT,
        kind TEXT NOT NULL,
        version INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX entries_by_label ON entries (label) WHERE label IS NOT NULL;
"];

/// An open journal file.
pub(crate) struct Database {
    pub(crate) connection: Connection,
}

impl Database {
    /// Opens the file, or makes it when there is none.
    pub(crate) fn open(path: &Utf8Path, locks: &Locks, patience: Duration) -> Result<Self, DatabaseError> {
        if !path.try_exists()? {
            // Made aside and renamed, so that a file of this name is whole, and an empty one is known to be damaged.
            locks.behind_gate(|| make(path))?;
        }
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
        }
        if metadata.len() == 0 {
            return Err(DatabaseError::Damaged("it is empty".to_owned()));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        }
        let mut connection = connect(path, patience)?;
        check_origin(&connection)?;
        set_mode(&connection, path)?;
        migrate(&mut connection)?;
        Ok(Self { connection })
    }

    /// Appends a fact. Refuses an intent whose label another run's box may have.
    pub(crate) fn append(
        &mut self,
        clock: &dyn Clock,
        run: &RunId,
        fact: &Fact,
    ) -> Result<(), DatabaseError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Fact::Intent { tags, .. } = fact {
            let entries = entries_of(&transaction, &tags.label)?;
            if Holdings::fold(&entries).is_taken(&tags.label, run) {
                return Err(DatabaseError::Taken(tags.label.clone()));
            }
        }
        let entry = Entry {
            at: clock.now(),
            run: run.clone(),
            fact: fact.clone(),
        };
        insert(&transaction, &entry)?;
        Ok(transaction.commit()?)
    }

    /// Returns all entries, oldest first.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, DatabaseError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, at, run, version, body FROM entries ORDER BY id")?;
        let mut rows = statement.query([])?;
        collect(&mut rows)
    }
}

/// Writes one entry.
pub(crate) fn insert(connection: &Connection, entry: &Entry) -> Result<(), DatabaseError> {
    let body = serde_json::to_value(&entry.fact)
        .map_err(|error| DatabaseError::Damaged(format!("an entry cannot be recorded: {error}")))?;
    connection
        .prepare_cached(
            "INSERT INTO entries (at, run, label, kind, version, body) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            entry.at.to_string(),
            entry.run.as_str(),
            entry.fact.label().map(Label::as_str),
            body["fact"].as_str(),
            BODY,
            body.to_string(),
        ])?;
    Ok(())
}

fn entries_of(connection: &Connection, label: &Label) -> Result<Vec<Entry>, DatabaseError> {
    let mut statement = connection
        .prepare_cached("SELECT id, at, run, version, body FROM entries WHERE label = ? ORDER BY id")?;
    let mut rows = statement.query([label.as_str()])?;
    collect(&mut rows)
}

fn collect(rows: &mut rusqlite::Rows<'_>) -> Result<Vec<Entry>, DatabaseError> {
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(read(row)?);
    }
    Ok(entries)
}

/// Reads one entry. One that is not understood stops everything: it may be about a box.
fn read(row: &Row<'_>) -> Result<Entry, DatabaseError> {
    let id: i64 = row.get(0)?;
    let wrong = |why: String| DatabaseError::Damaged(format!("entry {id} is not understood: {why}"));
    let text = |column: usize| {
        row.get::<_, String>(column)
            .map_err(|error| wrong(error.to_string()))
    };
    let version: i64 = row.get(3).map_err(|error| wrong(error.to_string()))?;
    if version != BODY {
        return Err(wrong(format!(
            "it has form {version}, and this twolane knows {BODY}"
        )));
    }
    Ok(Entry {
        at: text(1)?
            .parse()
            .map_err(|error: jiff::Error| wrong(error.to_string()))?,
        run: RunId::new(text(2)?).map_err(|error| wrong(error.to_string()))?,
        fact: serde_json::from_str(&text(4)?).map_err(|error| wrong(error.to_string()))?,
    })
}

/// Makes a new journal, unless another process has just done so.
fn make(path: &Utf8Path) -> Result<(), DatabaseError> {
    if path.try_exists()? {
        return Ok(());
    }
    let wal = beside(path, "-wal");
    if wal.try_exists()? {
        return Err(DatabaseError::Damaged(format!(
            "it is missing, but a part of it, {wal}, exists"
        )));
    }
    let draft = beside(path, ".new");
    for stale in [
        &draft,
        &beside(&draft, "-wal"),
        &beside(&draft, "-shm"),
        &beside(&draft, "-journal"),
    ] {
        remove_if_there(stale)?;
    }
    let file = private_file(&draft)?;
    let mut connection = connect(&draft, Duration::ZERO)?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    set_mode(&connection, &draft)?;
    migrate(&mut connection)?;
    connection.close().map_err(|(_, error)| error)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(path.parent().unwrap_or(path))?.sync_all()?;
    Ok(())
}

fn connect(path: &Utf8Path, patience: Duration) -> Result<Connection, DatabaseError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(patience)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // SQLite opens what it may not write to all the same, for reading.
    if connection.is_readonly("main")? {
        return Err(DatabaseError::ReadOnly);
    }
    Ok(connection)
}

fn check_origin(connection: &Connection) -> Result<(), DatabaseError> {
    match pragma(connection, "application_id")? {
        APPLICATION => Ok(()),
        _ => Err(DatabaseError::Foreign),
    }
}

/// Writes ahead where the file system can do that. Over a network it cannot: its shared memory is not shared there.
fn set_mode(connection: &Connection, path: &Utf8Path) -> Result<(), DatabaseError> {
    let wanted = if is_network(path)? { "delete" } else { "wal" };
    let now: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if now == wanted {
        return Ok(());
    }
    let got: String =
        connection.query_row(&format!("PRAGMA journal_mode = {wanted}"), [], |row| row.get(0))?;
    if got != wanted && got != "delete" {
        return Err(DatabaseError::Damaged(format!(
            "it cannot be put into journal mode {wanted}, only into {got}"
        )));
    }
    Ok(())
}

/// Brings the file to the version of this twolane.
fn migrate(connection: &mut Connection) -> Result<(), DatabaseError> {
    let newest = MIGRATIONS.len() as i64;
    if pragma(connection, "user_version")? == newest {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = pragma(&transaction, "user_version")?;
    if version > newest || version < 0 {
        return Err(DatabaseError::Newer(writer(&transaction)));
    }
    for (from, step) in (0..).zip(MIGRATIONS).skip(version as usize) {
        transaction.execute_batch(step)?;
        transaction.execute(
            "INSERT INTO writers (version, twolane) VALUES (?, ?)",
            params![from + 1, env!("CARGO_PKG_VERSION")],
        )?;
    }
    transaction.pragma_update(None, "user_version", newest)?;
    Ok(transaction.commit()?)
}

/// Names the twolane that brought the file to its version.
fn writer(connection: &Connection) -> String {
    let newest = "SELECT twolane FROM writers ORDER BY version DESC LIMIT 1";
    let known: Result<String, _> = connection.query_row(newest, [], |row| row.get(0));
    // A later twolane may have put its version elsewhere.
    known.map_or_else(
        |_| "a later twolane".to_owned(),
        |version| format!("twolane {version}"),
    )
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, DatabaseError> {
    Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
}

fn beside(path: &Utf8Path, suffix: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}{suffix}"))
}

fn remove_if_there(path: &Utf8Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(target_os = "linux")]
fn is_network(path: &Utf8Path) -> io::Result<bool> {
    Ok(is_network_type(
        rustix::fs::statfs(path.as_std_path())?.f_type as u32,
    ))
}

#[cfg(not(target_os = "linux"))]
fn is_network(_: &Utf8Path) -> io::Result<bool> {
    Ok(false)
}

/// Reports the file systems that may be used from several machines by their magic number; see statfs(2).
#[cfg(target_os = "linux")]
pub(crate) fn is_network_type(magic: u32) -> bool {
    const NFS: u32 = 0x6969;
    const SMB: u32 = 0x517b;
    const CIFS: u32 = 0xff53_4d42;
    const SMB2: u32 = 0xfe53_4d42;
    const AFS: u32 = 0x5346_414f;
    const CEPH: u32 = 0x00c3_6400;
    const NINE_P: u32 = 0x0102_1997;
    const FUSE: u32 = 0x6573_5546; // sshfs and others
    matches!(magic, NFS | SMB | CIFS | SMB2 | AFS | CEPH | NINE_P | FUSE)
}
