//! The threads that read, and waiting for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::Failure;

/// How often a thread that waits looks for Ctrl-C.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// The threads of a process. A process that was forked from one with threads has none of them, and makes its own.
static POOL: RwLock<Option<(u32, Arc<ThreadPool>)>> = RwLock::new(None);

/// The threads of this process, as many as `RAYON_NUM_THREADS` says or the machine has cores.
///
/// No lock is waited for: in a child process it may be held by a thread that does not exist there.
pub(crate) fn pool() -> Result<Arc<ThreadPool>, Failure> {
    let process = std::process::id();
    if let Ok(held) = POOL.try_read()
        && let Some((of, pool)) = held.as_ref()
        && *of == process
    {
        return Ok(Arc::clone(pool));
    }
    let built = ThreadPoolBuilder::new().thread_name(|index| format!("hayloft-{index}")).build();
    let built = Arc::new(built.map_err(|error| Failure::new("io", format!("cannot start threads: {error}")))?);
    if let Ok(mut held) = POOL.try_write() {
        let before = held.replace((process, Arc::clone(&built)));
        // To end the threads of another process is to wait for what cannot end.
        std::mem::forget(before.filter(|(of, _)| *of != process));
    }
    Ok(built)
}

/// Runs `work` on the threads of this process without Python's lock, and returns its result. On Ctrl-C the exception is
/// raised at once, and `work` finds its argument true.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool) -> Result<T, Failure> + Send + 'static,
) -> PyResult<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, mut results) = sync_channel(1);
    let flag = Arc::clone(&stop);
    pool()?.spawn(move || {
        let done = catch_unwind(AssertUnwindSafe(|| work(&flag))).unwrap_or_else(|_| Err(Failure::internal()));
        // Without a receiver the wait was interrupted.
        let _ = sender.send(done);
    });
    loop {
        let result;
        (results, result) = py.detach(move || {
            let result = results.recv_timeout(POLL);
            (results, result)
        });
        match result {
            Ok(done) => return Ok(done?),
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::internal().into()),
            Err(RecvTimeoutError::Timeout) => {
                py.check_signals().inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            }
        }
    }
}

/// Returns an error if the reading was interrupted.
pub(crate) fn go_on(stop: &AtomicBool) -> Result<(), Failure> {
    if stop.load(Ordering::Relaxed) { Err(Failure::stopped()) } else { Ok(()) }
}
