//! Runs a harvest, from settings to summary.

use std::collections::BTreeSet;
use std::time::Instant;

use hayloft_checkpoint::{Checkpoint, DecoderSpec};
use hayloft_model::{Decoder, Portion, Site, Tokenizer, matrix_product_rate, no_grad};
use hayloft_runtime::{Profile, Profiling, Progress};
use hayloft_store::{Dtype, HarvestSettings, KeptPredictions, Manifest, ModelRecord, SiteName, StoreError, plan_at};

use super::forward::Forward;
use super::open_cache::{check_place, open_cache, requested_shards};
use super::pipeline::{FilledShards, fill};
use super::settings::{RunSettings, ShareSettings, device_name};
use crate::data::DataManifest;
use crate::error::HarvestError;
use crate::identify::identify;
use crate::plan::{PlanRequest, PlanSettings, check_context, check_plan, plan_with};
use crate::summary::{RunSummary, SiteSummary};

/// Fills a cache's planned shards. Plans them first if the cache has no plan.
///
/// Returns immediately if no shard is left to fill. After an error or a kill, complete shards remain, and the same run
/// with [`Existing::Resume`](hayloft_store::Existing::Resume) continues after them.
pub fn run(settings: &RunSettings, progress: Progress) -> Result<RunSummary, HarvestError> {
    harvest(settings, progress, &mut Profiling::begin())
}

/// Like `run`, with a profile of the time.
pub fn run_profiled(settings: &RunSettings, progress: Progress) -> Result<(RunSummary, Profile), HarvestError> {
    let mut profiling = Profiling::begin();
    let summary = harvest(settings, progress, &mut profiling)?;
    let rate = |_| -> Result<f64, HarvestError> {
        let precision = match settings.precision {
            Some(precision) => precision,
            None => Checkpoint::open(&settings.model)?.precision(),
        };
        Ok(matrix_product_rate(precision, settings.device)?)
    };
    let profile = profiling.finish(summary.tokens, rate)?;
    Ok((summary, profile))
}

/// A checked harvest with a plan.
struct CheckedRun {
    checkpoint: Checkpoint,
    sites: Vec<(Site, SiteName)>,
    precision: Dtype,
    kept: Option<KeptPredictions>,
    /// Everything that decides the bytes of the cache's shards.
    cache_settings: HarvestSettings,
}

/// Opens the checkpoint, and ensures that a matching plan exists.
fn check_run(settings: &RunSettings, progress: Progress) -> Result<CheckedRun, HarvestError> {
    check_place(settings)?;
    let checkpoint = Checkpoint::open(&settings.model)?;
    let spec = checkpoint.spec();
    let sites = requested_sites(settings, spec)?;
    let tokenizer = Tokenizer::open(&settings.model)?;
    plan_or_check(settings, &checkpoint, &tokenizer, progress)?;

    let precision = settings.precision.unwrap_or(checkpoint.precision());
    let kept = settings.logits.kept(spec.vocab_size);
    let cache_settings = HarvestSettings {
        model: model_record(&checkpoint, precision, progress)?,
        sites: sites.iter().map(|(_, name)| name.clone()).collect(),
        site_widths: sites.iter().map(|(site, name)| (name.clone(), site.width(spec))).collect(),
        dtype: precision,
        codec: settings.codec,
        predictions: kept,
    };
    Ok(CheckedRun { checkpoint, sites, precision, kept, cache_settings })
}

fn harvest(settings: &RunSettings, progress: Progress, profiling: &mut Profiling) -> Result<RunSummary, HarvestError> {
    let CheckedRun { checkpoint, sites, precision, kept, cache_settings } = check_run(settings, progress)?;
    let mut cache = open_cache(settings, cache_settings)?;
    let queue = cache.queue(requested_shards(settings, &cache)?)?;

    let (filled, seconds) = if queue.is_over() {
        (FilledShards::default(), 0.0)
    } else {
        let deepest = sites.iter().map(|(site, _)| site.block().unwrap_or(site.layer() + 1)).max().unwrap_or(0);
        let (portion, blocks) = if kept.is_some() {
            (Portion::Whole, "all".to_owned())
        } else {
            (Portion::Below(deepest), format!("..{deepest}"))
        };
        tracing::info!(%precision, device = device_name(settings.device), blocks, "loading the model");
        let _guard = no_grad();
        let decoder = Decoder::load(&checkpoint, portion, precision, settings.device)?;
        if settings.stopping.is_asked() {
            return Err(HarvestError::Stopped);
        }
        let forward = Forward::new(decoder, sites, kept);
        let gauge = progress.gauge("harvested", Some(queue.tokens()));
        let start = Instant::now();
        profiling.start();
        let filled = fill(&mut cache, queue, &forward, &settings.stopping, &gauge);
        drop(gauge);
        (filled?, start.elapsed().as_secs_f64())
    };
    let planned_shards = cache.plan().shards.len();
    let manifest = cache.finish()?;
    Ok(summary(settings, planned_shards, &manifest, &filled, seconds))
}

