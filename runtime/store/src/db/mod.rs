//! The one door to the database, which many short processes share.
//!
//! It is a write-ahead log: readers never wait. Each writer begins with BEGIN IMMEDIATE, so that it waits at the beginning or not at all,
//! and whatever SQLite answers with "busy" is tried again. The log stays when a connection closes, even the last one (closing would
//! otherwise write it all back, under a lock, at the end of each command); it is written back above a size, and by collect.
//!
//! SQLite's locks are of the process (fcntl(2)): no other code here may open these files.

pub(crate) mod schema;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use image::Digest;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Transaction, TransactionBehavior, ffi};
use sys::Errno;

use crate::error::{Error, Result};

/// How long SQLite itself waits for another writer before it is asked again.
const WAIT: Duration = Duration::from_secs(60);
/// After this long it is no crowd, it is a process that hangs.
const PATIENCE: Duration = Duration::from_secs(600);
/// The log is written back when it has this many pages (8 MiB).
const LOG_PAGES: u32 = 2048;

/// What a transaction must outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A kill of the process. A power cut may undo it.
    Kill,
    /// A power cut, too: for what is reported as done, and before files are deleted.
    Now,
}

/// Why a transaction was given up.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    Ours(Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

/// The database of one data root.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Database {
    /// Opens a database that is there.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            let path = path.display();
            return Err(Error::other(format_args!(
                "{path}: missing: put it back from a copy, or move the data root away and begin anew"
            )));
        }
        Self::connect(path, OpenFlags::empty())
    }

    /// Makes the database, or goes on where a killed process was making it. The caller has the root's lock.
    pub(crate) fn make(path: &Path) -> Result<Self> {
        let database = Self::connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
        database.again(|connection| {
            // Before the first table, or it would have no effect.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            Ok(())
        })?;
        database.migrate(schema::STEPS)?;
        database.write_back()?;
        Ok(database)
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self> {
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
            connection.busy_timeout(WAIT)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.set_prepared_statement_cache_capacity(64);
            Ok(connection)
        });
        let connection = opened.map_err(|error| explain(path, Fault::Sql(error)))?;
        let database = Self {
            path: path.to_path_buf(),
            connection: Mutex::new(connection),
        };
        database.again(|connection| {
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            Ok(())
        })?;
        Ok(database)
    }

    /// Returns the number of steps that the database has taken.
    pub(crate) fn version(&self) -> Result<u64> {
        self.again(|connection| Ok(version_of(connection)?))
    }

    /// Takes the steps that are missing, all in one transaction. The caller has the root's lock.
    pub(crate) fn migrate(&self, steps: &[&str]) -> Result<()> {
        self.write(Durability::Now, |transaction| {
            let found = usize::try_from(version_of(transaction)?).unwrap_or(usize::MAX);
            for step in steps.iter().skip(found) {
                transaction.execute_batch(step)?;
            }
            if found < steps.len() {
                transaction.pragma_update(None, "user_version", number(steps.len() as u64))?;
            }
            Ok(())
        })
    }

    /// Runs some queries that see the same moment.
    pub(crate) fn read<T>(
        &self,
        mut work: impl FnMut(&Transaction<'_>) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.again(|connection| work(&connection.transaction()?))
    }

    /// Runs a transaction that writes; it happens wholly or not at all.
    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        mut work: impl FnMut(&Transaction<'_>) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.again(|connection| {
            let level = match durability {
                Durability::Kill => "NORMAL",
                Durability::Now => "FULL",
            };
            connection.pragma_update(None, "synchronous", level)?;
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let made = work(&transaction)?;
            transaction.commit()?;
            Ok(made)
        })
    }

    /// Writes the log back into the database, gives what is free in both to the file system. Where others read or write just now, it
    /// is left to the next time.
    pub(crate) fn write_back(&self) -> Result<()> {
        self.again(|connection| {
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.busy_timeout(Duration::from_millis(200))?;
            let done = step(connection, "PRAGMA incremental_vacuum")
                .and_then(|()| step(connection, "PRAGMA wal_checkpoint(TRUNCATE)"));
            connection.busy_timeout(WAIT)?;
            match done {
                Err(error) if is_busy(&error) => Ok(()),
                other => Ok(other?),
            }
        })
    }

    /// Returns what SQLite finds wrong with the file itself, a line each.
    pub(crate) fn flaws(&self) -> Result<Vec<String>> {
        self.again(|connection| {
            let mut flaws = Vec::new();
            for question in ["PRAGMA integrity_check(20)", "PRAGMA foreign_key_check"] {
                let mut statement = connection.prepare(question)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let said: String = row.get(0)?;
                    if said != "ok" {
                        flaws.push(said);
                    }
                }
            }
            Ok(flaws)
        })
    }

    /// Does something until nobody is in the way.
    fn again<T>(
        &self,
        mut attempt: impl FnMut(&mut Connection) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        let mut connection = self.lock();
        let began = Instant::now();
        loop {
            match attempt(&mut connection) {
                Err(Fault::Sql(error)) if is_busy(&error) => {
                    if began.elapsed() > PATIENCE {
                        return Err(Error::Busy(self.path.clone()));
                    }
                    // Most of these have waited inside SQLite; recovery and the like answer at once.
                    std::thread::sleep(Duration::from_millis(2));
                }
                other => return other.map_err(|fault| explain(&self.path, fault)),
            }
        }
    }

    /// A panic in a transaction has rolled it back: the connection is as good as before.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a statement to its end, whatever it returns: some do a page at each step.
fn step(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

fn version_of(connection: &Connection) -> rusqlite::Result<u64> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // A negative one is nobody's: as good as one from the future.
    Ok(u64::try_from(version).unwrap_or(u64::MAX))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

/// Says on which file, and what to do.
fn explain(path: &Path, fault: Fault) -> Error {
    let error = match fault {
        Fault::Ours(error) => return error,
        Fault::Sql(error) => error,
    };
    if is_full(path, &error) {
        let source = Errno::ENOSPC.into();
        let path = path.to_path_buf();
        return Error::Full { path, source };
    }
    let damaged = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    );
    let hint = if damaged {
        ": put it back from a copy, or move the data root away and begin anew"
    } else {
        ""
    };
    let text = error.to_string().to_lowercase();
    Error::other(format_args!("{}: {text}{hint}", path.display()))
}

/// Tells whether the disk is full: SQLite says so of its files, but not of its shared memory, nor of a quota.
fn is_full(path: &Path, error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => true,
        Some(ErrorCode::SystemIoFailure) => match extended {
            Some(ffi::SQLITE_IOERR_SHMSIZE) => true,
            _ => sys::fs::open_path(path)
                .and_then(sys::fs::fstatvfs)
                .is_ok_and(|disk| disk.blocks_available() == 0),
        },
        _ => false,
    }
}

/// Returns a count as SQLite keeps it.
pub(crate) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads a count.
pub(crate) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// Reads a digest.
pub(crate) fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    parse(column, &row.get::<_, String>(column)?)
}

/// Reads a digest that need not be there.
pub(crate) fn digest_or_none(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Digest>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| parse(column, &text)).transpose()
}

fn parse(column: usize, text: &str) -> rusqlite::Result<Digest> {
    text.parse().map_err(|_| {
        let wrong = format!("{text:?} is not a digest");
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, kind, wrong.into())
    })
}
