//! Workers over all targets, and what became of them.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use crate::report::Message;
use crate::worker::{TOO_LONG, save};
use crate::{FailureReport, Target, TargetReport};

/// What to run.
#[derive(Debug)]
pub struct Campaign {
    /// The readers.
    pub targets: Vec<&'static Target>,
    /// How long, over all of them.
    pub time: Duration,
    /// What inputs depend on.
    pub seed: u64,
    /// Targets that run at the same time.
    pub workers: usize,
    /// The folder that gets a folder for each target that fails.
    pub failures: PathBuf,
}

/// A worker that keeps failing is given up after this many ends.
const MOST_ENDS: usize = 20;

/// Runs every target for its part of the time.
///
/// # Errors
/// Where a worker cannot be started, or a file not be written. Failing inputs are in the reports.
pub fn campaign(campaign: &Campaign) -> Result<Vec<TargetReport>> {
    let shared_memory = Path::new("/dev/shm");
    let scratch = if shared_memory.is_dir() { TempDir::new_in(shared_memory) } else { TempDir::new() };
    let scratch = scratch.context("a temporary folder")?;
    let each = campaign.time.mul_f64(campaign.workers as f64 / campaign.targets.len().max(1) as f64);
    let each = each.min(campaign.time);
    let next = AtomicUsize::new(0);
    let reports: Mutex<Vec<(usize, Result<TargetReport>)>> = Mutex::default();
    let bar = ProgressBar::new(campaign.targets.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("fuzz [{bar:30}] {pos}/{len} targets, {msg}, ETA {eta}") {
        bar.set_style(style);
    }
    std::thread::scope(|scope| {
        for _ in 0..campaign.workers {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(target) = campaign.targets.get(place) else { break };
                    bar.set_message(target.name);
                    let report = Runs { campaign, target, scratch: scratch.path(), each }.run();
                    reports.lock().unwrap_or_else(PoisonError::into_inner).push((place, report));
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|(place, _)| *place);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// The workers of one target: one, and another after each that did not survive.
struct Runs<'a> {
    campaign: &'a Campaign,
    target: &'static Target,
    scratch: &'a Path,
    each: Duration,
}

impl Runs<'_> {
    fn run(&self) -> Result<TargetReport> {
        let start = Instant::now();
        let mut report =
            TargetReport { target: self.target.name, executions: 0, per_second: 0.0, inputs: 0, failures: Vec::new() };
        let current = self.scratch.join(self.target.name);
        let failures = self.campaign.failures.join(self.target.name);
        for end in 0..MOST_ENDS {
            let left = self.each.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            let child = self.start(end as u64, left, &current, &failures)?;
            let (status, said) = follow(child, &mut report)?;
            if status.success() {
                break;
            }
            let input = std::fs::read(&current).unwrap_or_default();
            let file = save(&failures, &input)?;
            report.failures.push(FailureReport { file, problem: ended(status, &said) });
        }
        report.per_second = report.executions as f64 / start.elapsed().as_secs_f64().max(f64::EPSILON);
        Ok(report)
    }

    fn start(&self, end: u64, left: Duration, current: &Path, failures: &Path) -> Result<Child> {
        // Workers after the first go other ways than those that ended it.
        let seed = self.campaign.seed.wrapping_add(end.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let program = std::env::current_exe().context("this program's own path")?;
        Command::new(&program)
            .args(["--work", self.target.name, "--seed", &seed.to_string()])
            .args(["--seconds", &left.as_secs_f64().to_string()])
            .arg("--current")
            .arg(current)
            .arg("--failures")
            .arg(failures)
            .env("TMPDIR", self.scratch)
            // One thread a worker: the next target has the other cores.
            .env("RAYON_NUM_THREADS", "1")
            .env("OMP_NUM_THREADS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}", program.display()))
    }
}

/// Takes in what a worker says until it ends; gives how it ended and the last of its stderr.
fn follow(mut child: Child, report: &mut TargetReport) -> Result<(ExitStatus, String)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let last_words = std::thread::spawn(move || {
        let mut said = Vec::new();
        // What cannot be read was not said.
        let _ = stderr.map(|mut stderr| stderr.read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    });
    let before = report.executions;
    for line in BufReader::new(stdout.context("a worker's stdout")?).lines() {
        match serde_json::from_str(&line?)? {
            Message::Progress { executions, inputs } => {
                report.executions = before + executions;
                report.inputs = inputs;
            }
            Message::Failure(failure) => report.failures.push(failure),
        }
    }
    let status = child.wait()?;
    Ok((status, last_words.join().unwrap_or_default()))
}

fn ended(status: ExitStatus, said: &str) -> String {
    /// The last words of a worker that overflowed its stack or its memory are short.
    const LINES: usize = 3;
    if status.code() == Some(TOO_LONG) {
        return "took too long".to_owned();
    }
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    format!("{status}: {}", lines[lines.len().saturating_sub(LINES)..].join(" "))
}
