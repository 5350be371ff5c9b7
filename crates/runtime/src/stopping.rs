//! Stop requests.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// A stop request, set by a signal or by the parent process. Long-running work polls it, cleans up partial work and returns.
#[derive(Debug, Clone, Default)]
pub struct Stopping {
    asked: Arc<AtomicBool>,
}

impl Stopping {
    /// Requests a stop on SIGINT (Ctrl-C) or SIGTERM. A second signal ends the process at once, by the default action.
    pub fn on_signals() -> io::Result<Self> {
        let stopping = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal only sets the flag, which makes the second one take the default action.
            flag::register_conditional_default(signal, Arc::clone(&stopping.asked))?;
            flag::register(signal, Arc::clone(&stopping.asked))?;
        }
        Ok(stopping)
    }

    /// Also requests a stop at the end of standard input. The pipe from a parent process reaches its end when the parent
    /// exits, for any reason.
    pub fn on_end_of_input(&self) -> io::Result<()> {
        let asked = Arc::clone(&self.asked);
        let wait = move || {
            let mut input = io::stdin().lock();
            let mut ignored = [0; 256];
            // A read error counts as the end.
            while input.read(&mut ignored).is_ok_and(|read| read > 0) {}
            asked.store(true, Ordering::Release);
        };
        thread::Builder::new().name("end of input".to_owned()).spawn(wait).map(|_| ())
    }

    /// Whether a stop was requested.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Requests a stop.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use signal_hook::low_level::raise;

    use super::*;

    #[test]
    fn a_signal_asks_once_and_is_survived() {
        let stopping = Stopping::on_signals().unwrap();
        assert!(!stopping.is_asked());
        raise(SIGTERM).unwrap();
        assert!(stopping.is_asked());
        let other = Stopping::default();
        assert!(!other.is_asked());
        other.clone().ask();
        assert!(other.is_asked());
    }
}
