//! Writes the cache that a conformance case describes, in the form of `conformance/README.md`.
//!
//! ```text
//! cargo run -p hayloft-store --example conformance_writer -- CASE CACHE
//! ```

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use hayloft_store::{
    CacheWriter, Corpus, Existing, HarvestSettings, NonFinite, PlanWriter, Predictions, Sequence, Tokens,
};
use serde::Deserialize;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    let mut given = std::env::args_os().skip(1);
    let (Some(case), Some(cache)) = (given.next(), given.next()) else {
        return Err("usage: conformance_writer CASE CACHE".into());
    };
    write(case.as_ref(), cache.as_ref())
}

#[derive(Deserialize)]
struct Case {
    corpus: Corpus,
    settings: HarvestSettings,
    shards: Vec<CaseShard>,
}

#[derive(Deserialize)]
struct CaseShard {
    index: usize,
    sequences: Vec<CaseSequence>,
    tokens: CaseTokens,
    predictions: Option<CasePredictions>,
}

#[derive(Deserialize)]
struct CaseSequence {
    sequence: u64,
    document: u64,
    subset: Option<String>,
    first_row: u64,
    length: u32,
    row_group: u32,
}

#[derive(Deserialize)]
struct CaseTokens {
    sequence: Vec<u64>,
    position: Vec<u32>,
    token: Vec<u32>,
    section: Vec<hayloft_store::Section>,
    document: Vec<u64>,
    subset: Vec<Option<String>>,
}

#[derive(Deserialize)]
struct CasePredictions {
    loss: Vec<Option<f32>>,
    logsumexp: Vec<f32>,
    entropy: Vec<f32>,
    #[serde(default)]
    top_ids: Vec<Vec<u32>>,
    #[serde(default)]
    top_logits: Vec<Vec<f32>>,
}

/// Writes the cache of the folder `case` to the folder `cache`.
pub fn write(case: &Path, cache: &Path) -> Result<()> {
    let Case { corpus, settings, shards } = serde_json::from_slice(&fs::read(case.join("expected.json"))?)?;
    let mut plan = PlanWriter::create(cache)?;
    let mut predictions = Vec::new();
    for shard in shards {
        let sequences: Vec<Sequence> = shard.sequences.into_iter().map(Into::into).collect();
        plan.add_shard(&sequences, &shard.tokens.into())?;
        predictions.push((shard.index, shard.predictions.map(Into::into)));
    }
    plan.finish(corpus)?;
    let mut writer = CacheWriter::open(cache, settings, NonFinite::Allow, Existing::Refuse)?;
    for (index, predictions) in predictions {
        let done = fill(&writer, &case.join(format!("rows/{index:05}")), index, predictions)?;
        writer.record(done)?;
    }
    writer.finish()?;
    Ok(())
}

/// Writes one shard with the words of the files in the folder `rows`.
fn fill(
    writer: &CacheWriter,
    rows: &Path,
    index: usize,
    predictions: Option<Predictions>,
) -> Result<hayloft_store::WrittenShard> {
    let settings = writer.settings();
    let mut shard = writer.begin_shard(index)?;
    let counts = shard.row_group_rows().to_vec();
    let read = |name: &str, width: usize| -> Result<Vec<Vec<u8>>> {
        let words = fs::read(rows.join(format!("{name}.bin")))?;
        let mut rest = words.as_slice();
        let mut group = |rows: &u64| rest.split_off(..*rows as usize * width * settings.dtype.bytes());
        let groups: Option<Vec<_>> = counts.iter().map(|rows| group(rows).map(<[u8]>::to_vec)).collect();
        Ok(groups.ok_or_else(|| format!("{}: {name}.bin is too short", rows.display()))?)
    };
    for site in &settings.sites {
        for group in read(site.as_str(), settings.width(site))? {
            shard.write_activations(site, group)?;
        }
    }
    if settings.predictions.is_some_and(|kept| kept.full_logits) {
        for group in read("logits", settings.model.vocab_size)? {
            shard.write_logits(group)?;
        }
    }
    Ok(shard.finish(predictions)?)
}

impl From<CaseSequence> for Sequence {
    fn from(given: CaseSequence) -> Self {
        let CaseSequence { sequence: id, document, subset, first_row, length, row_group } = given;
        Self { id, document, subset, first_row, length, row_group }
    }
}

impl From<CaseTokens> for Tokens {
    fn from(given: CaseTokens) -> Self {
        let CaseTokens { sequence, position, token, section, document, subset } = given;
        let subset = subset.into_iter().map(|subset| subset.map(Arc::from)).collect();
        Self { token, position, section, sequence, document, subset, turn: Vec::new() }
    }
}

impl From<CasePredictions> for Predictions {
    fn from(given: CasePredictions) -> Self {
        let CasePredictions { loss, logsumexp, entropy, top_ids, top_logits } = given;
        Self {
            loss: loss.into_iter().map(|loss| loss.unwrap_or(f32::NAN)).collect(),
            logsumexp,
            entropy,
            top_k: top_ids.first().map_or(0, Vec::len),
            top_ids: top_ids.concat(),
            top_logits: top_logits.concat(),
        }
    }
}
