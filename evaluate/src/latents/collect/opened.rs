//! What statistics of latents are collected from.

use std::collections::BTreeMap;

use hayloft_latents::{GroupNumbers, Statistics};
use hayloft_model::Tokenizer;
use hayloft_rows::{MedianRule, OutlierNorm, OutlierRule, OutlierThreshold};
use hayloft_runtime::words::list;
use hayloft_runtime::{Dtype, Part, Progress};
use hayloft_sae::{Sae, TILE_LATENTS};
use hayloft_store::Cache;
use hayloft_train::cache_tokenizer;

use super::ablation::{Ablations, ablate};
use super::collected::{Beside, Collected, CollectedSae};
use super::delphi::DelphiExport;
use super::logits::Unembedding;
use super::pass::{Collector, pass};
use crate::error::EvaluateError;
use crate::latents::report::{LatentsReport, SaeLatentsReport};
use crate::latents::settings::LatentsSettings;
use crate::session::context::EvaluationContext;
use crate::session::median::median_rule;
use crate::session::protocol::{threshold, warn_of_other_outliers};
use crate::session::run_saes::{RunSae, RunSaes};

/// The cache, the SAEs and the model that were asked for, opened and checked against each other.
pub(crate) struct Opened<'run> {
    settings: &'run LatentsSettings,
    progress: Progress,
    pub(crate) context: EvaluationContext,
    pub(crate) tokenizer: Option<Tokenizer>,
    saes: Vec<RunSae>,
    unembedding: Option<Unembedding>,
    part: Part,
    /// Indices of the shards of all parts, and of this one.
    all_places: Vec<usize>,
    pub(crate) places: Vec<usize>,
}

impl<'run> Opened<'run> {
    pub(crate) fn open(settings: &'run LatentsSettings, part: Part, progress: Progress) -> Result<Self, EvaluateError> {
        let run = &settings.run;
        let (RunSaes { saes, .. }, context) = RunSaes::open(run, progress)?;
        let unembedding = Unembedding::open(settings, &context, progress)?;
        let tokenizer = run.tokenizer.as_deref().map(|folder| cache_tokenizer::<EvaluateError>(&context.cache, folder));
        let tokenizer = tokenizer.transpose()?;
        let all_places = places(settings, &context.cache)?;
        let places = all_places[part.range(all_places.len())].to_vec();
        Ok(Self { settings, progress, context, tokenizer, saes, unembedding, part, all_places, places })
    }

    /// The numbers of the shards of all parts.
    pub(crate) fn all_shards(&self) -> Vec<usize> {
        let shards = &self.context.cache.manifest().shards;
        self.all_places.iter().map(|&place| shards[place].index).collect()
    }

    /// Collects what is asked for of the part's shards.
    pub(crate) fn collect(&self) -> Result<Collected, EvaluateError> {
        let Self { settings, progress, context, places, saes, .. } = self;
        let run = &settings.run;
        let median = self.median()?;
        let mut collectors = Vec::with_capacity(saes.len());
        let mut reports = Vec::with_capacity(saes.len());
        for own in saes {
            let threshold = threshold(run, median, &own.scale);
            warn_of_other_outliers(&own.file, &own.name, &own.scale, threshold.as_ref())?;
            collectors.push(self.collector(own, threshold)?);
            reports.push(SaeLatentsReport::of(own, threshold)?);
        }
        let chosen = settings.ablated(saes)?;
        let point = context.point.input_alone();
        let source = context.source(&point, run.device, None);
        let numbers = GroupNumbers::default();
        let widths = saes.iter().map(|own| (own.name.clone(), own.file.width()));
        let delphi = settings.delphi.as_deref();
        let mut export =
            delphi.map(|folder| DelphiExport::begin(folder, widths, &context.cache, places)).transpose()?;
        let gauge = progress.gauge("latents", Some(self.tokens(places)));
        let left_out = pass(source, places, &collectors, &run.sections(), &numbers, export.as_mut(), &gauge)?;
        drop(gauge);
        if let Some(export) = export {
            export.finish(&context.cache, places)?;
        }
        let ablations = self.ablations(&collectors, &chosen)?;
        let mut collected = Vec::with_capacity(saes.len());
        for ((collector, left_out), ablations) in collectors.into_iter().zip(left_out).zip(ablations) {
            let Collector { sae, statistics, .. } = collector;
            let beside = Beside { left_out, ablations, ..self.of_decoder(&sae)? };
            drop(sae);
            collected.push(CollectedSae { statistics: statistics.finish(&numbers), beside });
        }
        let report = LatentsReport::new(settings, context, places, median, reports);
        Ok(Collected { report, saes: collected })
    }

