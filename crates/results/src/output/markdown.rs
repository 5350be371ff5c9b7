//! Results as Markdown.

use std::fmt::Write;

use super::details::DETAILS;
use super::table::{BEHIND, Column, DIVERGENCES, EFFECTS, EXPLAINED_VARIANCES, FIGURES};
use crate::results::Results;

impl Results {
    /// Renders a Markdown document: the study's columns with pooled explained variance and supporting columns; then
    /// latents and reconstructions. Where present, tables of divergences, intervals, differences and the effect of a
    /// lower precision follow.
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

    /// A table with one row per result.
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

/// Replaces line breaks, which a Markdown cell cannot hold.
fn in_one_line(cell: &str) -> String {
    cell.replace('\n', " ")
}
