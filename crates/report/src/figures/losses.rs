//! Losses by position.

use hayloft_results::{Columns, first_position};

use super::{Data, Figure, Gallery, caption, drawn};
use crate::experiment::entry::Entry;
use crate::experiment::open::Report;
use crate::plot::{AxisSpec, Chart, Datum, Join, Scale, Series, Style, chart};
use crate::tables::format::four;

/// A picture for each setting.
pub(crate) fn losses(report: &Report) -> Gallery {
    let portions = report.portions();
    let figures = portions.iter().enumerate().filter_map(|(number, portion)| figure_of(report, number, portion));
    Gallery {
        id: "positions",
        title: "Loss by position",
        introduction: "Mean next-token loss at each position of the sequence, the first being 1; later positions share bins. The axis of positions is logarithmic. Positions at which nothing is spliced are in the tables alone.",
        figures: figures.collect(),
    }
}

/// One line of the picture.
struct Curve {
    label: String,
    style: Style,
    /// The mean of each bin; `None` if it has no token, or none was spliced.
    means: Vec<Option<f64>>,
}

fn figure_of(report: &Report, number: usize, portion: &[&Entry]) -> Option<Figure> {
    // Baselines do not depend on the SAE, so any result has them.
    let bins = |entry: &Entry| -> Vec<Columns> {
        let Entry { result, .. } = entry;
        result.sums.by_position().map(|sums| Columns::of(&sums, result.scale)).collect()
    };
    let first = bins(portion[0]);
    let curve = |label: &str, style, bins: &[Columns], loss: fn(&Columns) -> Option<f64>| Curve {
        label: label.to_owned(),
        style,
        means: bins.iter().map(loss).collect(),
    };
    let mut curves = vec![curve("clean", Style::REFERENCE, &first, |bin| bin.ce_clean)];
    for entry in portion {
        curves.push(curve(&entry.sae.label, report.sae_style(entry), &bins(entry), |bin| bin.ce_sae));
    }
    curves.push(curve("zero ablation", Style::LIMIT, &first, |bin| bin.ce_zero));

    let mut data = Data { columns: vec!["Positions".to_owned(), "Tokens".to_owned()], rows: Vec::new() };
    data.columns.extend(curves.iter().map(|curve| curve.label.clone()));
    let positions = |bin: usize| {
        let (from, to) = (first_position(bin) + 1, first_position(bin + 1));
        if from == to { from.to_string() } else { format!("{from}–{to}") }
    };
    for (bin, columns) in first.iter().enumerate().filter(|(_, columns)| columns.loss_tokens > 0) {
        let means = curves.iter().map(|curve| four(curve.means.get(bin).copied().flatten()));
        data.rows.push([positions(bin), columns.loss_tokens.to_string()].into_iter().chain(means).collect());
    }
    let middle = |bin: usize| ((first_position(bin) + 1) as f64 * first_position(bin + 1) as f64).sqrt();
    // Their clean losses compare with nothing, and that of the first position would stretch the axis.
    let is_spliced: Vec<bool> = (0..first.len())
        .map(|bin| curves[1..=portion.len()].iter().any(|own| own.means.get(bin).copied().flatten().is_some()))
        .collect();
    let is_any = is_spliced.contains(&true);
    let series = curves.into_iter().map(|Curve { label, style, means }| {
        let point = |(bin, mean): (usize, &Option<f64>)| {
            // A bin without tokens, or without splices, is a gap.
            let hover = format!("{label}\nposition {}: {} nats", positions(bin), four(*mean));
            Datum::new(middle(bin), mean.unwrap_or(f64::NAN), hover)
        };
        let points = means.iter().enumerate().filter(|(bin, _)| is_spliced[*bin] || !is_any).map(point).collect();
        Series { label: label.clone(), style, join: Join::Straight, has_markers: false, points }
    });
    let description = "Lines of mean loss in nats over position: the untouched run, each SAE's, and zero ablation. The table under the picture has the numbers.";
    let caption = caption("positions", number, report.portion_in_words(portion), description.to_owned());
    let axes = Chart {
        x: AxisSpec { label: "position in the sequence", scale: Scale::Logarithmic, levels: Vec::new() },
        y: AxisSpec { label: "mean loss, nats", scale: Scale::Linear, levels: Vec::new() },
        series: series.collect(),
    };
    drawn(chart(caption, &axes), data)
}
