//! Progress reports: a bar on a terminal, periodic log events elsewhere.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How to report progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// No reports, for use as a library.
    Silent,
    /// A bar on stderr.
    Bar,
    /// A `tracing` event every ten seconds.
    Events,
    /// JSON lines on stderr for a parent program, one a second and one at the end:
    /// `{"progress":{"doing":"harvested","unit":"tokens","done":4096,"total":65536}}`. `total` is null if unknown.
    Json,
}

/// Work shorter than this shows no bar.
const QUIET: Duration = Duration::from_secs(2);

const EVENT_EVERY: Duration = Duration::from_secs(10);

const JSON_EVERY: Duration = Duration::from_secs(1);

/// The environment variable that selects machine-readable progress. Its one value is `json`.
const VARIABLE: &str = "HAYLOFT_PROGRESS";

const KNOWN_TOTAL: &str = "{prefix} [{bar:30}] {human_pos}/{human_len} tokens, {speed}, {msg}ETA {eta}";
const UNKNOWN_TOTAL: &str = "{prefix} {human_pos} tokens, {speed} {msg}";
const KNOWN_LATENTS: &str = "{prefix} [{bar:30}] {human_pos}/{human_len} latents, ETA {eta}";
const UNKNOWN_LATENTS: &str = "{prefix} {human_pos} latents";
const KNOWN_BYTES: &str = "{prefix} [{bar:30}] {bytes}/{total_bytes}, {bytes_per_sec}, {msg}ETA {eta}";
const UNKNOWN_BYTES: &str = "{prefix} {bytes}, {bytes_per_sec} {msg}";

/// The unit of a gauge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Tokens,
    Latents,
    Bytes,
}

impl Progress {
    /// A bar if stderr is a terminal, events if it is a file or a pipe, JSON if `HAYLOFT_PROGRESS=json`.
    pub fn on_stderr() -> Self {
        if std::env::var(VARIABLE).is_ok_and(|kind| kind == "json") {
            return Self::Json;
        }
        if std::io::stderr().is_terminal() { Self::Bar } else { Self::Events }
    }

    /// Starts a gauge over tokens. `total` is `None` if unknown.
    pub fn gauge(self, doing: &'static str, total: Option<u64>) -> Gauge {
        self.gauge_of(Unit::Tokens, doing, total)
    }

    /// Starts a gauge over latents. `total` is `None` if unknown.
    pub fn latents(self, doing: &'static str, total: Option<u64>) -> Gauge {
        self.gauge_of(Unit::Latents, doing, total)
    }

    /// Starts a gauge over bytes. `total` is `None` if unknown.
    pub fn bytes(self, doing: &'static str, total: Option<u64>) -> Gauge {
        self.gauge_of(Unit::Bytes, doing, total)
    }

    fn gauge_of(self, unit: Unit, doing: &'static str, total: Option<u64>) -> Gauge {
        let template = match (unit, total) {
            (Unit::Tokens, Some(_)) => KNOWN_TOTAL,
            (Unit::Tokens, None) => UNKNOWN_TOTAL,
            (Unit::Latents, Some(_)) => KNOWN_LATENTS,
            (Unit::Latents, None) => UNKNOWN_LATENTS,
            (Unit::Bytes, Some(_)) => KNOWN_BYTES,
            (Unit::Bytes, None) => UNKNOWN_BYTES,
        };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()).with_style(style(template));
        bar.set_prefix(doing);
        let now = Instant::now();
        let [before, done, removed, bytes] = [const { AtomicU64::new(0) }; 4];
        let (last_event, note) = (Mutex::new(now), Mutex::default());
        Gauge { progress: self, unit, doing, total, bar, start: now, last_event, note, before, done, removed, bytes }
    }
}

/// Progress of one piece of work. Threads may share it. Dropping it clears the bar.
#[derive(Debug)]
pub struct Gauge {
    progress: Progress,
    unit: Unit,
    doing: &'static str,
    total: Option<u64>,
    bar: ProgressBar,
    start: Instant,
    last_event: Mutex<Instant>,
    /// Status text that no event has reported yet.
    note: Mutex<String>,
    /// Work done before this gauge started.
    before: AtomicU64,
    done: AtomicU64,
    removed: AtomicU64,
    bytes: AtomicU64,
}

