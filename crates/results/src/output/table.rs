//! The tables on stdout.

use super::grid::ruled;
use super::printed::{self, Printed};
use super::remarks::{EXPLAINED_VARIANCES, NAME_WIDTH};
use crate::results::sae_names::shortened;
use crate::results::{Results, SaeResult};

impl Results {
    /// Renders two tables, at most 120 columns wide for names and numbers of usual length. Where present, further
    /// tables show divergences, intervals, differences between SAEs, and the effect of a lower precision. A line
    /// describes the rounding of a lossy codec.
    pub fn table(&self) -> String {
        let mut blocks =
            vec![self.render(&printed::main()), EXPLAINED_VARIANCES.join("\n"), self.render(&printed::supporting())];
        if let Some(heading) = self.divergence_heading() {
            blocks.extend([heading, self.render(&printed::divergences())]);
        }
        if let Some((heading, differences)) = self.interval_headings() {
            blocks.extend([heading, self.render(&printed::half_widths(self.has_kl()))]);
            if let Some(heading) = differences {
                let has_difference =
                    |result: &SaeResult| result.intervals.as_ref().is_some_and(|own| own.difference.is_some());
                blocks.extend([heading, self.render_where(&printed::differences(self.has_kl()), has_difference)]);
            }
        }
        if let Some(effect) = self.results.iter().find_map(|result| result.compute_effect.as_ref()) {
            let (precision, rows) = (effect.precision, effect.activation_rows);
            let heading = format!("What {precision} did to each figure ({precision} less f32, on {rows} tokens)");
            blocks.extend([heading, self.render(&printed::effects())]);
        }
        blocks.extend(self.remarks());
        blocks.join("\n")
    }

    /// Renders a table that complements [`Results::table`]: cosine similarity, norm ratio, relative bias, L1, counts of
    /// dead and dense latents, and a histogram of firing densities.
    pub fn details(&self) -> String {
        self.render(&printed::details())
    }

    /// Whether any result has divergences.
    pub(super) fn has_kl(&self) -> bool {
        self.results.iter().any(|result| result.kl.is_some())
    }

    fn render(&self, columns: &[Printed]) -> String {
        self.render_where(columns, |_| true)
    }

    /// Renders a table of the results that `is_shown` accepts.
    fn render_where(&self, columns: &[Printed], is_shown: fn(&SaeResult) -> bool) -> String {
        let names: Vec<&str> = self.results.iter().map(|result| result.sae.as_str()).collect();
        let names = shortened(&names, NAME_WIDTH);
        let fixed = ["SAE", "Section"].map(str::to_owned);
        let headings: Vec<String> =
            fixed.into_iter().chain(columns.iter().map(|column| column.heading.clone())).collect();
        let shown = self.results.iter().zip(names).filter(|(result, _)| is_shown(result));
        let rows = shown.map(|(result, name)| {
            let cells = columns.iter().map(|column| (column.cell)(result));
            [name, result.section.to_string()].into_iter().chain(cells).collect()
        });
        ruled(&headings, rows, 2)
    }
}
