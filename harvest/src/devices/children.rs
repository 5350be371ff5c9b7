//! Child processes, one for each device, and their output.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write, read_to_string};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use hayloft_runtime::{Gauge, Progress};
use hayloft_store::Existing;
use serde::Deserialize;

use super::placement::placement;
use crate::error::HarvestError;
use crate::run::{Filled, RunSettings, asked_shards, open, prepare, summary};
use crate::summary::RunSummary;

/// Interval between checks of the processes.
const LOOK: Duration = Duration::from_millis(100);

/// Time that a process may take to clean up after a stop request.
const PATIENCE: Duration = Duration::from_secs(30);

/// The child program, with the arguments that all children share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// `run` and its arguments.
    pub arguments: Vec<OsString>,
    /// Total threads of all processes; by default all processors.
    pub threads: Option<usize>,
}

impl Program {
    /// Options of `harvest run` with a value that the parent sets. Includes those of the plan, which exists by then.
    const WITH_VALUE: [&str; 7] =
        ["--device", "--threads", "--processors", "--data", "--data-root", "--shard-tokens", "--row-group-rows"];
    /// Such options without a value.
    const ALONE: [&str; 4] = ["--resume", "--share", "--json", "--stop-on-eof"];

    /// This program with its arguments, less the options that the parent sets.
    pub fn this(arguments: impl IntoIterator<Item = OsString>, threads: Option<usize>) -> std::io::Result<Self> {
        let mut kept = Vec::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy();
            let name = text.split_once('=').map_or(text.as_ref(), |(name, _)| name);
            if Self::WITH_VALUE.contains(&name) {
                if !text.contains('=') {
                    arguments.next();
                }
            } else if !Self::ALONE.contains(&name) && name != "--profile" {
                kept.push(argument);
            }
        }
        Ok(Self { path: std::env::current_exe()?, arguments: kept, threads })
    }
}

/// A line of progress, as [`Progress::Json`] writes it.
#[derive(Deserialize)]
struct Line {
    progress: LineProgress,
}

#[derive(Deserialize)]
struct LineProgress {
    done: u64,
}

/// A child process.
struct Worker<'scope> {
    device: String,
    child: Child,
    /// Standard input; closing it stops the process.
    input: Option<ChildStdin>,
    /// Readers of stderr and stdout.
    heard: Option<(ScopedJoinHandle<'scope, String>, ScopedJoinHandle<'scope, String>)>,
}

/// Fills a cache with one process for each device. Plans the cache first if it has no plan. The bytes equal those of a
/// single process.
///
/// # Errors
///
/// Those of [`run`](crate::run()); [`HarvestError::Device`] with the last error of a failed process, after the others
/// have stopped.
pub fn run_on_devices(
    settings: &RunSettings,
    devices: &[String],
    program: &Program,
    progress: Progress,
) -> Result<RunSummary, HarvestError> {
    let prepared = prepare(settings, progress)?;
    // Checks that the cache may be filled before any process starts, and removes leftovers of dead processes.
    let (is_over, tokens) = {
        let cache = open(settings, prepared.cache_settings.clone())?;
        let queue = cache.queue(asked_shards(settings, &cache)?)?;
        (queue.is_over(), queue.tokens())
    };
    let start = Instant::now();
    let filled = if is_over {
        Filled::default()
    } else {
        fill(settings, devices, program, &progress.gauge("harvested", Some(tokens)))?
    };
    let seconds = start.elapsed().as_secs_f64();
    let resumed = RunSettings { existing: Existing::Resume, ..settings.clone() };
    let cache = open(&resumed, prepared.cache_settings)?;
    let planned_shards = cache.plan().shards.len();
    Ok(summary(settings, planned_shards, &cache.finish()?, &filled, seconds))
}

