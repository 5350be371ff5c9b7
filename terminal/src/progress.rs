//! How far work has come: a bar on a terminal, an event in the log now and then elsewhere.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How to show how far work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not at all: for use within another program.
    Silent,
    /// A bar on stderr.
    Bar,
    /// An event of `tracing` every ten seconds.
    Events,
}

/// Work that is done sooner shows no bar.
const QUIET: Duration = Duration::from_secs(2);

const EVENT_EVERY: Duration = Duration::from_secs(10);

const KNOWN_TOTAL: &str = "{prefix} [{bar:30}] {human_pos}/{human_len} tokens, {speed}, {msg}ETA {eta}";
const UNKNOWN_TOTAL: &str = "{prefix} {human_pos} tokens, {speed} {msg}";

impl Progress {
    /// A bar where stderr is a terminal, events where it is a file or a pipe.
    pub fn on_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Bar } else { Self::Events }
    }

    /// Starts a gauge over tokens; `total` is `None` where it is not known beforehand.
    pub fn gauge(self, doing: &'static str, total: Option<u64>) -> Gauge {
        let template = if total.is_some() { KNOWN_TOTAL } else { UNKNOWN_TOTAL };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()).with_style(style(template));
        bar.set_prefix(doing);
        let now = Instant::now();
        let (tokens, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Gauge {
            progress: self,
            doing,
            total,
            bar,
            start: now,
            last_event: Mutex::new(now),
            note: Mutex::default(),
            tokens,
            bytes,
        }
    }
}

/// How far one piece of work has come. Any thread may move it; dropped, it is taken off the terminal.
#[derive(Debug)]
pub struct Gauge {
    progress: Progress,
    doing: &'static str,
    total: Option<u64>,
    bar: ProgressBar,
    start: Instant,
    last_event: Mutex<Instant>,
    note: Mutex<String>,
    tokens: AtomicU64,
    bytes: AtomicU64,
}

impl Gauge {
    /// So many tokens more are done.
    pub fn advance(&self, tokens: u64) {
        let done = self.tokens.fetch_add(tokens, Ordering::Relaxed) + tokens;
        match self.progress {
            Progress::Silent => {}
            Progress::Bar => {
                if self.bar.is_hidden() && self.start.elapsed() > QUIET {
                    self.bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                self.bar.inc(tokens);
            }
            Progress::Events => self.tell(done),
        }
    }

    /// So many bytes more are written.
    pub fn wrote(&self, bytes: u64) {
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bar.set_message(Cow::from(format!("{} written, ", HumanBytes(bytes))));
    }

    /// How the work does, in words that end in a comma and a space; shown until the next ones.
    pub fn note(&self, words: String) {
        self.bar.set_message(words.clone());
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }

    fn tell(&self, tokens: u64) {
        let mut last_event = self.last_event.lock().unwrap_or_else(PoisonError::into_inner);
        if last_event.elapsed() < EVENT_EVERY {
            return;
        }
        *last_event = Instant::now();
        let tokens_per_second = tokens as f64 / self.start.elapsed().as_secs_f64();
        let bytes_written = Some(self.bytes.load(Ordering::Relaxed)).filter(|&bytes| bytes > 0);
        let eta = self.total.map(|total| left(total.saturating_sub(tokens), tokens_per_second));
        let tokens_per_second = tokens_per_second.round();
        let note = self.note.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tracing::info!(tokens, of = self.total, tokens_per_second, bytes_written, eta, "{note}{}", self.doing);
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A template that is fixed in this file; one that did not parse would show as indicatif's own.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).with_key(
        "speed",
        |state: &ProgressState, writer: &mut dyn std::fmt::Write| {
            // A bar that cannot be drawn is not worth an error.
            let _ = write!(writer, "{} tokens/s", HumanCount(state.per_sec() as u64));
        },
    )
}

/// How long so many tokens take, in words.
fn left(tokens: u64, tokens_per_second: f64) -> String {
    let seconds = Duration::try_from_secs_f64(tokens as f64 / tokens_per_second);
    seconds.map_or_else(|_| "unknown".to_owned(), |seconds| HumanDuration(seconds).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_words() {
        assert_eq!(left(6000, 100.0), "60 seconds");
        assert_eq!(left(6000, 0.0), "unknown");
        assert_eq!(left(0, 0.0), "unknown");
    }
}
