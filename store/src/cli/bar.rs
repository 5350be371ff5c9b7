//! How far work on a cache's bytes has come.

use hayloft_store::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar on stderr, hidden by indicatif itself where that is no terminal. It goes when it is dropped.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(ProgressBar::no_length().with_style(ProgressStyle::with_template(
            "{bar:30} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left  {wide_msg}",
        )?)))
    }

    /// Moves it.
    pub(super) fn show(&self, progress: Progress<'_>) {
        self.0.set_length(progress.total_bytes);
        self.0.set_position(progress.bytes);
        self.0.set_message(progress.file.to_owned());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
