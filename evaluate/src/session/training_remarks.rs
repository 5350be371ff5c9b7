//! Compares an SAE's training data with the cache that it is evaluated on.

use hayloft_rows::{ExcludeChoice, Excluded};
use hayloft_sae::{Conventions, SaeFile, WithoutTokens};
use hayloft_store::Manifest;
use hayloft_train::bos_tokens;

use crate::session::context::EvaluationContext;

/// Warns about each difference between the SAE's training data and the cache, and names the closest option.
pub(crate) fn tell(name: &str, file: &SaeFile, context: &EvaluationContext) {
    for remark in remarks(file.conventions(), context.cache.manifest(), &context.excluded) {
        tracing::warn!("SAE {name}: {remark}");
    }
}

fn remarks(conventions: &Conventions, manifest: &Manifest, excluded: &Excluded) -> Vec<String> {
    let Conventions { center_writing_weights: _, prepend_bos, context_size, positions, without } = conventions;
    let bos = manifest.corpus.tokenizer.bos_id;
    let mut remarks = Vec::new();
    let (tokens, sequences) = (bos_tokens(manifest), manifest.planned.sequences);
    let counted = |tokens: u64| format!("the cache has {tokens} BOS tokens in {sequences} sequences");
    match (prepend_bos, tokens) {
        (Some(false), Some(tokens)) if tokens > 0 => {
            let rows = if excluded.contains(bos) {
                format!("--exclude {} leaves its rows out", excluded.choice)
            } else {
                "--exclude bos leaves its rows out of the figures on activations".to_owned()
            };
            let had = counted(tokens);
            remarks.push(format!(
                "it was trained on sequences without BOS (prepend_bos false), and {had}. {rows}; the rows after it are of contexts with BOS all the same"
            ));
        }
        (Some(true), Some(tokens)) if tokens < sequences => {
            let had = counted(tokens);
            remarks.push(format!(
                "it was trained on sequences that begin with BOS (prepend_bos), and {had}. Harvest sequences with BOS to evaluate it on what it was trained on"
            ));
        }
        _ => {}
    }
    let nearest = match without {
        WithoutTokens::None => None,
        WithoutTokens::Special => (excluded.choice != ExcludeChoice::Special).then_some("--exclude special"),
        WithoutTokens::Bos => (!excluded.contains(bos) && tokens != Some(0)).then_some("--exclude bos"),
        WithoutTokens::Ids(ids) if ids.iter().all(|id| excluded.contains(*id)) => None,
        WithoutTokens::Ids(ids) if ids.iter().all(|id| *id == bos) => Some("--exclude bos"),
        WithoutTokens::Ids(_) => Some("--exclude special, as far as they are BOS, EOS, padding or separator,"),
    };
    if let Some(nearest) = nearest {
        remarks.push(format!(
            "it was trained without {without} (exclude_special_tokens), and the figures on activations count them here: {nearest} leaves them out"
        ));
    }
    let length = u64::from(manifest.corpus.context_length);
    if !positions.is_all_of(length) {
        remarks.push(format!(
            "it was trained on the positions {positions} of each sequence (seqpos_slice), and the figures are over all {length} here. No switch leaves positions out; --by position shows the losses at each"
        ));
    }
    if let Some(context) = context_size.filter(|context| *context != length) {
        let nearest = if context < length {
            format!(
                "--by position shows the losses at each position; a harvest with context_length = {context} is what it was trained on"
            )
        } else {
            format!("A harvest with context_length = {context} is what it was trained on")
        };
        remarks.push(format!(
            "it was trained on contexts of {context} tokens (context_size), and the cache's are of up to {length}. {nearest}"
        ));
    }
    remarks
}
