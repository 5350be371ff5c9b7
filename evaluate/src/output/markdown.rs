//! Results as a Markdown table.

use std::fmt::Write;

use super::table::{BEHIND, Column, EFFECTS, FIGURES};
use crate::results::Results;

impl Results {
    /// A Markdown document with one table: the study's columns, then what stands behind them. A second one says what a
    /// lower precision did to them, where there was one.
    pub fn markdown(&self) -> String {
        let columns: Vec<&Column> = FIGURES.iter().chain(&BEHIND).collect();
        let mut text = String::from("# SAE evaluation\n\n");
        if let Some(first) = self.results.first() {
            let provenance = &first.provenance;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "Site `{}`, corpus `{}`, model type `{}`, {}. Cache manifest BLAKE3 `{}`. Figures are defined in {}.\n",
                first.site,
                provenance.corpus,
                provenance.model.model_type,
                first.precision,
                provenance.manifest_blake3,
                first.definitions,
            );
        }
        text.push_str("| SAE | Section |");
        for (heading, _) in &columns {
            text.extend([" ", *heading, " |"]);
        }
        text.push_str("\n|---|---|");
        text.push_str(&"---:|".repeat(columns.len()));
        text.push('\n');
        for result in &self.results {
            let _ = write!(text, "| {} | {} |", result.sae, result.section);
            for (_, say) in &columns {
                text.extend([" ", &say(result), " |"]);
            }
            text.push('\n');
        }
        if self.results.iter().any(|result| result.compute_effect.is_some()) {
            text.push_str("\n## What the lower precision did to each figure\n\n| SAE | Section | Tokens |");
            for (heading, _) in &EFFECTS {
                text.extend([" ", *heading, " |"]);
            }
            text.push_str("\n|---|---|---:|");
            text.push_str(&"---:|".repeat(EFFECTS.len()));
            text.push('\n');
            for result in &self.results {
                let rows = result.compute_effect.map_or(0, |effect| effect.activation_rows);
                let _ = write!(text, "| {} | {} | {rows} |", result.sae, result.section);
                for (_, say) in &EFFECTS {
                    text.extend([" ", &say(result), " |"]);
                }
                text.push('\n');
            }
        }
        text
    }
}