impl Gauge {
    /// Adds `more` tokens or bytes to the work done.
    pub fn advance(&self, more: u64) {
        let done = self.done.fetch_add(more, Ordering::Relaxed) + more;
        match self.progress {
            Progress::Silent => {}
            Progress::Bar => {
                if self.bar.is_hidden() && self.start.elapsed() > QUIET {
                    self.bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                self.bar.inc(more);
            }
            Progress::Events => self.log_event(done),
            Progress::Json => self.print_json(JSON_EVERY),
        }
    }

    /// Adds work that an earlier run did. It counts as done but not towards the rate.
    pub fn resume(&self, done: u64) {
        self.before.fetch_add(done, Ordering::Relaxed);
        let done = self.done.fetch_add(done, Ordering::Relaxed) + done;
        self.bar.set_position(done);
        self.bar.reset_eta();
    }

    /// Subtracts work that turned out to be unnecessary from the total.
    pub fn shrink_total(&self, less: u64) {
        self.removed.fetch_add(less, Ordering::Relaxed);
        if self.total.is_some() {
            self.bar.dec_length(less);
        }
    }

    /// Adds to the number of bytes written.
    pub fn wrote(&self, bytes: u64) {
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bar.set_message(Cow::from(format!("{} written, ", HumanBytes(bytes))));
    }

    /// Sets a status text. It names the moment that it describes and ends in a comma and a space. A bar shows it until the
    /// next call; one event reports it.
    pub fn note(&self, words: String) {
        self.bar.set_message(words.clone());
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }

    /// Writes a JSON line, unless the last one is younger than `every`.
    fn print_json(&self, every: Duration) {
        let mut last_event = self.last_event.lock().unwrap_or_else(PoisonError::into_inner);
        if last_event.elapsed() < every {
            return;
        }
        *last_event = Instant::now();
        let removed = self.removed.load(Ordering::Relaxed);
        let line = serde_json::json!({ "progress": {
            "doing": self.doing,
            "unit": match self.unit {
                Unit::Tokens => "tokens",
                Unit::Latents => "latents",
                Unit::Bytes => "bytes",
            },
            "done": self.done.load(Ordering::Relaxed),
            "total": self.total.map(|total| total.saturating_sub(removed)),
        }});
        // A closed stderr is ignored.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    fn log_event(&self, done: u64) {
        let mut last_event = self.last_event.lock().unwrap_or_else(PoisonError::into_inner);
        if last_event.elapsed() < EVENT_EVERY {
            return;
        }
        *last_event = Instant::now();
        let per_second = self.per_second(done, self.start.elapsed());
        let of = self.total.map(|total| total.saturating_sub(self.removed.load(Ordering::Relaxed)));
        let eta = of.map(|total| left(total.saturating_sub(done), per_second));
        let per_second = per_second.round();
        let note = self.take_note();
        match self.unit {
            Unit::Tokens => {
                let bytes_written = Some(self.bytes.load(Ordering::Relaxed)).filter(|&bytes| bytes > 0);
                let tokens_per_second = per_second;
                tracing::info!(tokens = done, of, tokens_per_second, bytes_written, eta, "{note}{}", self.doing);
            }
            Unit::Latents => {
                tracing::info!(latents = done, of, latents_per_second = per_second, eta, "{note}{}", self.doing);
            }
            Unit::Bytes => tracing::info!(bytes = done, of, bytes_per_second = per_second, eta, "{note}{}", self.doing),
        }
    }

    /// Rate of the work that this gauge has seen, per second.
    fn per_second(&self, done: u64, elapsed: Duration) -> f64 {
        done.saturating_sub(self.before.load(Ordering::Relaxed)) as f64 / elapsed.as_secs_f64()
    }

    /// Takes the status text that no event has reported yet.
    fn take_note(&self) -> String {
        std::mem::take(&mut self.note.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if self.progress == Progress::Json {
            self.print_json(Duration::ZERO);
        }
    }
}

/// A bar style. Templates are constants of this file; an invalid one falls back to indicatif's default.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).with_key(
        "speed",
        |state: &ProgressState, writer: &mut dyn std::fmt::Write| {
            // A failure to draw the bar is ignored.
            let _ = write!(writer, "{} tokens/s", HumanCount(state.per_sec() as u64));
        },
    )
}

/// Remaining time, in words.
fn left(amount: u64, per_second: f64) -> String {
    let seconds = Duration::try_from_secs_f64(amount as f64 / per_second);
    seconds.map_or_else(|_| "unknown".to_owned(), |seconds| HumanDuration(seconds).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_time_is_written_in_words() {
        assert_eq!(left(6000, 100.0), "60 seconds");
        assert_eq!(left(6000, 0.0), "unknown");
        assert_eq!(left(0, 0.0), "unknown");
    }

    #[test]
    fn a_note_is_shown_once() {
        let gauge = Progress::Silent.gauge("training", Some(100));
        assert_eq!(gauge.take_note(), "");
        gauge.note("step 10: loss 2, ".to_owned());
        gauge.note("step 20: loss 1, ".to_owned());
        assert_eq!(gauge.take_note(), "step 20: loss 1, ");
        assert_eq!(gauge.take_note(), "", "a figure of a moment that has passed");
    }

    #[test]
    fn work_of_an_earlier_run_is_not_in_the_rate() {
        let gauge = Progress::Silent.gauge("training", Some(100_000));
        gauge.resume(90_000);
        gauge.advance(100);
        assert!((gauge.per_second(90_100, Duration::from_secs(10)) - 10.0).abs() < 1e-12);
    }
}
