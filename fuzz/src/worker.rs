//! The process that runs inputs, one after another, until its time is up.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand_pcg::Pcg64;

use crate::pool::Pool;
use crate::report::Message;
use crate::{Failure, FailureReport, Target, corpus, corpus_folder, guarded};

/// How a worker ends that was stopped by its watchdog.
pub(crate) const TOO_LONG: i32 = 3;

/// The longest that an input may take, on a machine that does much else.
const LONGEST: Duration = Duration::from_secs(20);

/// Inputs saved for each place that panics.
const MOST_OF_A_KIND: u32 = 2;

const TELL_EVERY: Duration = Duration::from_millis(250);

/// What a worker is to do.
#[derive(Debug)]
pub struct Work {
    /// The reader.
    pub target: &'static Target,
    /// What inputs depend on.
    pub seed: u64,
    /// How long.
    pub time: Duration,
    /// The file that holds the input being run.
    pub current: PathBuf,
    /// Where failing inputs are saved.
    pub failures: PathBuf,
}

/// Runs inputs and tells `parent` of them.
///
/// # Errors
/// Where the corpus cannot be read, or a file not be written.
pub fn work(work: &Work, parent: &mut dyn Write) -> Result<()> {
    let mut random = Pcg64::seed_from_u64(work.seed);
    let mut pool = Pool::default();
    let current = File::create(&work.current).with_context(|| format!("{}", work.current.display()))?;
    let watchdog = Watchdog::start();
    let mut told = Instant::now();
    let start = Instant::now();
    let mut panics: HashMap<String, u32> = HashMap::new();
    let mut executions = 0;
    let mut run = |input: &[u8], pool: &mut Pool, parent: &mut dyn Write| -> Result<()> {
        current.set_len(0)?;
        current.write_all_at(input, 0)?;
        watchdog.begin();
        let ran = guarded(work.target, input);
        watchdog.end();
        executions += 1;
        match ran {
            Ok(outcome) => pool.learn(input, &outcome),
            Err(failure) => {
                let seen = panics.entry(failure.place.clone()).or_default();
                *seen += 1;
                if *seen <= MOST_OF_A_KIND {
                    let file = save(&work.failures, input)?;
                    say(parent, &Message::Failure(FailureReport { file, problem: in_words(&failure) }))?;
                }
            }
        }
        if told.elapsed() > TELL_EVERY {
            told = Instant::now();
            say(parent, &Message::Progress { executions, inputs: pool.len() })?;
        }
        Ok(())
    };
    for seed in corpus::inputs(&corpus_folder(), work.target)? {
        run(&seed.bytes, &mut pool, parent)?;
        pool.add_seed(seed.bytes);
    }
    while start.elapsed() < work.time {
        let input = pool.next(&mut random);
        run(&input, &mut pool, parent)?;
    }
    say(parent, &Message::Progress { executions, inputs: pool.len() })
}

fn in_words(failure: &Failure) -> String {
    format!("panicked at {}: {}", failure.place, failure.message)
}

fn say(parent: &mut dyn Write, message: &Message) -> Result<()> {
    let line = serde_json::to_string(message)?;
    writeln!(parent, "{line}").and_then(|()| parent.flush()).context("the campaign is gone")
}

/// Saves an input under a name that says what is in it.
pub(crate) fn save(folder: &Path, input: &[u8]) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    let file = folder.join(&hayloft_store::fuzzing::blake3(input)[..16]);
    fs::write(&file, input).with_context(|| format!("{}", file.display()))?;
    Ok(file)
}

/// Ends the process when an input takes too long.
struct Watchdog {
    /// Milliseconds from the start of the process to that of the input; 0 between inputs.
    since: Arc<AtomicU64>,
    start: Instant,
}

impl Watchdog {
    fn start() -> Self {
        let (since, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let watched = Arc::clone(&since);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(TELL_EVERY);
                let since = watched.load(Ordering::Relaxed);
                if since > 0 && start.elapsed() > Duration::from_millis(since) + LONGEST {
                    std::process::exit(TOO_LONG);
                }
            }
        });
        Self { since, start }
    }

    fn begin(&self) {
        self.since.store(self.start.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
    }
}
