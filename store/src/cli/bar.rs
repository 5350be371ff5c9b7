//! How far work has come that says its total as it goes.

use hayloft_runtime::Gauge;
use hayloft_store::{ExchangeProgress, Progress};

/// A gauge on stderr that begins with the first that it is told. It goes when it is dropped.
pub(super) struct Bar {
    doing: &'static str,
    gauge: Option<Gauge>,
    told: u64,
}

impl Bar {
    pub(super) fn new(doing: &'static str) -> Self {
        Self { doing, gauge: None, told: 0 }
    }

    /// Moves it over a cache's bytes.
    pub(super) fn bytes(&mut self, progress: Progress<'_>) {
        let begin = || hayloft_runtime::Progress::on_stderr().bytes(self.doing, Some(progress.total_bytes));
        let gauge = self.gauge.get_or_insert_with(begin);
        gauge.advance(progress.bytes.saturating_sub(self.told));
        self.told = progress.bytes;
    }

    /// Moves it over tokens.
    pub(super) fn tokens(&mut self, progress: ExchangeProgress) {
        let begin = || hayloft_runtime::Progress::on_stderr().gauge(self.doing, Some(progress.total_tokens));
        let gauge = self.gauge.get_or_insert_with(begin);
        gauge.advance(progress.tokens.saturating_sub(self.told));
        self.told = progress.tokens;
    }
}
