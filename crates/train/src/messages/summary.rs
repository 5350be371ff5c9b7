//! `training.json`: what was asked for, on what, and what came of it.

use std::fmt;

use hayloft_results::{HeldOutFigures, TrainingRecord};
use hayloft_store::ModelRecord;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::data::{LargestRows, Mixing};
use crate::measure::threshold::ThresholdSource;

/// A saved SAE whose L0 is further than this from the training's, as a fraction of it, is another SAE than the log tells of.
const FAR: f64 = 0.1;

/// What a training was and what it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// Version of hayloft.
    pub hayloft_version: String,
    /// Every setting that the weights depend on, and what the data is: site, scale, hashes.
    pub settings: Map<String, Value>,
    /// The model that the activations come from.
    pub model: ModelRecord,
    /// The name of the corpus in the cache.
    pub corpus: String,
    /// Rows of the cache that are trained on: those that the filters kept and that are not held out. An epoch.
    pub rows: usize,
    /// Latents.
    pub width: usize,
    /// What was held out; `None` where nothing was.
    pub held_out: Option<HeldOutSequences>,
    /// What the largest of these rows hold of the squared norm.
    pub largest_rows: LargestRows,
    /// Where it was computed, and with how many threads: with these the same settings give the same bits.
    pub device: String,
    /// Threads of the kernels.
    pub threads: i32,
    /// How well batches were mixed.
    pub mixing: Mixing,
    /// The last step.
    pub last: TrainingRecord,
    /// The saved SAE on the rows of the last batch.
    pub saved_on_last_batch: HeldOutFigures,
}

/// Sequences that were not trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOutSequences {
    /// As `store select --sequences` takes them: `A..`, all from A on.
    pub sequences: String,
    /// How many they are.
    pub count: u64,
    /// Rows of them that the filters kept.
    pub rows: u64,
}

impl TrainingSummary {
    /// The same as indented JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// Adds to the metadata of `cfg.json` what was measured: by SAELens's names what its trainer calls so, but of the saved SAE, and the
    /// rest under `hayloft`.
    pub(crate) fn describe(&self, metadata: &mut Map<String, Value>) {
        let count = |fraction: f64| (fraction * self.width as f64).round() as u64;
        let (l0_rows, of) = match &self.last.held_out {
            Some(figures) => ("held_out", figures),
            None => ("last_batch", &self.saved_on_last_batch),
        };
        metadata.insert("l0".to_owned(), json!(of.l0));
        metadata.insert("num_dead_features".to_owned(), json!(self.last.dead_fraction.map(count)));
        add(metadata, "l0_rows", json!(l0_rows));
        add(metadata, "never_fired_features", json!(self.last.never_fired_fraction.map(count)));
        if let (Some(sequences), Some(figures)) = (&self.held_out, &self.last.held_out) {
            let mut held_out = json!(figures);
            held_out["sequences"] = json!(sequences.sequences);
            add(metadata, "held_out", held_out);
        }
    }

    /// Adds where the one threshold of the saved SAE comes from, and what the running mean of training was.
    pub(crate) fn describe_threshold(
        metadata: &mut Map<String, Value>,
        source: ThresholdSource,
        threshold: Option<f64>,
        running: Option<f64>,
    ) {
        add(metadata, "threshold", json!({ "source": source, "value": threshold, "running": running }));
    }

    /// What to know of an SAE that is another function when saved than it was in training, where its L0 is far from what the log
    /// says: the one threshold of a `BatchTopK`, which has not converged.
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

/// Adds what is not SAELens's.
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

/// Whether an L0 is far from what training has.
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
            share(last.never_fired_fraction)
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

const UNDEFINED: &str = "–";

/// What an SAE is on some rows.
pub(crate) fn figures_in_words(figures: &HeldOutFigures) -> String {
    let l0 = figures.l0.map_or_else(|| UNDEFINED.to_owned(), |l0| format!("{l0:.2}"));
    let (explained, pooled) = (percent(figures.explained_variance), percent(figures.explained_variance_pooled));
    format!("L0 {l0}, explained variance {explained} (pooled {pooled})")
}

/// A fraction in per cent; a dash where it is undefined.
pub(crate) fn percent(fraction: Option<f64>) -> String {
    let defined = fraction.filter(|fraction| fraction.is_finite());
    defined.map_or_else(|| UNDEFINED.to_owned(), |fraction| format!("{:.2}%", 100.0 * fraction))
}