    fn median(&self) -> Result<Option<MedianRule>, EvaluateError> {
        let run = &self.settings.run;
        let Some(OutlierNorm::MedianMultiple(multiple)) = run.outlier_norm else { return Ok(None) };
        let point = self.context.point.input_alone();
        median_rule(multiple, self.context.source(&point, run.device, None), self.progress).map(Some)
    }

    fn collector<'own>(
        &self,
        own: &'own RunSae,
        threshold: Option<OutlierThreshold>,
    ) -> Result<Collector<'own>, EvaluateError> {
        // The size of a sample of tokens depends on those of all parts.
        let collected = self.settings.of_sae(&own.file, self.tokens(&self.all_places))?;
        Ok(Collector {
            file: &own.file,
            sae: own.file.load_computing_in(self.settings.run.device, Dtype::F32)?,
            scale: own.scale.value,
            rule: OutlierRule::of(threshold),
            statistics: Statistics::new(collected),
        })
    }

    fn ablations(&self, collectors: &[Collector<'_>], chosen: &[Vec<u32>]) -> Result<Vec<Ablations>, EvaluateError> {
        let Self { settings, progress, context, places, .. } = self;
        let run = &settings.run;
        if settings.ablate.is_some()
            && let Some(upper_model) = context.upper_model(context.precision, run.device)?
        {
            let gauge = progress.gauge("ablated", Some(self.tokens(places)));
            let source = context.source(&context.point, run.device, None);
            return ablate(source, places, (collectors, chosen), &run.sections(), &upper_model, &gauge);
        }
        Ok(vec![BTreeMap::new(); collectors.len()])
    }

    /// What an SAE's decoder tells of the part's share of its latents.
    fn of_decoder(&self, sae: &Sae) -> Result<Beside, EvaluateError> {
        let Self { settings, progress, .. } = self;
        let tiles = self.part.range(sae.width().div_ceil(TILE_LATENTS));
        let latents = tiles.start * TILE_LATENTS..sae.width().min(tiles.end * TILE_LATENTS);
        let mut beside = Beside::default();
        if latents.is_empty() {
            return Ok(beside);
        }
        if let Some(unembedding) = &self.unembedding {
            let effects = unembedding.effects(sae, latents.clone(), settings.logit_tokens, *progress)?;
            beside.logits.insert(latents.start, effects);
        }
        if settings.nearest > 0 {
            let gauge = progress.latents("nearest latents", Some(latents.len() as u64));
            let nearest = sae.nearest_latents(latents.clone(), settings.nearest, |latents| gauge.advance(latents))?;
            beside.nearest.insert(latents.start, nearest);
        }
        Ok(beside)
    }

    fn tokens(&self, places: &[usize]) -> u64 {
        let shards = &self.context.cache.manifest().shards;
        places.iter().map(|&place| shards[place].counts.tokens).sum()
    }
}

/// Indices of the shards that are asked for.
fn places(settings: &LatentsSettings, cache: &Cache) -> Result<Vec<usize>, EvaluateError> {
    let shards = cache.manifest().shards.iter().enumerate();
    let wanted = shards.filter(|(_, shard)| settings.shards.contains(shard.index as u64));
    let places: Vec<usize> = wanted.map(|(place, _)| place).collect();
    if places.is_empty() {
        let held: Vec<usize> = cache.manifest().shards.iter().map(|shard| shard.index).collect();
        let (cache, range) = (cache.folder().to_path_buf(), settings.shards);
        return Err(EvaluateError::NoShards { cache, range, held: list(&held) });
    }
    Ok(places)
}
