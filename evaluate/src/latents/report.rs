//! What is said of a pass: the settings that it followed, and a summary of each SAE's latents.

use std::cmp::Reverse;

use hayloft_latents::{CoFiringTokens, SaeLatents, StatisticsSettings};
use hayloft_results::{LatentCounts, ResultConventions, SaeProvenance};
use hayloft_rows::{LeftOut, MedianRule, OutlierThreshold, ScaleSource};
use hayloft_runtime::{TextTable, UNDEFINED};
use hayloft_sae::SaeError;
use serde::{Deserialize, Serialize};

use super::settings::LatentsSettings;
use crate::parts::{CacheIdentity, Difference, first_difference};
use crate::session::context::EvaluationContext;
use crate::session::protocol::{cache_identity, provenance};
use crate::session::run_saes::RunSae;

/// Latents that are listed as the most frequent.
const FREQUENT: usize = 5;

/// Summary of a pass. As JSON it stands in the metadata of both files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentsReport {
    cache: CacheIdentity,
    /// Numbers of the shards that were read.
    pub(super) shards: Vec<usize>,
    /// Sequences in these shards.
    sequences: u64,
    /// Tokens of a sequence at most.
    context_length: u32,
    site: String,
    /// Sections whose tokens were read.
    sections: Vec<String>,
    outlier_norm: Option<String>,
    scale: String,
    conventions: ResultConventions,
    top: usize,
    sampled: usize,
    examples_of: Option<String>,
    pub(super) window: u32,
    pub(super) nearest: usize,
    cofiring: usize,
    /// Tokens whose logits a latent raises, and lowers, that are listed; `None` without the model.
    pub(super) logit_tokens: Option<usize>,
    /// Latents that were ablated.
    pub(super) ablated: Option<String>,
    seed: u64,
    /// One for each SAE.
    pub saes: Vec<SaeLatentsReport>,
}

/// Summary of an SAE's latents. A latent fires at a token if its activation is above zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaeLatentsReport {
    /// Unique in the run.
    pub name: String,
    /// The factor that activations were multiplied by.
    pub scale: f64,
    scale_source: ScaleSource,
    outliers: Option<OutlierThreshold>,
    /// Tokens that the SAE has read.
    pub tokens: u64,
    /// Tokens of the sections that were left out for what they are.
    pub excluded_tokens: u64,
    /// Tokens of the sections that were left out for their norm.
    pub outlier_tokens: u64,
    /// Of these, those with NaN or infinity.
    pub non_finite_tokens: u64,
    /// Mean number of latents that fire at a token; `None` without tokens.
    pub l0: Option<f64>,
    /// Latents that fire at no token; `None` without tokens.
    pub dead: Option<u64>,
    /// Latents that fire at more than a tenth of the tokens; `None` without tokens.
    pub dense: Option<u64>,
    /// Density that a tenth, half and nine tenths of the latents that fire reach at most; `None` without such latents.
    pub density_quantiles: Option<[f64; 3]>,
    /// Tokens that co-firing latents are counted over; `None` if none are.
    pub cofiring_tokens: Option<u64>,
    /// Whether these are a sample of the tokens.
    pub cofiring_is_sampled: bool,
    /// The latents that fire most often, in order.
    pub most_frequent: Vec<FrequentLatent>,
    provenance: SaeProvenance,
}

/// A latent that fires often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrequentLatent {
    /// Its number.
    pub latent: usize,
    /// The share of tokens at which it fires.
    pub density: f64,
    /// Mean activation where it fires.
    pub mean: Option<f64>,
    /// Largest activation.
    pub max: Option<f32>,
}

impl SaeLatentsReport {
    /// Before the pass.
    pub(super) fn of(sae: &RunSae, outliers: Option<OutlierThreshold>) -> Result<Self, SaeError> {
        Ok(Self {
            name: sae.name.clone(),
            scale: sae.scale.value,
            scale_source: sae.scale.source,
            outliers,
            tokens: 0,
            excluded_tokens: 0,
            outlier_tokens: 0,
            non_finite_tokens: 0,
            l0: None,
            dead: None,
            dense: None,
            density_quantiles: None,
            cofiring_tokens: None,
            cofiring_is_sampled: false,
            most_frequent: Vec::new(),
            provenance: provenance(&sae.file)?,
        })
    }

    /// The first difference of another part's SAE of this name. Machines may have it in different folders.
    pub(super) fn first_difference(&self, other: &Self) -> Option<Difference> {
        let mut here = other.clone();
        here.provenance.folder.clone_from(&self.provenance.folder);
        first_difference(self, &here)
    }

