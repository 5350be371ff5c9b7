//! Parallel work with results in order.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tch::Device;

use crate::compute::threads::{become_worker, workers};

/// Most jobs in flight per worker, handed over but not collected: one running, two queued, and two finished that wait for an
/// earlier one.
const AHEAD: usize = 5;

/// Sender of jobs to the workers.
#[derive(Debug)]
pub struct Jobs<Job> {
    sender: Sender<(usize, Job)>,
    /// One message for each further job that may be sent.
    room: Receiver<()>,
    sent: usize,
    over: Arc<AtomicBool>,
}

/// Error of a closed queue: a worker or the collector failed and reports the reason elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

impl<Job> Jobs<Job> {
    /// Sends the next job. Blocks until there is room for it.
    pub fn send(&mut self, job: Job) -> Result<(), Stopped> {
        self.room.recv().map_err(|_| Stopped)?;
        if self.is_over() {
            return Err(Stopped);
        }
        self.sender.send((self.sent, job)).map_err(|_| Stopped)?;
        self.sent += 1;
        Ok(())
    }

    /// Whether the queue is closed. A producer that blocks on something else polls this in between.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// Result of a job.
type Outcome<Done, Error> = thread::Result<Result<Done, Error>>;

/// Sets the flag when dropped, on any exit path.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs `make` on a new thread, `work` on the [`workers`] of a device, and `collect` on the calling thread, in the order of
/// the jobs.
///
/// The queue is bounded: `make` blocks when it is a few jobs per worker ahead of `collect`, so that results do not pile up
/// behind a slow job. The first error or panic in any of the three stops all of them; no further job starts. Of several
/// errors, that of the earliest job is returned; an error of `make` comes after those of all jobs that it had sent.
pub fn in_order<Job: Send, Done: Send, Error: Send>(
    device: Device,
    make: impl FnOnce(&mut Jobs<Job>) -> Result<(), Error> + Send,
    work: impl Fn(Job) -> Result<Done, Error> + Sync,
    collect: impl FnMut(Done) -> Result<(), Error>,
) -> Result<(), Error> {
    in_order_on(workers(device), make, work, collect)
}

fn in_order_on<Job: Send, Done: Send, Error: Send>(
    count: usize,
    make: impl FnOnce(&mut Jobs<Job>) -> Result<(), Error> + Send,
    work: impl Fn(Job) -> Result<Done, Error> + Sync,
    mut collect: impl FnMut(Done) -> Result<(), Error>,
) -> Result<(), Error> {
    let over = Arc::new(AtomicBool::new(false));
    let (free, room) = channel();
    for _ in 0..AHEAD * count {
        // Cannot fail: `room` exists.
        let _ = free.send(());
    }
    let (sender, jobs) = channel();
    let (done_sender, done) = channel();
    thread::scope(|scope| {
        // Stops `make` and the workers on every exit path of this closure.
        let (_ends, free) = (Ends(&over), free);
        let mut handing_over = Jobs { sender, room, sent: 0, over: Arc::clone(&over) };
        let making = scope.spawn(move || make(&mut handing_over));
        // Only the workers own the receiver. It is dropped when they end, so that `make` is not left waiting.
        let jobs: Arc<Mutex<Receiver<(usize, Job)>>> = Arc::new(Mutex::new(jobs));
        for _ in 0..count {
            let (jobs, done_sender, work, over) = (Arc::clone(&jobs), done_sender.clone(), &work, &over);
            scope.spawn(move || {
                let _no_grad = become_worker();
                while let Some((number, job)) = next(&jobs, over) {
                    // The state that a panicking job leaves behind is not read: the panic resumes in the collector.
                    let outcome: Outcome<Done, Error> = catch_unwind(AssertUnwindSafe(|| work(job)));
                    if !matches!(outcome, Ok(Ok(_))) {
                        over.store(true, Ordering::Release);
                    }
                    if done_sender.send((number, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop((jobs, done_sender));
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (number, outcome) in done {
            early.insert(number, outcome.unwrap_or_else(|panic: Box<dyn Any + Send>| resume_unwind(panic)));
            while let Some(result) = early.remove(&next) {
                collect(result?)?;
                next += 1;
                // Fails only if `make` has ended.
                let _ = free.send(());
            }
        }
        match making.join() {
            Ok(outcome) => outcome,
            Err(panic) => resume_unwind(panic),
        }
    })
}

/// The next job; `None` once the queue is closed. Jobs start in order, so that all jobs before a failed one have started.
fn next<Job>(jobs: &Mutex<Receiver<(usize, Job)>>, over: &AtomicBool) -> Option<(usize, Job)> {
    let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
    let next = jobs.recv().ok()?;
    (!over.load(Ordering::Acquire)).then_some(next)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    /// Sends numbers until the queue closes.
    #[expect(clippy::unnecessary_wraps, reason = "making jobs may fail")]
    fn until_closed(jobs: &mut Jobs<usize>) -> Result<(), &'static str> {
        let mut number = 0;
        while jobs.send(number).is_ok() {
            number += 1;
        }
        Ok(())
    }

    fn squares(count: u64, fail_at: Option<u64>) -> (Result<(), u64>, Vec<u64>) {
        let mut collected = Vec::new();
        let make = |jobs: &mut Jobs<u64>| {
            for number in 0..count {
                if jobs.send(number).is_err() {
                    return Ok(());
                }
            }
            Ok(())
        };
        let work = |number: u64| {
            // Later jobs finish sooner.
            thread::sleep(Duration::from_micros(97 * (7 - number % 7)));
            if fail_at.is_some_and(|fails| number >= fails) { Err(number) } else { Ok(number * number) }
        };
        let result = in_order(Device::Cpu, make, work, |square| {
            collected.push(square);
            Ok(())
        });
        (result, collected)
    }

    #[test]
    fn results_come_in_the_order_of_jobs() {
        let (result, collected) = squares(200, None);
        assert_eq!(result, Ok(()));
        assert!(collected.into_iter().eq((0..200).map(|number| number * number)));
    }

    #[test]
    fn the_error_of_the_earliest_job_ends_all() {
        let (result, collected) = squares(1000, Some(50));
        assert_eq!((result, collected.len()), (Err(50), 50));
    }

    #[test]
    fn an_error_of_collecting_or_making_ends_all() {
        let forever = |jobs: &mut Jobs<u64>| {
            while jobs.send(1).is_ok() {}
            Ok(())
        };
        assert_eq!(in_order(Device::Cpu, forever, Ok, |_| Err("full")), Err("full"));
        let broken = |jobs: &mut Jobs<u64>| jobs.send(1).map_err(|_| "stopped").and(Err("broken"));
        assert_eq!(in_order(Device::Cpu, broken, Ok, |_| Ok(())), Err("broken"));
    }

    #[test]
    fn a_late_first_job_does_not_let_the_others_pile_up() {
        let (count, done, most) = (4, AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |number: usize| {
            if number == 0 {
                // Waits until the workers are idle.
                let mut before = 0;
                loop {
                    thread::sleep(Duration::from_millis(50));
                    let now = done.load(Ordering::SeqCst);
                    if now == before && now > 0 || now > 10_000 {
                        break;
                    }
                    before = now;
                }
                most.store(before, Ordering::SeqCst);
            }
            done.fetch_add(1, Ordering::SeqCst);
            Ok(number)
        };
        let result =
            in_order_on(count, until_closed, work, |number| if number < 1000 { Ok(()) } else { Err("enough") });
        assert_eq!(result, Err("enough"));
        let most = most.into_inner();
        assert!(most < AHEAD * count, "{most} are buffered");
    }

    #[test]
    fn a_panic_or_an_error_ends_all_before_other_jobs_are_begun() {
        for panics in [true, false] {
            let begun = AtomicUsize::new(0);
            let work = |number: usize| {
                begun.fetch_add(1, Ordering::SeqCst);
                if panics && number == 3 {
                    resume_unwind(Box::new("in job 3"));
                }
                if number == 3 { Err("job 3") } else { Ok(number) }
            };
            let ended = catch_unwind(AssertUnwindSafe(|| in_order_on(2, until_closed, work, |_| Ok(()))));
            match ended {
                Ok(result) => assert!(!panics && result == Err("job 3")),
                Err(panic) => {
                    let words = panic.downcast_ref::<&str>();
                    assert!(panics && words == Some(&"in job 3"), "{words:?}");
                }
            }
            let begun = begun.into_inner();
            // Three were collected; at most `AHEAD` per worker may follow.
            assert!(begun <= 3 + AHEAD * 2, "{begun} jobs were begun");
        }
    }

    #[test]
    fn who_waits_for_something_else_learns_that_all_is_over() {
        // No job follows the first one: only polling reveals that it failed.
        let waiting = |jobs: &mut Jobs<usize>| {
            let _ = jobs.send(0);
            while !jobs.is_over() {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        };
        assert_eq!(in_order_on(2, waiting, |_| Err::<(), _>("failed"), |()| Ok(())), Err("failed"));
        assert_eq!(in_order_on(2, waiting, Ok, |_| Err("full")), Err("full"));
        let panics = |_| -> Result<usize, &str> { resume_unwind(Box::new("in the first job")) };
        catch_unwind(AssertUnwindSafe(|| in_order_on(2, waiting, panics, |_| Ok(())))).unwrap_err();
    }
}