/// Returns the requested sites, each once, with their names in the cache. Includes the sites that an evaluation needs
/// to splice at the requested ones.
fn requested_sites(settings: &RunSettings, spec: &DecoderSpec) -> Result<Vec<(Site, SiteName)>, HarvestError> {
    if settings.sites.is_empty() {
        return Err(HarvestError::NoSites { example: spec.n_blocks / 2 });
    }
    let mut asked = BTreeSet::new();
    for pattern in &settings.sites {
        asked.extend(pattern.sites(spec.n_blocks)?);
    }
    let mut sites = BTreeSet::new();
    for site in asked.iter().copied() {
        site.check(spec)?;
        sites.insert(site);
        for beside in site.beside(spec) {
            if !asked.contains(&beside) && sites.insert(beside) {
                tracing::info!(site = %beside, "kept too: going on from {site} takes it");
            }
        }
    }
    sites.into_iter().map(|site| Ok((site, site.to_string().parse()?))).collect()
}

/// Ensures that a plan exists and matches the request.
fn plan_or_check(
    settings: &RunSettings,
    checkpoint: &Checkpoint,
    tokenizer: &Tokenizer,
    progress: Progress,
) -> Result<(), HarvestError> {
    let planned = match plan_at(&settings.out, &settings.share.as_ref().map(ShareSettings::remote).unwrap_or_default())
    {
        Ok(planned) => planned,
        // With several processes, each would make the plan.
        Err(error @ StoreError::MissingPlan { .. }) if settings.share.is_some() => return Err(error.into()),
        Err(StoreError::MissingPlan { folder }) => {
            let Some(data) = settings.data.clone() else { return Err(HarvestError::NothingPlanned { folder }) };
            let plan_settings = PlanSettings {
                model: settings.model.clone(),
                data,
                data_root: settings.data_root.clone(),
                out: settings.out.clone(),
                shard_tokens: settings.shard_tokens.unwrap_or(PlanSettings::SHARD_TOKENS),
                row_group_rows: settings.row_group_rows.unwrap_or(PlanSettings::ROW_GROUP_ROWS),
            };
            let summary = plan_with(&plan_settings, checkpoint.spec(), tokenizer, &settings.stopping, progress)?;
            tracing::info!(
                documents = summary.documents,
                sequences = summary.sequences,
                tokens = summary.tokens,
                shards = summary.shards,
                "planned"
            );
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let manifest = match &settings.data {
        Some(data) => Some(DataManifest::open(data, settings.data_root.as_deref())?),
        None => None,
    };
    let asked = PlanRequest {
        model: &settings.model,
        data: manifest.as_ref(),
        shard_tokens: settings.shard_tokens,
        row_group_rows: settings.row_group_rows,
    };
    let corpus = &planned.corpus;
    let path = settings.out.join("plan.json");
    check_plan(&path, corpus, tokenizer, &asked)?;
    check_context(&path, corpus.context_length, &settings.model, checkpoint.spec())
}

fn model_record(checkpoint: &Checkpoint, precision: Dtype, progress: Progress) -> Result<ModelRecord, HarvestError> {
    let spec = checkpoint.spec();
    Ok(ModelRecord {
        model_type: spec.model_type.clone(),
        identity: Some(identify(checkpoint, progress)?),
        precision,
        vocab_size: spec.vocab_size,
        d_model: spec.d_model,
        n_blocks: spec.n_blocks,
        context_length: spec.context_length,
    })
}

fn summary(
    settings: &RunSettings,
    planned_shards: usize,
    manifest: &Manifest,
    filled: &FilledShards,
    seconds: f64,
) -> RunSummary {
    let per = |amount: f64, of: f64| (of > 0.0).then(|| amount / of);
    RunSummary {
        folder: settings.out.clone(),
        planned_shards,
        complete_shards: manifest.shards.len(),
        filled_shards: filled.shards,
        tokens: filled.tokens,
        seconds,
        tokens_per_second: per(filled.tokens as f64, seconds),
        bytes: filled.bytes,
        bytes_per_token: per(filled.bytes as f64, filled.tokens as f64),
        sites: manifest
            .sites
            .iter()
            .map(|site| SiteSummary {
                site: site.name.to_string(),
                rows: site.rows,
                mean_norm: site.mean_norm,
                scale: site.scale(),
                non_finite_rows: site.non_finite_rows,
            })
            .collect(),
    }
}
