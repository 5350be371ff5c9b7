//! The training summary `training.json`.

use std::fmt;

use hayloft_results::{HeldOutFigures, TrainingRecord};
use hayloft_rows::stream::Mixing;
use hayloft_runtime::UNDEFINED;
use hayloft_store::ModelRecord;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::data::LargestRows;
use crate::measure::threshold::ThresholdSource;

/// Relative deviation in L0 beyond which the saved SAE is considered different from the trained one.
const FAR: f64 = 0.1;

/// The settings and results of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// Hayloft's version.
    pub hayloft_version: String,
    /// Every setting that the weights depend on, including the data: site, scale, hashes.
    pub settings: Map<String, Value>,
    /// The model that produced the activations.
    pub model: ModelRecord,
    /// Name of the cache's corpus.
    pub corpus: String,
    /// Rows per epoch: those kept by the filters and not held out.
    pub rows: usize,
    /// Number of latents.
    pub width: usize,
    /// The held-out sequences, if any.
    pub held_out: Option<HeldOutSequences>,
    /// Squared-norm share of the largest training rows.
    pub largest_rows: LargestRows,
    /// The device. The same settings, device and number of threads give bit-identical weights.
    pub device: String,
    /// Number of kernel threads.
    pub threads: i32,
    /// Mixing quality of the batches.
    pub mixing: Mixing,
    /// The record of the last step.
    pub last: TrainingRecord,
    /// Figures of the saved SAE on the last batch.
    pub saved_on_last_batch: HeldOutFigures,
}

/// Held-out sequences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOutSequences {
    /// In the syntax of `store select --sequences`: `A..` means all from A on.
    pub sequences: String,
    /// Number of sequences.
    pub count: u64,
    /// Number of their kept rows.
    pub rows: u64,
}

impl TrainingSummary {
    /// Returns the summary as indented JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// Adds the measured figures to the metadata of `cfg.json`: under SAELens's names where SAELens's trainer has them, but
    /// of the saved SAE, and the others under `hayloft`.
    pub(crate) fn describe(&self, metadata: &mut Map<String, Value>) {
        let count = |fraction: f64| (fraction * self.width as f64).round() as u64;
        let (l0_rows, of) = match &self.last.held_out {
            Some(figures) => ("held_out", figures),
            None => ("last_batch", &self.saved_on_last_batch),
        };
        metadata.insert("l0".to_owned(), json!(of.l0));
        metadata.insert("num_dead_features".to_owned(), json!(self.last.dead_fraction.map(count)));
        add(metadata, "l0_rows", json!(l0_rows));
        add(metadata, "never_fired_features", json!(count(self.last.never_fired_fraction)));
        if let (Some(sequences), Some(figures)) = (&self.held_out, &self.last.held_out) {
            let mut held_out = json!(figures);
            held_out["sequences"] = json!(sequences.sequences);
            add(metadata, "held_out", held_out);
        }
    }

    /// Adds the source of the saved SAE's threshold, its value and the running mean of training.
    pub(crate) fn describe_threshold(
        metadata: &mut Map<String, Value>,
        source: ThresholdSource,
        threshold: Option<f64>,
        running: Option<f64>,
    ) {
        add(metadata, "threshold", json!({ "source": source, "value": threshold, "running": running }));
    }

    /// Returns a warning if the saved SAE's L0 is far from the trained one's. This happens if the single threshold of a
    /// `BatchTopK` has not converged.
    pub(crate) fn warning(&self) -> Option<String> {
        let trained = self.last.l0;
        let on_last_batch = ("on the last batch", Some(&self.saved_on_last_batch));
        let on_held_out = ("on held-out rows", self.last.held_out.as_ref());
        let far: Vec<String> = [on_last_batch, on_held_out]
            .into_iter()
            .filter_map(|(rows, figures)| Some((rows, figures?.l0?)))
            .filter(|(_, l0)| is_far(*l0, trained))
            .map(|(rows, l0)| format!("L0 {l0:.2} {rows}"))
            .collect();
        (!far.is_empty()).then(|| format!("the saved SAE has {}, where the log says {trained:.2}", far.join(" and ")))
    }
}

/// Adds a field under `hayloft`.
fn add(metadata: &mut Map<String, Value>, name: &str, value: Value) {
    match metadata.get_mut("hayloft") {
        Some(Value::Object(own)) => {
            own.insert(name.to_owned(), value);
        }
        _ => {
            metadata.insert("hayloft".to_owned(), json!({ name: value }));
        }
    }
}

/// Whether an L0 is far from that of training.
pub(crate) fn is_far(l0: f64, trained: f64) -> bool {
    (l0 - trained).abs() > FAR * trained
}

impl fmt::Display for TrainingSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { last, width, .. } = self;
        let TrainingRecord { step, tokens, loss, reconstruction_loss, l0, explained_variance, .. } = *last;
        let Mixing { row_groups, row_groups_per_batch, row_groups_per_batch_if_perfect } = self.mixing;
        writeln!(formatter, "{step} steps on {tokens} tokens, drawn from {} of {}", self.rows, self.corpus)?;
        writeln!(
            formatter,
            "last batch: loss {loss:.4}, error {reconstruction_loss:.4}, L0 {l0:.2}, explained variance {}",
            percent(Some(explained_variance))
        )?;
        writeln!(formatter, "saved SAE on the last batch: {}", figures_in_words(&self.saved_on_last_batch))?;
        let share = |fraction: Option<f64>| match fraction {
            Some(fraction) => format!("{:.0} of {width} ({})", fraction * *width as f64, percent(Some(fraction))),
            None => UNDEFINED.to_owned(),
        };
        let window = self.settings.get("dead_after").and_then(Value::as_u64).unwrap_or_default();
        let dead = match last.dead_fraction {
            Some(_) => share(last.dead_fraction),
            None => format!("unknown, as the training had {step}"),
        };
        writeln!(
            formatter,
            "latents: {} never fired on training tokens; dead (silent for over {window} steps): {dead}",
            share(Some(last.never_fired_fraction))
        )?;
        if let (Some(HeldOutSequences { sequences, .. }), Some(figures)) = (&self.held_out, &last.held_out) {
            let HeldOutFigures { rows, dead_fraction, .. } = figures;
            writeln!(
                formatter,
                "held out, sequences {sequences}, {rows} rows: {}, latents that fire in none of them {}",
                figures_in_words(figures),
                share(Some(*dead_fraction))
            )?;
        }
        write!(
            formatter,
            "mixing: {row_groups_per_batch:.1} of {row_groups} row groups in a batch; {row_groups_per_batch_if_perfect:.1} if perfect"
        )
    }
}

/// Formats an SAE's figures.
pub(crate) fn figures_in_words(figures: &HeldOutFigures) -> String {
    let l0 = figures.l0.map_or_else(|| UNDEFINED.to_owned(), |l0| format!("{l0:.2}"));
    let (explained, pooled) = (percent(figures.explained_variance), percent(figures.explained_variance_pooled));
    format!("L0 {l0}, explained variance {explained} (pooled {pooled})")
}

/// Formats a fraction in per cent; a dash if undefined.
pub(crate) fn percent(fraction: Option<f64>) -> String {
    let defined = fraction.filter(|fraction| fraction.is_finite());
    defined.map_or_else(|| UNDEFINED.to_owned(), |fraction| format!("{:.2}%", 100.0 * fraction))
}
