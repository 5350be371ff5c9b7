//! The latents of an SAE, each with its figures and examples, in pieces that share a table of tokens.

use std::collections::{BTreeMap, HashMap};

use hayloft_latents::{ExampleKind, ExampleRecord, GroupRecord, LatentRecord, LogitEffect};
use serde::Serialize;

use crate::error::BrowserError;
use crate::scripts::{DataFolder, Pieces};
use crate::spelling::{Spelling, term};

/// Tokens that stand for a latent in the table.
const LABEL_TOKENS: usize = 4;

/// The pieces of an SAE's latents, in the making.
#[derive(Debug)]
pub(crate) struct LatentPieces {
    pub(crate) pieces: Pieces,
    spelling: Spelling,
    tokens: TokenTable,
}

/// The distinct tokens of a piece. Examples refer to them by their places.
#[derive(Debug, Default, Serialize)]
struct TokenTable {
    ids: Vec<u32>,
    /// Readable texts; empty where the files have ids alone.
    texts: Vec<String>,
    #[serde(skip)]
    places: HashMap<u32, usize>,
}

/// What the table and the search need of a latent's top examples.
#[derive(Debug, Default)]
pub(crate) struct TopTokens {
    /// The most frequent tokens at which the examples are.
    pub(crate) label: Vec<String>,
    /// What the tokens at which the latent fires are found by, and how often it fires at them.
    pub(crate) terms: BTreeMap<String, u32>,
}

#[derive(Serialize)]
struct LatentItem<'own> {
    firings: u64,
    mean: Option<f64>,
    max: Option<f32>,
    quantiles: &'own [Option<f64>],
    /// Where a bin begins and ends, and its count.
    histogram: Vec<(f32, f32, u64)>,
    /// Firings in the groups that the SAE's contents name.
    sections: Vec<u64>,
    subsets: Vec<u64>,
    turns: Vec<u64>,
    nearest: &'own [(u32, f32)],
    /// A latent, tokens at which both fire, and the Jaccard index.
    cofiring: Vec<(u32, u64, f64)>,
    raised: Vec<EffectItem>,
    lowered: Vec<EffectItem>,
    ablation: Option<AblationItem>,
    examples: Vec<ExampleItem<'own>>,
}

#[derive(Serialize)]
struct EffectItem {
    token: u32,
    effect: f32,
    text: Option<String>,
}

#[derive(Serialize)]
struct AblationItem {
    tokens: u64,
    delta: f64,
}

#[derive(Serialize)]
struct ExampleItem<'own> {
    top: bool,
    activation: f32,
    sequence: u64,
    document: Option<u64>,
    section: Option<&'own str>,
    subset: Option<&'own str>,
    turn: Option<u32>,
    /// Position of the context's first token.
    first: u32,
    /// The example's place in its context.
    at: usize,
    /// Places in the piece's table of tokens.
    tokens: Vec<usize>,
    /// Places in the context and activations, where the latent fires.
    fires: Vec<(usize, f32)>,
    /// Places at which the SAE was not run.
    unread: Vec<usize>,
}

impl TokenTable {
    fn place(&mut self, id: u32, text: Option<&str>, spelling: Spelling) -> usize {
        *self.places.entry(id).or_insert_with(|| {
            self.ids.push(id);
            self.texts.extend(text.map(|text| spelling.readable(text)));
            self.ids.len() - 1
        })
    }

    /// A token as it is shown: its text, or its id.
    fn shown(&self, place: usize) -> String {
        self.texts.get(place).cloned().unwrap_or_else(|| self.ids[place].to_string())
    }
}

impl LatentPieces {
    pub(crate) fn new(prefix: &str, spelling: Spelling) -> Self {
        Self { pieces: Pieces::new(format!("{prefix}/latents")), spelling, tokens: TokenTable::default() }
    }

    /// Adds a latent with its examples.
    pub(crate) fn add(
        &mut self,
        latent: &LatentRecord,
        examples: &[ExampleRecord],
        into: &mut DataFolder,
    ) -> Result<TopTokens, BrowserError> {
        let items: Vec<ExampleItem<'_>> = examples.iter().map(|own| self.example(own)).collect();
        let top = self.top_tokens(&items);
        let spelling = self.spelling;
        let effects = |effects: &[LogitEffect]| -> Vec<EffectItem> {
            let item = |own: &LogitEffect| EffectItem {
                token: own.token,
                effect: own.effect,
                text: own.text.as_deref().map(|text| spelling.readable(text)),
            };
            effects.iter().map(item).collect()
        };
        let item = LatentItem {
            firings: latent.firings,
            mean: latent.mean,
            max: latent.max,
            quantiles: &latent.quantiles,
            histogram: latent.histogram.iter().map(|bin| (bin.from, bin.to, bin.count)).collect(),
            sections: firings(&latent.sections),
            subsets: firings(&latent.subsets),
            turns: firings(&latent.turns),
            nearest: &latent.nearest,
            cofiring: latent.cofiring.iter().map(|own| (own.latent, own.together, own.jaccard)).collect(),
            raised: effects(&latent.logits_raised),
            lowered: effects(&latent.logits_lowered),
            ablation: latent.ablation.map(|own| AblationItem { tokens: own.tokens, delta: own.ce_delta }),
            examples: items,
        };
        if self.pieces.push(&item)? {
            self.end(into)?;
        }
        Ok(top)
    }

    /// Writes what is left.
    pub(crate) fn end(&mut self, into: &mut DataFolder) -> Result<(), BrowserError> {
        self.pieces.end(Some(&std::mem::take(&mut self.tokens)), into)
    }

    fn example<'own>(&mut self, own: &'own ExampleRecord) -> ExampleItem<'own> {
        let places = 0..own.tokens().len();
        let tokens = own.tokens().iter().enumerate();
        let tokens = tokens.map(|(place, id)| self.tokens.place(*id, own.text_at(place), self.spelling)).collect();
        let fires = |place| Some((place, own.activation_at(place).filter(|value| *value > 0.0)?));
        ExampleItem {
            top: own.kind == ExampleKind::Top,
            activation: own.activation,
            sequence: own.sequence,
            document: own.document,
            section: own.section.as_deref(),
            subset: own.subset.as_deref(),
            turn: own.turn,
            first: own.first_position,
            at: own.place(),
            tokens,
            fires: places.clone().filter_map(fires).collect(),
            unread: places.filter(|place| own.activation_at(*place).is_none()).collect(),
        }
    }

    fn top_tokens(&self, examples: &[ExampleItem<'_>]) -> TopTokens {
        let mut top = TopTokens::default();
        let mut peaks: Vec<(usize, usize)> = Vec::new();
        for example in examples.iter().filter(|example| example.top) {
            let token = example.tokens[example.at];
            match peaks.iter_mut().find(|(other, _)| *other == token) {
                Some((_, count)) => *count += 1,
                None => peaks.push((token, 1)),
            }
            for (place, _) in &example.fires {
                *top.terms.entry(term(&self.tokens.shown(example.tokens[*place]))).or_default() += 1;
            }
        }
        peaks.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        top.label = peaks.iter().take(LABEL_TOKENS).map(|(token, _)| self.tokens.shown(*token)).collect();
        top
    }
}

fn firings(groups: &[GroupRecord]) -> Vec<u64> {
    groups.iter().map(|own| own.firings).collect()
}
