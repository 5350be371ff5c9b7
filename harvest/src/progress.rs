//! How far work has come: a bar on a terminal, an event in the log now and then elsewhere.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};

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

impl Progress {
    /// A bar where stderr is a terminal, events where it is a file or a pipe.
    pub fn on_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Bar } else { Self::Events }
    }

    /// Starts a gauge over tokens; `total` is `None` where it is not known beforehand.
    pub(crate) fn gauge(self, doing: &'static str, total: Option<u64>) -> Gauge {
        let bar = match (self, total) {
            (Self::Silent | Self::Events, _) => ProgressBar::hidden(),
            (Self::Bar, Some(total)) => ProgressBar::new(total)
                .with_style(style("{prefix} [{bar:30}] {human_pos}/{human_len} tokens, {per_sec}, {msg}ETA {eta}")),
            (Self::Bar, None) => {
                ProgressBar::new_spinner().with_style(style("{prefix} {human_pos} tokens, {per_sec}{msg}"))
            }
        };
        bar.set_prefix(doing);
        bar.enable_steady_tick(Duration::from_millis(200));
        let last_event = (self == Self::Events).then(|| Mutex::new(Instant::now()));
        Gauge {
            doing,
            total,
            bar,
            last_event,
            start: Instant::now(),
            tokens: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }
}

/// A template that is fixed in this file; one that does not parse shows as indicatif's own.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).with_key(
        "per_sec",
        |state: &indicatif::ProgressState, writer: &mut dyn std::fmt::Write| {
            // A bar that cannot be drawn is not worth an error.
            let _ = write!(writer, "{} tokens/s", HumanCount(state.per_sec() as u64));
        },
    )
}

const EVENT_EVERY: Duration = Duration::from_secs(10);

/// How far one piece of work has come. Any thread may move it.
pub(crate) struct Gauge {
    doing: &'static str,
    total: Option<u64>,
    bar: ProgressBar,
    /// When the last event was, where there are events.
    last_event: Option<Mutex<Instant>>,
    start: Instant,
    tokens: AtomicU64,
    bytes: AtomicU64,
}

impl Gauge {
    /// So many tokens more are done.
    pub(crate) fn advance(&self, tokens: u64) {
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
        self.bar.inc(tokens);
        self.tell();
    }

    /// So many bytes more are written.
    pub(crate) fn wrote(&self, bytes: u64) {
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bar.set_message(Cow::from(format!("{} written, ", HumanBytes(bytes))));
    }

    /// Takes the bar off the terminal.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn tell(&self) {
        let Some(last_event) = &self.last_event else { return };
        let mut last_event = last_event.lock().unwrap_or_else(PoisonError::into_inner);
        if last_event.elapsed() < EVENT_EVERY {
            return;
        }
        *last_event = Instant::now();
        let tokens = self.tokens.load(Ordering::Relaxed);
        let tokens_per_second = tokens as f64 / self.start.elapsed().as_secs_f64();
        tracing::info!(
            tokens,
            of = self.total,
            tokens_per_second = tokens_per_second.round(),
            bytes = self.bytes.load(Ordering::Relaxed),
            eta = self.total.map(|total| left(total.saturating_sub(tokens), tokens_per_second)),
            "{}",
            self.doing
        );
    }
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