/// Runs the processes until all have succeeded, and sums their work.
fn fill(settings: &RunSettings, devices: &[String], program: &Program, gauge: &Gauge) -> Result<Filled, HarvestError> {
    let places = placement(devices);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = program.threads.unwrap_or(cores).div_ceil(devices.len());
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for (device, place) in devices.iter().zip(places) {
            let mut command = Command::new(&program.path);
            command.args(&program.arguments).args(["--share", "--json", "--stop-on-eof", "--device"]).arg(device);
            command.args(["--threads", &threads.to_string()]);
            if let Some(place) = place {
                command.args(["--processors", &place.to_string()]);
            }
            command.env("HAYLOFT_PROGRESS", "json").env("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(cause) => {
                    stop(&mut workers);
                    let said = format!("its process cannot be started: {cause}");
                    return Err(HarvestError::Device { device: device.clone(), said });
                }
            };
            let (input, said, printed) = (child.stdin.take(), child.stderr.take(), child.stdout.take());
            let listening = scope.spawn(move || said.map_or_else(String::new, |said| listen(device, said, gauge)));
            let reading = scope.spawn(move || printed.and_then(|from| read_to_string(from).ok()).unwrap_or_default());
            workers.push(Worker { device: device.clone(), child, input, heard: Some((listening, reading)) });
        }
        watch(settings, &mut workers)
    })
}

/// Waits for all processes. If one fails or a stop is requested, stops the others.
fn watch(settings: &RunSettings, workers: &mut [Worker<'_>]) -> Result<Filled, HarvestError> {
    let mut filled = Filled::default();
    let mut failure = None;
    while workers.iter().any(|worker| worker.heard.is_some()) && failure.is_none() {
        if settings.stopping.is_asked() {
            failure = Some(HarvestError::Stopped);
        }
        for worker in workers.iter_mut().filter(|worker| worker.heard.is_some()) {
            let Some(status) = worker.child.try_wait().ok().flatten() else { continue };
            let Some((said, printed)) = worker.heard.take() else { continue };
            let (said, printed) = (said.join().unwrap_or_default(), printed.join().unwrap_or_default());
            if status.success() {
                filled.add_printed(&printed);
            } else {
                let said = if said.is_empty() { format!("its process ended with {status}") } else { said };
                failure.get_or_insert(HarvestError::Device { device: worker.device.clone(), said });
            }
        }
        thread::sleep(LOOK);
    }
    stop(workers);
    failure.map_or(Ok(filled), Err)
}

/// Stops the remaining processes, and kills those that do not end in time.
fn stop(workers: &mut [Worker<'_>]) {
    for worker in &mut *workers {
        drop(worker.input.take());
    }
    let start = Instant::now();
    for worker in workers {
        while worker.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if start.elapsed() > PATIENCE {
                // The process may have ended just now.
                let _ = worker.child.kill();
                let _ = worker.child.wait();
                break;
            }
            thread::sleep(LOOK);
        }
    }
}

/// Reads a process's stderr. Progress goes to the shared gauge, other lines to stderr with the device's name as prefix.
/// Returns the last error.
fn listen(device: &str, said: impl Read, gauge: &Gauge) -> String {
    let (mut error, mut done) = (String::new(), 0);
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        if let Ok(Line { progress }) = serde_json::from_str(&line) {
            gauge.advance(progress.done.saturating_sub(done));
            done = done.max(progress.done);
        } else if let Some(words) = line.strip_prefix("error: ") {
            words.clone_into(&mut error);
        } else if !line.is_empty() {
            // If stderr is closed, the line is lost.
            let _ = writeln!(std::io::stderr().lock(), "{device}: {line}");
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_told_what_the_parent_was_but_for_their_own_part() {
        let words = "run --model m --data d.toml --out c --site s --device cuda:0,cuda:1 --threads=8 --resume --json \
                     --profile=p.json --codec raw --shard-tokens 100 --shards 0..4";
        let program = Program::this(words.split_whitespace().map(OsString::from), Some(8)).unwrap();
        let expected: Vec<OsString> =
            "run --model m --out c --site s --codec raw --shards 0..4".split_whitespace().map(OsString::from).collect();
        assert_eq!(program.arguments, expected);
    }

    #[test]
    fn progress_is_added_up_and_the_last_error_is_kept() {
        let gauge = Progress::Silent.gauge("harvested", Some(10));
        let said = "{\"progress\":{\"doing\":\"harvested\",\"unit\":\"tokens\",\"done\":4,\"total\":8}}\n\
                    {\"progress\":{\"doing\":\"harvested\",\"unit\":\"tokens\",\"done\":8,\"total\":null}}\n\
                    error: the disk is full\n";
        assert_eq!(listen("cpu", said.as_bytes(), &gauge), "the disk is full");
    }
}
