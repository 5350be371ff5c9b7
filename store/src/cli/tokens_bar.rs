//! Progress over tokens.

use hayloft_store::ExchangeProgress;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar on stderr, hidden by indicatif itself where stderr is no terminal.
pub(super) struct TokensBar(ProgressBar);

impl TokensBar {
    pub(super) fn new(verb: &'static str) -> anyhow::Result<Self> {
        let style =
            ProgressStyle::with_template("{msg} {bar:30} {human_pos} of {human_len} tokens, {per_sec}, {eta} left")?;
        Ok(Self(ProgressBar::no_length().with_style(style).with_message(verb)))
    }

    pub(super) fn show(&self, done: ExchangeProgress) {
        self.0.set_length(done.total_tokens);
        self.0.set_position(done.tokens);
    }

    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
