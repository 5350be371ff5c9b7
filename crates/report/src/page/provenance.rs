//! Provenance of the metrics.

use crate::experiment::entry::Entry;
use crate::experiment::open::Report;

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Fact {
    pub(crate) what: String,
    pub(crate) value: String,
}

impl Report {
    /// Versions, models, caches and SAEs, without duplicates.
    pub(crate) fn provenance(&self) -> Vec<Fact> {
        let mut facts = vec![fact("Report", format!("hayloft {}", env!("CARGO_PKG_VERSION")))];
        for entry in &self.entries {
            for fact in facts_of(entry) {
                if !facts.contains(&fact) {
                    facts.push(fact);
                }
            }
        }
        // A stable sort: each kind stays in the experiment's order.
        facts[1..].sort_by_key(|fact| {
            ["Evaluated", "Model", "Cache", "SAE"].iter().position(|kind| fact.what.starts_with(kind))
        });
        facts
    }
}

fn facts_of(entry: &Entry) -> [Fact; 4] {
    let Entry { family, model, sae, dataset, result, .. } = entry;
    let provenance = &result.provenance;
    let files = provenance.sae.files.iter().map(|file| format!("{} BLAKE3 {}", file.file, file.blake3));
    let said = &provenance.sae;
    let of_family = |label: &str| match family {
        Some(family) => format!("{}, {label}", family.label),
        None => label.to_owned(),
    };
    let (sae, model) = (of_family(&sae.label), of_family(&model.label));
    [
        fact(
            "Evaluated",
            format!(
                "by hayloft {}, in {}, figures as defined in {}",
                provenance.hayloft_version, result.precision, result.definitions
            ),
        ),
        fact(
            &format!("Model {model}"),
            format!("{}, identity SHA-256 {}", provenance.model.model_type, provenance.model.identity()),
        ),
        fact(
            &format!("Cache of {} for {model}", dataset.label),
            format!(
                "corpus {}, site {}, manifest BLAKE3 {}",
                provenance.corpus, result.site, provenance.manifest_blake3
            ),
        ),
        fact(
            &format!("SAE {sae}"),
            format!("{}, {} latents, {}", said.architecture, said.width, files.collect::<Vec<_>>().join(", ")),
        ),
    ]
}

fn fact(what: &str, value: String) -> Fact {
    Fact { what: what.to_owned(), value }
}
