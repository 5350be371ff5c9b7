//! The two files of statistics of latents.

use std::collections::BTreeMap;
use std::path::Path;

use hayloft_latents::{
    EXAMPLES, ExampleKind, ExampleRow, ExamplesFile, LATENTS, Latent, LatentsError, LatentsFile, OptionalColumns,
    WholeFile,
};
use hayloft_model::Tokenizer;

use super::contexts::{self, Contexts, Sequences};
use crate::error::EvaluateError;
use crate::latents::collect::collected::Finished;
use crate::latents::report::{LatentsReport, SaeLatentsReport};

/// Where the texts of tokens come from.
pub(crate) enum Texts<'run> {
    /// The files have none.
    None,
    Tokenizer(&'run Tokenizer),
    Known(&'run BTreeMap<u32, String>),
}

impl Texts<'_> {
    fn of(&self, token: u32) -> Option<String> {
        match self {
            Self::None => None,
            Self::Tokenizer(tokenizer) => Some(tokenizer.vocabulary_text(token)),
            Self::Known(texts) => texts.get(&token).cloned(),
        }
    }
}

/// Writes both files into a folder. Neither appears before both are whole.
pub(crate) fn write(
    out: &Path,
    report: &LatentsReport,
    finished: &[Finished],
    sequences: &dyn Sequences,
    texts: &Texts<'_>,
) -> Result<(), EvaluateError> {
    let path = out.join(LATENTS);
    let unwritten = |error: serde_json::Error| LatentsError::Write { path: path.clone(), cause: error.into() };
    let about = report.json().map_err(unwritten)?;
    let has = OptionalColumns { logits: report.logit_tokens.is_some(), ablation: report.ablated.is_some() };
    let mut latents = LatentsFile::create(&path, has, &about)?;
    let mut examples = ExamplesFile::create(&out.join(EXAMPLES), !matches!(texts, Texts::None), &about)?;
    for ((own, beside), SaeLatentsReport { name, .. }) in finished.iter().zip(&report.saes) {
        latents.write(name, own, beside, |token| texts.of(token))?;
        let mut first = 0;
        for run in contexts::runs(&own.latents) {
            let contexts = contexts::read(sequences, run, report.window)?;
            let rows: Vec<ExampleRow<'_>> = (first..).zip(run).flat_map(|own| rows(own, &contexts)).collect();
            examples.write(name, &rows, |token| texts.of(token).unwrap_or_default())?;
            first += run.len() as u32;
        }
    }
    let whole = [latents.finish()?, examples.finish()?];
    Ok(whole.into_iter().try_for_each(WholeFile::place)?)
}

/// The examples of a latent, with their contexts.
fn rows<'own>((latent, own): (u32, &'own Latent), contexts: &'own Contexts) -> impl Iterator<Item = ExampleRow<'own>> {
    let kinds = [(ExampleKind::Top, &own.top), (ExampleKind::Sampled, &own.sampled)];
    kinds.into_iter().flat_map(move |(kind, examples)| {
        (0..).zip(examples).filter_map(move |(rank, example)| {
            let context = contexts.get(&contexts::place_of(example))?;
            Some(ExampleRow { latent, kind, rank, example, context })
        })
    })
}
