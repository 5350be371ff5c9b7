//! Profile of a run's time, as a table and as JSON.

mod memory;
mod phase;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use self::memory::peak_memory_bytes;
use self::phase::{Count, counts};
pub use self::phase::{Phase, PhaseTimer};

/// A profile in progress.
#[derive(Debug)]
pub struct Profiling {
    created: Instant,
    started: Instant,
    before: Vec<Count>,
}

/// Profile of one phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseTime {
    /// The phase.
    pub phase: Phase,
    /// Seconds spent in it, summed over threads.
    pub seconds: f64,
    /// Share of the seconds of all phases.
    pub share: f64,
    /// Floating-point operations in matrix products.
    pub floating_point_operations: u64,
}

/// Profile of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// Tokens processed.
    pub tokens: u64,
    /// Seconds of processing. Opening, hashing and loading are excluded.
    pub seconds: f64,
    /// Seconds spent opening, hashing and loading.
    pub setup_seconds: f64,
    /// Tokens divided by seconds.
    pub tokens_per_second: f64,
    /// The phases that took any time.
    pub phases: Vec<PhaseTime>,
    /// Floating-point operations in matrix products, over all phases.
    pub floating_point_operations: u64,
    /// Matrix-product rate of this machine in FLOP/s: large products in the run's precision on all threads, measured after
    /// the run.
    pub matrix_product_flops_per_second: f64,
    /// Time that the operations would take at the measured rates (bf16 operations at the bf16 rate), divided by the time of
    /// the run.
    pub share_of_matrix_product_rate: f64,
    /// Peak memory of the process in bytes, where the system reports it.
    pub peak_memory_bytes: Option<u64>,
}

impl Profiling {
    /// Starts a profile; the setup of the run comes first.
    pub fn begin() -> Self {
        let now = Instant::now();
        Self { created: now, started: now, before: counts().to_vec() }
    }

    /// Ends the setup and starts the timing of tokens.
    pub fn start(&mut self) {
        self.started = Instant::now();
    }

    /// Ends the profile. `rate` measures the rate of this machine in large matrix products of a phase, in FLOP/s, on all
    /// threads: [`Phase::Screen`] is in bf16 in every run, other phases are in the precision of the run. It is called once
    /// for each of the two that the run did products in.
    pub fn finish<Error>(self, tokens: u64, rate: impl Fn(Phase) -> Result<f64, Error>) -> Result<Profile, Error> {
        let seconds = self.started.elapsed().as_secs_f64();
        let peak_memory_bytes = peak_memory_bytes();
        let spent: Vec<Count> = counts().iter().zip(&self.before).map(|(after, before)| after.since(before)).collect();
        let all: u64 = spent.iter().map(|count| count.nanoseconds).sum();
        let operations: u64 = spent.iter().map(|count| count.operations).sum();
        let (mut products, mut screening) = (None, None);
        let mut product_seconds = 0.0;
        for count in spent.iter().filter(|count| count.operations > 0) {
            let measured = if count.phase == Phase::Screen { &mut screening } else { &mut products };
            let rate = match *measured {
                Some(rate) => rate,
                None => *measured.insert(rate(count.phase)?),
            };
            product_seconds += count.operations as f64 / rate;
        }
        let phases = spent.iter().filter(|count| count.nanoseconds > 0).map(|count| PhaseTime {
            phase: count.phase,
            seconds: count.nanoseconds as f64 / 1e9,
            share: count.nanoseconds as f64 / all.max(1) as f64,
            floating_point_operations: count.operations,
        });
        Ok(Profile {
            tokens,
            seconds,
            setup_seconds: (self.started - self.created).as_secs_f64(),
            tokens_per_second: tokens as f64 / seconds,
            phases: phases.collect(),
            floating_point_operations: operations,
            matrix_product_flops_per_second: products.unwrap_or(0.0),
            share_of_matrix_product_rate: product_seconds / seconds,
            peak_memory_bytes,
        })
    }
}

impl Profile {
    /// Prints the table to stderr and writes the profile to `file` as JSON. The name `-` means no file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn show(&self, file: &Path) -> io::Result<()> {
        // A closed stderr is ignored.
        let _ = write!(io::stderr().lock(), "{self}");
        if file == Path::new("-") {
            return Ok(());
        }
        let json = serde_json::to_vec_pretty(self)?;
        std::fs::write(file, json).map_err(|cause| {
            io::Error::new(cause.kind(), format!("{}: cannot write the profile: {cause}", file.display()))
        })
    }
}

impl Count {
    fn since(&self, before: &Self) -> Self {
        Self {
            phase: self.phase,
            nanoseconds: self.nanoseconds - before.nanoseconds,
            operations: self.operations - before.operations,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:<12} {:>9} {:>7} {:>9} {:>9}", "phase", "seconds", "share", "GFLOP", "GFLOP/s")?;
        for PhaseTime { phase, seconds, share, floating_point_operations } in &self.phases {
            let operations = *floating_point_operations as f64 / 1e9;
            write!(formatter, "{phase:<12} {seconds:>9.2} {:>6.1}%", 100.0 * share)?;
            if *floating_point_operations > 0 {
                write!(formatter, " {operations:>9.0} {:>9.0}", operations / seconds)?;
            }
            writeln!(formatter)?;
        }
        writeln!(
            formatter,
            "{} tokens in {:.2} s after {:.2} s of setting up: {:.0} tokens/s (seconds above are of all threads together)",
            self.tokens, self.seconds, self.setup_seconds, self.tokens_per_second
        )?;
        if self.matrix_product_flops_per_second > 0.0 {
            writeln!(
                formatter,
                "{:.1}% of the machine's matrix products, {:.0} GFLOP/s",
                100.0 * self.share_of_matrix_product_rate,
                self.matrix_product_flops_per_second / 1e9
            )?;
        }
        if let Some(bytes) = self.peak_memory_bytes {
            writeln!(formatter, "{:.2} GB of memory at most", bytes as f64 / 1e9)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn a_profile_covers_only_its_run() {
        drop(Phase::Encode.begin(1000));
        let mut profiling = Profiling::begin();
        profiling.start();
        drop(Phase::Loss.begin(300));
        let profile =
            profiling.finish(7, |phase| Ok::<_, Infallible>(if phase == Phase::Screen { 2e9 } else { 1e9 })).unwrap();
        let phases: Vec<Phase> = profile.phases.iter().map(|time| time.phase).collect();
        assert_eq!((phases, profile.floating_point_operations, profile.tokens), (vec![Phase::Loss], 300, 7));
        assert!((profile.phases[0].share - 1.0).abs() < 1e-12);
        let expected = 300.0 / 1e9 / profile.seconds;
        assert!((profile.share_of_matrix_product_rate / expected - 1.0).abs() < 1e-9);
        assert!(profile.to_string().contains("loss"));
    }

    #[test]
    fn a_rate_is_measured_for_the_phases_of_the_run_alone() {
        let profiling = Profiling::begin();
        drop(Phase::Encode.begin(1));
        let rate = |phase| if phase == Phase::Screen { Err("no screening took place") } else { Ok(1e9) };
        assert!(profiling.finish(1, rate).is_ok());
        let profiling = Profiling::begin();
        drop(Phase::Screen.begin(1));
        assert_eq!(profiling.finish(1, rate).unwrap_err(), "no screening took place");
    }

    #[test]
    fn without_matrix_products_no_rate_is_measured() {
        let profile = Profiling::begin().finish(1, |_| Err("measured")).unwrap();
        assert!(profile.matrix_product_flops_per_second.abs() < f64::EPSILON);
    }
}
