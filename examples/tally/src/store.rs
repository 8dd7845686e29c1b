//! The store: one SQLite file for all nodes, with a fence for each shard.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use funk::id::{Epoch, ShardId};
use rusqlite::{Connection, OptionalExtension, Result, TransactionBehavior, params};

/// `fences` has the newest epoch of each shard, `added` each addition, so that one that is sent again counts once.
const SCHEMA: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS fences (shard INTEGER PRIMARY KEY, epoch INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS totals (key TEXT PRIMARY KEY, shard INTEGER NOT NULL, total INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS added (id TEXT PRIMARY KEY, total INTEGER NOT NULL);";

/// Totals by key.
#[derive(Debug)]
pub struct Store(Mutex<Connection>);

impl Store {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps all previous owners of a shard out.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn raise(&self, shard: ShardId, epoch: Epoch) -> Result<()> {
        let raise = "INSERT INTO fences VALUES (?1, ?2)
            ON CONFLICT (shard) DO UPDATE SET epoch = max(epoch, excluded.epoch)";
        self.connection().execute(raise, params![shard.0, epoch.0.cast_signed()]).map(drop)
    }

    /// The totals of a shard.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn load(&self, shard: ShardId) -> Result<BTreeMap<String, i64>> {
        let connection = self.connection();
        let mut rows = connection.prepare_cached("SELECT key, total FROM totals WHERE shard = ?1")?;
        rows.query_map([shard.0], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    /// Adds to a total. `None`: the shard has a newer owner.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn add(&self, shard: ShardId, epoch: Epoch, key: &str, amount: i64, id: &str) -> Result<Option<i64>> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let fence = "SELECT epoch FROM fences WHERE shard = ?1";
        let fence: Option<i64> = transaction.query_row(fence, [shard.0], |row| row.get(0)).optional()?;
        if fence != Some(epoch.0.cast_signed()) {
            return Ok(None);
        }
        let before = "SELECT total FROM added WHERE id = ?1";
        if let Some(total) = transaction.query_row(before, [id], |row| row.get(0)).optional()? {
            return Ok(Some(total));
        }
        let add = "INSERT INTO totals VALUES (?1, ?2, ?3)
            ON CONFLICT (key) DO UPDATE SET total = total + excluded.total RETURNING total";
        let total: i64 = transaction.query_row(add, params![key, shard.0, amount], |row| row.get(0))?;
        transaction.execute("INSERT INTO added VALUES (?1, ?2)", params![id, total])?;
        transaction.commit()?;
        Ok(Some(total))
    }
}
