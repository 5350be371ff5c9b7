//! The tables on stdout.

use hayloft_runtime::TextTable;

use super::printed::{self, Printed};
use super::remarks::EXPLAINED_VARIANCES;
use crate::results::{Results, SaeResult};

impl Results {
    /// Renders two tables, at most `width` columns wide, under the section if all results are of one. Where present,
    /// further tables show divergences, intervals, differences between SAEs, and the effect of a lower precision.
    /// Figures that are undefined in every row are left out. A line describes the rounding of a lossy codec.
    pub fn table(&self, width: usize) -> String {
        let render = |columns: &[Printed]| self.render(columns, width, |_| true);
        let mut blocks: Vec<String> = self.section_in_words().into_iter().collect();
        blocks.extend([render(&printed::main()), EXPLAINED_VARIANCES.join("\n"), render(&printed::supporting())]);
        if let Some(heading) = self.divergence_heading() {
            blocks.extend([heading, render(&printed::divergences())]);
        }
        if let Some((heading, differences)) = self.interval_headings() {
            blocks.extend([heading, render(&printed::half_widths(self.has_kl()))]);
            if let Some(heading) = differences {
                let has_difference =
                    |result: &SaeResult| result.intervals.as_ref().is_some_and(|own| own.difference.is_some());
                blocks.extend([heading, self.render(&printed::differences(self.has_kl()), width, has_difference)]);
            }
        }
        if let Some(effect) = self.results.iter().find_map(|result| result.compute_effect.as_ref()) {
            let (precision, rows) = (effect.precision, effect.activation_rows);
            let heading = format!("What {precision} did to each figure ({precision} less f32, on {rows} tokens)");
            blocks.extend([heading, render(&printed::effects())]);
        }
        blocks.extend(self.remarks());
        blocks.join("\n")
    }

    /// Renders a table that complements [`Results::table`]: cosine similarity, norm ratio, relative bias, L1, counts of
    /// dead and dense latents, and a histogram of firing densities.
    pub fn details(&self, width: usize) -> String {
        self.render(&printed::details(), width, |_| true)
    }

    /// Whether any result has divergences.
    pub(super) fn has_kl(&self) -> bool {
        self.results.iter().any(|result| result.kl.is_some())
    }

    /// Whether results are of different sections, so that tables need a column of them.
    fn has_sections(&self) -> bool {
        self.results.windows(2).any(|pair| pair[0].section != pair[1].section)
    }

    /// The section of all results, if they have one.
    fn section_in_words(&self) -> Option<String> {
        let first = self.results.first().filter(|_| !self.has_sections())?;
        Some(format!("Section: {}", first.section))
    }

    /// Renders a table of the results that `is_shown` accepts.
    fn render(&self, columns: &[Printed], width: usize, is_shown: fn(&SaeResult) -> bool) -> String {
        let names: &[&str] = if self.has_sections() { &["SAE", "Section"] } else { &["SAE"] };
        let headings = names.iter().map(|name| (*name).to_owned());
        let rows = self.results.iter().filter(|result| is_shown(result)).map(|result| {
            let cells = columns.iter().map(|column| (column.cell)(result));
            let own = [result.sae.clone(), result.section.to_string()];
            own.into_iter().take(names.len()).chain(cells).collect()
        });
        let table = TextTable {
            headings: headings.chain(columns.iter().map(|column| column.heading.clone())).collect(),
            names: names.len(),
            rows: rows.collect(),
            is_ruled: true,
        };
        table.fit(width)
    }
}
