//! Contents of result files that the report does not show. The report lists them.

use std::fmt;
use std::path::Path;

use hayloft_results::SaeResult;
use serde::{Deserialize, Serialize};

/// Content of an experiment's file that the report does not show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The file.
    pub file: String,
    /// The content.
    pub what: String,
    /// Why the report does not show it.
    pub why: String,
}

/// Whether a result has a kind of metric.
type Has = fn(&SaeResult) -> bool;

impl LeftOut {
    pub(crate) fn new(file: &Path, what: String, why: &str) -> Self {
        Self { file: file.display().to_string(), what, why: why.to_owned() }
    }

    /// Results of an SAE that the experiment does not name.
    pub(crate) fn sae(file: &Path, name: &str, results: &[SaeResult]) -> Self {
        let own = results.iter().filter(|result| result.sae == name);
        let mut sections: Vec<String> = own.map(|result| result.section.to_string()).collect();
        sections.dedup();
        let what = format!("the SAE {name} (sections: {})", sections.join(", "));
        Self::new(file, what, "the experiment's `saes` for this file do not name it")
    }

    /// Metrics that the tables do not show; `None` if there are none.
    pub(crate) fn figures<'results>(
        file: &Path,
        results: impl IntoIterator<Item = &'results SaeResult>,
    ) -> Option<Self> {
        let results: Vec<&SaeResult> = results.into_iter().collect();
        let kinds: [(&str, Has); 4] = [
            ("KL divergences", |result| result.kl.is_some()),
            ("intervals", |result| result.intervals.is_some()),
            ("figures by subset", |result| !result.subsets.is_empty()),
            ("the effect of the stored rounding", |result| result.stored_rounding.is_some()),
        ];
        let held = kinds.into_iter().filter(|(_, has)| results.iter().any(|result| has(result))).map(|(kind, _)| kind);
        let held: Vec<&str> = held.collect();
        let why = "the report has no table of them; they are in that file";
        (!held.is_empty()).then(|| Self::new(file, held.join(", "), why))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, what, why } = self;
        let text = format!("{file}: {what}: {why}");
        formatter.write_str(&text.replace(char::is_control, " "))
    }
}
