//! A cache that Python objects share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hayloft_store::{Cache, Location, RemoteOptions, Tokens};

use crate::error::Failure;

/// A cache that Python objects share.
#[derive(Debug)]
pub(crate) struct Opened {
    cache: Arc<Cache>,
    /// The folder or location.
    pub(crate) place: PathBuf,
    is_remote: bool,
    /// The process that opened it.
    process: u32,
    is_closed: AtomicBool,
    /// The tables of the shard whose sequence was read last, with its place.
    last_shard: Mutex<Option<(usize, Arc<ShardTables>)>>,
}

/// Tokens and losses of a shard.
#[derive(Debug)]
pub(crate) struct ShardTables {
    pub(crate) tokens: Tokens,
    /// None without predictions.
    pub(crate) losses: Option<Vec<f32>>,
}

impl Opened {
    /// Opens the cache in a folder or at a location.
    pub(crate) fn at(place: PathBuf, options: &RemoteOptions) -> Result<Self, Failure> {
        Ok(Self {
            cache: Arc::new(Cache::open_at(&place, options)?),
            is_remote: Location::of_place(&place)?.is_some(),
            place,
            process: std::process::id(),
            is_closed: AtomicBool::new(false),
            last_shard: Mutex::default(),
        })
    }

    /// Closes the cache for all objects.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Whether the cache was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// The cache, unless it was closed.
    pub(crate) fn cache(&self) -> Result<&Arc<Cache>, Failure> {
        let place = self.place.display();
        if self.is_closed() {
            let message = format!("{place}: expected an open cache, got one that was closed. Open it again");
            return Err(Failure::new("closed", message));
        }
        if self.is_remote && self.process != std::process::id() {
            let message = format!(
                "{place}: expected to be read by the process that opened it, got one that was forked from it and has \
                 no connections. Open the cache in that process, or start processes with the method spawn"
            );
            return Err(Failure::new("forked", message));
        }
        Ok(&self.cache)
    }

    /// The tables of the shard at an index into the manifest's list. Those read last are kept.
    pub(crate) fn tables(&self, place: usize) -> Result<Arc<ShardTables>, Failure> {
        if let Ok(last) = self.last_shard.try_lock()
            && let Some((of, tables)) = last.as_ref()
            && *of == place
        {
            return Ok(Arc::clone(tables));
        }
        let shard = self.cache()?.shard(place)?;
        let table = shard.token_table()?;
        let losses = table.predictions_without_top()?.map(|predictions| predictions.loss);
        let tables = Arc::new(ShardTables { tokens: table.tokens()?, losses });
        if let Ok(mut last) = self.last_shard.try_lock() {
            *last = Some((place, Arc::clone(&tables)));
        }
        Ok(tables)
    }
}
