//! The fields in which two caches differ.

use serde::Serialize;

use crate::format::difference::{Difference, differ};
use crate::format::plan::PlanReader;
use crate::format::records::{Corpus, TokenizerRecord};
use crate::format::settings::HarvestSettings;

/// Every field in which the tokens of two plans differ.
pub(super) fn of_plans(ours: &PlanReader, theirs: &PlanReader) -> Vec<Difference> {
    if ours.blake3() == theirs.blake3() {
        return Vec::new();
    }
    let (a, b) = (&ours.plan().corpus, &theirs.plan().corpus);
    let tokenizer = |tokenizer: &TokenizerRecord| {
        format!("{} tokens, BOS {} ({})", tokenizer.vocab_size, tokenizer.bos_id, tokenizer.bos_text)
    };
    let data = |corpus: &Corpus| {
        let files = corpus.data.files.iter().map(|file| file.blake3.as_str()).collect::<Vec<_>>().join(" ");
        format!("{} documents of {files}, {}", corpus.data.documents, json(&corpus.data.selection))
    };
    let known = [
        differ("tokenizer.blake3", &a.tokenizer.blake3, &b.tokenizer.blake3),
        differ("tokenizer", &tokenizer(&a.tokenizer), &tokenizer(&b.tokenizer)),
        differ("corpus.name", &a.name, &b.name),
        differ("corpus.data", &data(a), &data(b)),
        differ("corpus.data.seed", &json(&a.data.seed), &json(&b.data.seed)),
        differ("corpus.data.max_tokens", &json(&a.data.max_tokens), &json(&b.data.max_tokens)),
        differ("corpus.chat", &json(&a.chat), &json(&b.chat)),
        differ("corpus.packing", &a.packing.as_str(), &b.packing.as_str()),
        differ("corpus.context_length", &a.context_length, &b.context_length),
        differ("corpus.row_group_rows", &a.row_group_rows, &b.row_group_rows),
        differ("corpus.shard_tokens", &a.shard_tokens, &b.shard_tokens),
        differ("corpus.selected_from", &json(&a.selected_from), &json(&b.selected_from)),
        // Covers fields without a name above.
        differ("plan_blake3", &ours.blake3(), &theirs.blake3()),
    ];
    known.into_iter().flatten().collect()
}

/// The first field in which the tokens or settings of two caches differ.
pub(super) fn first(
    (our_plan, ours): (&PlanReader, &HarvestSettings),
    (their_plan, theirs): (&PlanReader, &HarvestSettings),
) -> Option<Difference> {
    of_plans(our_plan, their_plan).into_iter().next().or_else(|| ours.difference(theirs))
}

/// A value as one line of JSON. Every record can be serialised.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
