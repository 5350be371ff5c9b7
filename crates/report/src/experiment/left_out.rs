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

impl LeftOut {
    pub(crate) fn new(file: &Path, what: String, why: &str) -> Self {
        Self { file: file.display().to_string(), what, why: why.to_owned() }
    }

    /// Results of an SAE that the experiment does not name, all in the same file.
    pub(crate) fn sae(file: &Path, name: &str, results: &[&SaeResult], why: &str) -> Self {
        let mut sections: Vec<String> = results.iter().map(|result| result.section.to_string()).collect();
        sections.dedup();
        Self::new(file, format!("the SAE {name} (sections: {})", sections.join(", ")), why)
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, what, why } = self;
        let text = format!("{file}: {what}: {why}");
        formatter.write_str(&text.replace(char::is_control, " "))
    }
}
