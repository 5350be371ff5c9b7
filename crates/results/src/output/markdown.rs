//! Results as Markdown.

use std::fmt::Write;

use super::printed::{self, Printed};
use super::remarks::EXPLAINED_VARIANCES;
use crate::results::Results;

impl Results {
    /// Renders a Markdown document: the study's columns with pooled explained variance and supporting columns; then
    /// latents and reconstructions. Where present, tables of divergences, intervals, differences and the effect of a
    /// lower precision follow.
    pub fn markdown(&self) -> String {
        let mut text = String::from("# SAE evaluation\n\n");
        // Writing to a string cannot fail.
        if let Some(first) = self.results.first() {
            let provenance = &first.provenance;
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
        text.push_str(&self.rows(&printed::main().into_iter().chain(printed::supporting()).collect::<Vec<_>>()));
        for line in EXPLAINED_VARIANCES {
            text.extend(["\n", line, ".\n"]);
        }
        let mut section = |heading: &str, columns: &[Printed]| {
            let _ = write!(text, "\n## {heading}\n\n{}", self.rows(columns));
        };
        section("Latents and reconstructions", &printed::details());
        if let Some(heading) = self.divergence_heading() {
            section(&heading, &printed::divergences());
        }
        if let Some((heading, differences)) = self.interval_headings() {
            section(&heading, &printed::half_widths(self.has_kl()));
            if let Some(heading) = differences {
                section(&heading, &printed::differences(self.has_kl()));
            }
        }
        if self.results.iter().any(|result| result.compute_effect.is_some()) {
            section("What the lower precision did to each figure", &printed::effects_with_rows());
        }
        for line in self.remarks() {
            let _ = write!(text, "\n{line}.\n");
        }
        text
    }

    /// A table with one row per result.
    fn rows(&self, columns: &[Printed]) -> String {
        let mut text = String::from("| SAE | Section |");
        for column in columns {
            text.extend([" ", &in_one_line(&column.heading), " |"]);
        }
        text.push_str("\n|---|---|");
        text.push_str(&"---:|".repeat(columns.len()));
        text.push('\n');
        for result in &self.results {
            // Writing to a string cannot fail.
            let _ = write!(text, "| {} | {} |", result.sae, result.section);
            for column in columns {
                text.extend([" ", &in_one_line(&(column.cell)(result)), " |"]);
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
