//! Results as a Markdown table.

use std::fmt::Write;

use super::details::DETAILS;
use super::table::{BEHIND, Column, DIVERGENCES, EFFECTS, EXPLAINED_VARIANCES, FIGURES};
use crate::results::Results;

impl Results {
    /// A Markdown document with two tables: the study's columns and the pooled explained variance, then what stands behind them; what else is known of latents and
    /// reconstructions. More tables say how far
    /// predictions are from the clean run's, where that was asked for, and what a lower precision did to the figures, where there
    /// was one.
    pub fn markdown(&self) -> String {
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
        text.push_str(&self.rows(&FIGURES.iter().chain(&BEHIND).collect::<Vec<_>>()));
        for line in EXPLAINED_VARIANCES {
            text.extend(["\n", line, ".\n"]);
        }
        text.push_str("\n## Latents and reconstructions\n\n");
        text.push_str(&self.rows(&DETAILS.iter().collect::<Vec<_>>()));
        if let Some(heading) = self.divergence_heading() {
            let _ = write!(text, "\n## {heading}\n\n");
            text.push_str(&self.rows(&DIVERGENCES.iter().collect::<Vec<_>>()));
        }
        if let Some((heading, differences)) = self.interval_headings() {
            let _ = write!(text, "\n## {heading}\n\n");
            text.push_str(&self.rows(&self.half_widths().iter().collect::<Vec<_>>()));
            if let Some(heading) = differences {
                let _ = write!(text, "\n## {heading}\n\n");
                text.push_str(&self.rows(&self.differences().iter().collect::<Vec<_>>()));
            }
        }
        if self.results.iter().any(|result| result.compute_effect.is_some()) {
            text.push_str("\n## What the lower precision did to each figure\n\n");
            let tokens: Column =
                ("Tokens", |result| result.compute_effect.map_or(0, |effect| effect.activation_rows).to_string());
            text.push_str(&self.rows(&std::iter::once(&tokens).chain(&EFFECTS).collect::<Vec<_>>()));
        }
        for line in self.conventions_in_words() {
            text = format!("{text}\n{line}.\n");
        }
        if let Some(rounding) = self.results.iter().find_map(|result| result.stored_rounding) {
            text = format!("{text}\n{}.\n", rounding.in_words());
        }
        text
    }

    /// A table with a row for each result.
    fn rows(&self, columns: &[&Column]) -> String {
        let mut text = String::from("| SAE | Section |");
        for (heading, _) in columns {
            text.extend([" ", &in_one_line(heading), " |"]);
        }
        text.push_str("\n|---|---|");
        text.push_str(&"---:|".repeat(columns.len()));
        text.push('\n');
        for result in &self.results {
            // Writing to a string cannot fail.
            let _ = write!(text, "| {} | {} |", result.sae, result.section);
            for (_, say) in columns {
                text.extend([" ", &in_one_line(&say(result)), " |"]);
            }
            text.push('\n');
        }
        text
    }
}

/// A cell as Markdown has it.
fn in_one_line(cell: &str) -> String {
    cell.replace('\n', " ")
}