    /// Adds the outcome of the pass.
    pub(super) fn complete(&mut self, own: &SaeLatents, left_out: LeftOut) {
        let counts =
            LatentCounts { rows: own.tokens, firings: own.latents.iter().map(|latent| latent.firings).collect() };
        let summary = counts.summary();
        let density = |firings: u64| firings as f64 / own.tokens as f64;
        self.tokens = own.tokens;
        self.excluded_tokens = left_out.excluded;
        self.outlier_tokens = left_out.outliers;
        self.non_finite_tokens = left_out.non_finite;
        self.l0 = (own.tokens > 0).then(|| density(counts.firings.iter().sum()));
        (self.dead, self.dense) = (summary.dead, summary.dense);
        (self.cofiring_tokens, self.cofiring_is_sampled) = match own.cofiring_tokens {
            CoFiringTokens::None => (None, false),
            CoFiringTokens::All => (Some(own.tokens), false),
            CoFiringTokens::Sample(tokens) => (Some(tokens), true),
        };
        let mut by_firings: Vec<usize> = (0..own.latents.len()).filter(|&latent| counts.firings[latent] > 0).collect();
        by_firings.sort_by_key(|&latent| (Reverse(counts.firings[latent]), latent));
        let at = |share: f64| -> Option<f64> {
            // The smallest density that this share of the latents does not exceed.
            let place = (share * by_firings.len() as f64).ceil() as usize;
            let latent = by_firings.len().checked_sub(place.max(1)).and_then(|place| by_firings.get(place))?;
            Some(density(counts.firings[*latent]))
        };
        self.density_quantiles = at(0.1).zip(at(0.5)).zip(at(0.9)).map(|((low, middle), high)| [low, middle, high]);
        let frequent = |&latent: &usize| FrequentLatent {
            latent,
            density: density(counts.firings[latent]),
            mean: own.latents[latent].mean,
            max: own.latents[latent].max,
        };
        self.most_frequent = by_firings.iter().take(FREQUENT).map(frequent).collect();
    }
}

impl LatentsReport {
    pub(super) fn new(
        settings: &LatentsSettings,
        context: &EvaluationContext,
        places: &[usize],
        median: Option<MedianRule>,
        saes: Vec<SaeLatentsReport>,
    ) -> Self {
        let run = &settings.run;
        let shards = &context.cache.manifest().shards;
        Self {
            cache: cache_identity(context),
            shards: places.iter().map(|&place| shards[place].index).collect(),
            sequences: places.iter().map(|&place| shards[place].counts.sequences).sum(),
            context_length: context.cache.manifest().corpus.context_length,
            site: context.point.input.name.to_string(),
            sections: run.sections().iter().map(ToString::to_string).collect(),
            outlier_norm: run.outlier_norm.map(|norm| norm.to_string()),
            scale: run.scale.to_string(),
            conventions: ResultConventions {
                weights: context.weights,
                exclude: context.excluded.choice,
                excluded_tokens: context.excluded.tokens(),
                outlier_median: median,
                spliced_with: Vec::new(),
            },
            top: settings.top,
            sampled: settings.sampled,
            examples_of: settings.examples_of.as_ref().map(ToString::to_string),
            window: settings.window,
            nearest: settings.nearest,
            cofiring: settings.cofiring,
            logit_tokens: settings.logits_of.as_ref().map(|_| settings.logit_tokens),
            ablated: settings.ablate.as_ref().map(ToString::to_string),
            seed: settings.seed,
            saes,
        }
    }

    /// The cache and the model.
    pub(super) fn cache(&self) -> &CacheIdentity {
        &self.cache
    }

    /// Adds the shards that another part has read. Folders of SAEs are those that the part with the first shard has found.
    pub(super) fn add_shards(&mut self, other: &Self) {
        let is_before = |shards: &[usize], others: &[usize]| match (shards.first(), others.first()) {
            (Some(shard), Some(other)) => shard < other,
            (shard, _) => shard.is_some(),
        };
        if is_before(&other.shards, &self.shards) {
            self.set_folders(|place| other.saes[place].provenance.folder.clone());
        }
        self.shards.extend(&other.shards);
        self.shards.sort_unstable();
        self.sequences = self.sequences.saturating_add(other.sequences);
    }

    /// Replaces the folder of each SAE, by its place.
    pub(super) fn set_folders(&mut self, folder: impl Fn(usize) -> String) {
        for (place, own) in self.saes.iter_mut().enumerate() {
            own.provenance.folder = folder(place);
        }
    }

