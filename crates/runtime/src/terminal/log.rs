//! Log lines.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Logs to stderr, filtered by `RUST_LOG`; the default level is `info`. Call once per process.
pub fn log_to_stderr() {
    // The callers of `object_store` report what users need to know.
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let asked = if asked.trim().is_empty() { "info,object_store=warn" } else { &asked };
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(asked);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}
