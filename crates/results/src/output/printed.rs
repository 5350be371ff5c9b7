//! The columns of each printed table, from the list of columns.

use hayloft_runtime::UNDEFINED;

use crate::columns::{COLUMNS, Column, ColumnTable, Digits, format_number};
use crate::histograms::LatentSummary;
use crate::results::SaeResult;

/// Digits of the scale.
const SCALE: Digits = Digits::Significant(4);

/// Digits of differences between precisions, which are small.
const EFFECT: Digits = Digits::Significant(2);

/// Glyphs of a bar, from empty to full.
const HEIGHTS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Bins per bar: half a decade.
const BINS_PER_BAR: usize = 2;

/// A printed column: the heading, of one or two lines, and the cell of a result.
pub(super) struct Printed {
    pub(super) heading: String,
    pub(super) cell: Box<dyn Fn(&SaeResult) -> String>,
}

impl Printed {
    fn new(heading: impl Into<String>, cell: impl Fn(&SaeResult) -> String + 'static) -> Self {
        Self { heading: heading.into(), cell: Box::new(cell) }
    }

    fn value(column: &'static Column) -> Self {
        Self::new(column.heading, move |result| column.text(&result.columns, result.kl.as_ref()))
    }

    fn half_width(column: &'static Column) -> Self {
        Self::new(column.heading, move |result| {
            let half_width = result.intervals.as_ref().and_then(|own| Some(own.figures.get(column.name)?.half_width()));
            column.shown(half_width).map_or_else(|| UNDEFINED.to_owned(), |half| half_width_text(column, half))
        })
    }

    /// Two lines: the difference from the first SAE, and half the width of its interval.
    fn difference(column: &'static Column) -> Self {
        Self::new(column.heading, move |result| {
            let own = result.intervals.as_ref().and_then(|own| own.difference.as_ref()?.figures.get(column.name));
            let own = own
                .and_then(|own| column.shown(Some(own.difference)).zip(column.shown(Some(own.interval.half_width()))));
            own.map_or_else(
                || UNDEFINED.to_owned(),
                |(difference, half)| {
                    format!("{}\n{}", signed(difference, column.digits), half_width_text(column, half))
                },
            )
        })
    }

    fn effect(column: &'static Column) -> Self {
        Self::new(column.heading, move |result| {
            let effect = result.compute_effect.as_ref().and_then(|effect| *effect.figures.get(column.name)?);
            column.shown(effect).map_or_else(|| UNDEFINED.to_owned(), |effect| signed(effect, EFFECT))
        })
    }
}

/// Half the width of an interval, with the column's digits.
fn half_width_text(column: &Column, half: f64) -> String {
    format!("±{}", format_number(Some(half), column.digits))
}

/// A difference, with its sign.
fn signed(difference: f64, digits: Digits) -> String {
    let sign = if difference.is_sign_negative() { "" } else { "+" };
    format!("{sign}{}", format_number(Some(difference), digits))
}

/// A count; a dash if undefined.
pub fn count(value: Option<u64>) -> String {
    value.map_or_else(|| UNDEFINED.to_owned(), |value| value.to_string())
}

pub(super) fn main() -> Vec<Printed> {
    Column::of(ColumnTable::Main).map(Printed::value).collect()
}

/// Supporting metrics, the scale, and counts.
pub(super) fn supporting() -> Vec<Printed> {
    let (metrics, counts): (Vec<_>, Vec<_>) =
        Column::of(ColumnTable::Supporting).partition(|column| column.depends_on.is_some());
    let mut printed: Vec<Printed> = metrics.into_iter().map(Printed::value).collect();
    printed.push(Printed::new("Scale", |result| format_number(Some(result.scale), SCALE)));
    printed.extend(counts.into_iter().map(Printed::value));
    printed
}

/// Divergences, and the tokens that they are averaged over.
pub(super) fn divergences() -> Vec<Printed> {
    let mut printed: Vec<Printed> = Column::of(ColumnTable::Divergences).map(Printed::value).collect();
    printed.push(Printed::new("Losses", |result| result.columns.loss_tokens.to_string()));
    printed
}

/// Reconstructions and latents.
pub(super) fn details() -> Vec<Printed> {
    let columns = Column::of(ColumnTable::Reconstructions).chain(Column::of(ColumnTable::Latents));
    let mut printed: Vec<Printed> = columns.map(Printed::value).collect();
    printed.push(Printed::new("Dead", |result| count(result.latents.dead)));
    printed.push(Printed::new("Dense", |result| count(result.latents.dense)));
    printed.push(Printed::new("Density 1e-8…1", |result| densities(&result.latents)));
    printed
}

/// Half the width of the interval of each main metric and, if any result has divergences, of KL.
pub(super) fn half_widths(has_kl: bool) -> Vec<Printed> {
    let is_shown = |column: &&Column| column.table == ColumnTable::Main || (has_kl && is_compared_divergence(column));
    COLUMNS.iter().filter(is_shown).map(Printed::half_width).collect()
}

/// The difference of each compared metric.
pub(super) fn differences(has_kl: bool) -> Vec<Printed> {
    let is_shown = |column: &&Column| column.is_compared && (has_kl || !is_compared_divergence(column));
    COLUMNS.iter().filter(is_shown).map(Printed::difference).collect()
}

fn is_compared_divergence(column: &Column) -> bool {
    column.is_compared && column.table == ColumnTable::Divergences
}

/// The effect of a lower precision on each compared metric.
pub(super) fn effects() -> Vec<Printed> {
    Column::of(ColumnTable::Main).filter(|column| column.is_compared).map(Printed::effect).collect()
}

/// The effect of a lower precision, and the rows of the sample.
pub(super) fn effects_with_rows() -> Vec<Printed> {
    let rows = |result: &SaeResult| result.compute_effect.as_ref().map_or(0, |effect| effect.activation_rows);
    let mut printed = vec![Printed::new("Tokens", move |result| rows(result).to_string())];
    printed.extend(effects());
    printed
}

/// A bar for each half decade of firing density; its height is the number of latents.
fn densities(latents: &LatentSummary) -> String {
    let bars: Vec<u64> = latents.log10_density.chunks(BINS_PER_BAR).map(|bins| bins.iter().sum()).collect();
    let largest = bars.iter().copied().max().unwrap_or(0).max(1);
    // Rounded up, so that a single latent is visible.
    let height = |count: u64| (count * (HEIGHTS.len() as u64 - 1)).div_ceil(largest) as usize;
    bars.into_iter().map(|count| HEIGHTS[height(count)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_latent_is_seen_beside_many() {
        let mut log10_density = vec![0; 32];
        log10_density[31] = 1000;
        log10_density[30] = 1000;
        log10_density[29] = 1000;
        log10_density[0] = 1;
        let latents = LatentSummary { dead: Some(0), dense: Some(0), log10_density };
        assert_eq!(densities(&latents), "▁·············▄█");
        assert_eq!(densities(&LatentSummary { dead: None, dense: None, log10_density: vec![0; 32] }), "·".repeat(16));
    }
}
