//! Work shared out among workers, its results in order.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tch::Device;

use crate::threads::{become_worker, workers};

/// Jobs that wait for each worker. One more may be on its way from whoever makes them.
const WAITING: usize = 2;

/// Takes jobs for the workers.
#[derive(Debug)]
pub struct Jobs<Job> {
    sender: SyncSender<(usize, Job)>,
    sent: usize,
}

/// That nobody does jobs any more: a worker or whoever collects has failed, and says why elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

impl<Job> Jobs<Job> {
    /// Hands over the next job, once there is room for it.
    pub fn send(&mut self, job: Job) -> Result<(), Stopped> {
        self.sender.send((self.sent, job)).map_err(|_| Stopped)?;
        self.sent += 1;
        Ok(())
    }
}

/// Makes jobs on a thread of its own, does them on the [`workers`] of a device, and collects what comes of them on the
/// calling thread, in the order of the jobs.
///
/// Bounded: a few jobs wait for each worker, and `make` waits where there are more. The first error, of any of the three,
/// ends all of them; of several, that of the earliest job is returned, and one of `make` after those of all jobs that it
/// had handed over.
pub fn in_order<Job: Send, Done: Send, Error: Send>(
    device: Device,
    make: impl FnOnce(&mut Jobs<Job>) -> Result<(), Error> + Send,
    work: impl Fn(Job) -> Result<Done, Error> + Sync,
    mut collect: impl FnMut(Done) -> Result<(), Error>,
) -> Result<(), Error> {
    let count = workers(device);
    let (sender, jobs) = sync_channel(WAITING * count);
    let (done_sender, done) = sync_channel(WAITING * count);
    thread::scope(|scope| {
        let making = scope.spawn(move || make(&mut Jobs { sender, sent: 0 }));
        // Owned by the workers alone, so that it is gone when they are, and `make` is not left waiting.
        let jobs: Arc<Mutex<Receiver<(usize, Job)>>> = Arc::new(Mutex::new(jobs));
        for _ in 0..count {
            let (jobs, done_sender, work) = (Arc::clone(&jobs), done_sender.clone(), &work);
            scope.spawn(move || {
                let _no_grad = become_worker();
                loop {
                    let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, job)) = next else { return };
                    if done_sender.send((number, work(job))).is_err() {
                        return;
                    }
                }
            });
        }
        drop((jobs, done_sender));
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (number, result) in done {
            early.insert(number, result);
            while let Some(result) = early.remove(&next) {
                collect(result?)?;
                next += 1;
            }
        }
        match making.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
            // Later jobs are done sooner.
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
}