    /// The first setting of another part that differs, in the order of fields.
    pub(super) fn first_difference_of_settings(&self, other: &Self) -> Option<Difference> {
        let names = |own: &Self| own.saes.iter().map(|sae| sae.name.as_str()).collect::<Vec<_>>().join(", ");
        if names(self) != names(other) {
            return Some(Difference { field: "the SAEs".to_owned(), expected: names(self), got: names(other) });
        }
        let settings = |own: &Self| Self { shards: Vec::new(), sequences: 0, saes: Vec::new(), ..own.clone() };
        first_difference(&settings(self), &settings(other))
    }

    /// Checks what comes from a file; the error is what was found.
    pub(super) fn check(&self) -> Result<(), String> {
        let most = StatisticsSettings::MOST;
        let numbers = [self.top, self.sampled, self.window as usize, self.nearest, self.cofiring];
        if numbers.into_iter().chain(self.logit_tokens).any(|number| number > most) {
            return Err(format!("a setting above {most}"));
        }
        if self.saes.is_empty() {
            return Err("no SAEs".to_owned());
        }
        Ok(())
    }

    /// Whether statistics of an SAE in the report may have been collected with these settings.
    pub(super) fn is_of(&self, sae: &SaeLatentsReport, settings: &StatisticsSettings) -> bool {
        let StatisticsSettings { width, top, sampled, cofiring, window, seed, .. } = *settings;
        (width, top, sampled, cofiring, window, seed)
            == (sae.provenance.width, self.top, self.sampled, self.cofiring, self.window, self.seed)
    }

    /// The report as indented JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// Renders a table of the SAEs, a table of their most frequent latents, and remarks, at most `width` columns wide.
    pub fn table(&self, width: usize) -> String {
        let heading = format!("Site: {}, sections: {}", self.site, self.sections.join(", "));
        let mut blocks = vec![heading, self.summaries(width)];
        if self.saes.iter().any(|sae| !sae.most_frequent.is_empty()) {
            blocks.extend(["Most frequent latents".to_owned(), self.most_frequent(width)]);
        }
        blocks.extend(self.remarks());
        blocks.join("\n")
    }

    fn summaries(&self, width: usize) -> String {
        let headings =
            ["SAE", "Tokens", "Latents", "Dead", "Dense", "L0", "Density\n10%", "Density\n50%", "Density\n90%"];
        let count = |count: Option<u64>| count.map_or_else(|| UNDEFINED.to_owned(), |count| count.to_string());
        let rows = self.saes.iter().map(|sae| {
            let mut cells = vec![sae.name.clone(), sae.tokens.to_string(), sae.provenance.width.to_string()];
            cells.extend([count(sae.dead), count(sae.dense)]);
            cells.push(sae.l0.map_or_else(|| UNDEFINED.to_owned(), |l0| format!("{l0:.2}")));
            cells.extend((0..3).map(|place| short(sae.density_quantiles.map(|quantiles| quantiles[place]))));
            cells
        });
        table(&headings, 1, rows.collect(), width)
    }

    fn most_frequent(&self, width: usize) -> String {
        let rows = self.saes.iter().flat_map(|sae| {
            sae.most_frequent.iter().map(|own| {
                let figures = [Some(own.density), own.mean, own.max.map(f64::from)].map(short);
                [sae.name.clone(), own.latent.to_string()].into_iter().chain(figures).collect()
            })
        });
        table(&["SAE", "Latent", "Density", "Mean", "Max"], 2, rows.collect(), width)
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for sae in &self.saes {
            let name = &sae.name;
            for (tokens, reason) in
                [(sae.excluded_tokens, "excluded"), (sae.outlier_tokens, "of too large a norm or not finite")]
            {
                if tokens > 0 {
                    remarks.push(format!("{name}: {tokens} tokens are left out, {reason}"));
                }
            }
            if sae.tokens > 0 && sae.density_quantiles.is_none() {
                remarks.push(format!("{name}: no latent fires; is its scale right (--scale)?"));
            }
            if let (Some(tokens), true) = (sae.cofiring_tokens, sae.cofiring_is_sampled) {
                remarks.push(format!("{name}: co-firing is counted on a sample of {tokens} tokens"));
            }
        }
        remarks
    }
}

fn table(headings: &[&str], names: usize, rows: Vec<Vec<String>>, width: usize) -> String {
    let headings = headings.iter().map(|&heading| heading.to_owned()).collect();
    TextTable { headings, names, rows, is_ruled: true }.fit(width)
}

/// A number in few characters.
fn short(number: Option<f64>) -> String {
    match number {
        None => UNDEFINED.to_owned(),
        Some(number) if number < 1e-3 => format!("{number:.1e}"),
        Some(number) => format!("{number:.4}"),
    }
}
