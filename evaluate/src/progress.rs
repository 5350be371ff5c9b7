//! How far work has come: a bar on a terminal, an event in the log now and then elsewhere.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

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

/// Work that is done sooner shows nothing.
const QUIET: Duration = Duration::from_secs(2);

const EVENT_EVERY: Duration = Duration::from_secs(10);

impl Progress {
    /// A bar where stderr is a terminal, events where it is a file or a pipe.
    pub fn on_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Bar } else { Self::Events }
    }

    /// Starts a gauge over so many tokens.
    pub(crate) fn gauge(self, doing: &'static str, total: u64) -> Gauge {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()).with_style(style());
        bar.set_prefix(doing);
        let now = Instant::now();
        Gauge { progress: self, doing, total, bar, start: now, last_event: Cell::new(now), tokens: Cell::new(0) }
    }
}

/// How far one piece of work has come. It is taken off the terminal when dropped.
pub(crate) struct Gauge {
    progress: Progress,
    doing: &'static str,
    total: u64,
    bar: ProgressBar,
    start: Instant,
    last_event: Cell<Instant>,
    tokens: Cell<u64>,
}

impl Gauge {
    /// So many tokens more are done.
    pub(crate) fn advance(&self, tokens: u64) {
        self.tokens.set(self.tokens.get() + tokens);
        match self.progress {
            Progress::Silent => {}
            Progress::Bar => {
                if self.bar.is_hidden() && self.start.elapsed() > QUIET {
                    self.bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                self.bar.inc(tokens);
            }
            Progress::Events => self.tell(),
        }
    }

    fn tell(&self) {
        if self.last_event.get().elapsed() < EVENT_EVERY {
            return;
        }
        self.last_event.set(Instant::now());
        let tokens = self.tokens.get();
        let tokens_per_second = tokens as f64 / self.start.elapsed().as_secs_f64();
        let eta = left(self.total.saturating_sub(tokens), tokens_per_second);
        let tokens_per_second = tokens_per_second.round();
        tracing::info!(tokens, of = self.total, tokens_per_second, eta, "{}", self.doing);
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A template that is fixed in this file; one that did not parse would show as indicatif's own.
fn style() -> ProgressStyle {
    let template = "{prefix} [{bar:30}] {human_pos}/{human_len} tokens, {speed}, ETA {eta}";
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
    }
}
