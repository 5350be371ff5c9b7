//! Being asked to stop.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// That this process has been asked to stop, by a signal or by whoever started it. Work that takes long looks at it now and then,
/// clears up what is half done, and ends.
#[derive(Debug, Clone, Default)]
pub struct Stopping {
    asked: Arc<AtomicBool>,
}

impl Stopping {
    /// Asked by SIGINT (Ctrl-C) or SIGTERM; the second one ends the process at once, as if nobody listened.
    pub fn on_signals() -> io::Result<Self> {
        let stopping = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal only raises the flag that the next one is judged by.
            flag::register_conditional_default(signal, Arc::clone(&stopping.asked))?;
            flag::register(signal, Arc::clone(&stopping.asked))?;
        }
        Ok(stopping)
    }

    /// Asked by the end of standard input too: a process that started this one with a pipe, and has ended in whatever way, leaves it
    /// at its end.
    pub fn on_end_of_input(&self) -> io::Result<()> {
        let asked = Arc::clone(&self.asked);
        let wait = move || {
            let mut input = io::stdin().lock();
            let mut ignored = [0; 256];
            // What cannot be read any more has ended too.
            while input.read(&mut ignored).is_ok_and(|read| read > 0) {}
            asked.store(true, Ordering::Release);
        };
        thread::Builder::new().name("end of input".to_owned()).spawn(wait).map(|_| ())
    }

    /// Whether it has been asked.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Asks it.
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
