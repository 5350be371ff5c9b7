//! Runs tasks in parallel.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::error::{Result, StoreError};

/// Runs `work` on every task, `jobs` at a time, started in order. After an error no further task starts, and the first error
/// is returned.
pub(crate) fn in_parallel<T: Sync>(jobs: usize, tasks: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<StoreError>> = Mutex::new(None);
    let go = || {
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(task) {
                next.store(tasks.len(), Ordering::Relaxed);
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.clamp(1, tasks.len().max(1)) {
            scope.spawn(go);
        }
        go();
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_and_an_error_stops_the_rest() {
        let tasks: Vec<usize> = (0..100).collect();
        for jobs in [0, 1, 7, 1000] {
            let done: Vec<AtomicUsize> = tasks.iter().map(|_| AtomicUsize::new(0)).collect();
            in_parallel(jobs, &tasks, |&task| {
                done[task].fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .unwrap();
            assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
        let error = in_parallel(1, &tasks, |&task| {
            assert!(task <= 5, "nothing is begun after a failure");
            if task == 5 { Err(StoreError::invalid("task", "another", task)) } else { Ok(()) }
        });
        assert!(error.unwrap_err().to_string().contains("got 5"));
    }
}
