//! Losses by position.

use hayloft_results::{Columns, first_position};

use super::{Data, Figure, Gallery, caption, drawn, sae_ink, sae_stroke, setting_in_words};
use crate::experiment::entry::Entry;
use crate::experiment::open::Report;
use crate::plot::{Axes, Axis, Ink, Join, Series, Stroke, lines};
use crate::tables::format::four;

/// A plot for each family, dataset, section, model and treatment of outliers.
pub(crate) fn losses(report: &Report) -> Gallery {
    let figures =
        report.settings().iter().enumerate().filter_map(|(number, setting)| figure_of(number, setting)).collect();
    Gallery {
        id: "positions",
        title: "Loss by position",
        introduction: "Mean next-token loss at each position of the sequence, the first being 1; later positions share bins. Both axes are logarithmic.",
        figures,
    }
}

/// One line of the plot.
struct Curve {
    label: String,
    ink: Ink,
    stroke: Stroke,
    /// The mean of each bin; `None` if it has no token, or none was spliced.
    means: Vec<Option<f64>>,
}

fn figure_of(number: usize, setting: &[&Entry]) -> Option<Figure> {
    // Baselines do not depend on the SAE, so any result has them.
    let bins = |entry: &Entry| -> Vec<Columns> {
        let Entry { result, .. } = entry;
        result.sums.by_position().map(|sums| Columns::of(&sums, result.scale)).collect()
    };
    let first = bins(setting[0]);
    let curve = |label: &str, ink, stroke, bins: &[Columns], loss: fn(&Columns) -> Option<f64>| Curve {
        label: label.to_owned(),
        ink,
        stroke,
        means: bins.iter().map(loss).collect(),
    };
    let mut curves = vec![curve("clean", Ink::Reference, Stroke::Solid, &first, |bin| bin.ce_clean)];
    for entry in setting {
        let (ink, stroke) = (sae_ink(entry.sae), sae_stroke(entry.sae));
        curves.push(curve(entry.sae.label(), ink, stroke, &bins(entry), |bin| bin.ce_sae));
    }
    curves.push(curve("zero ablation", Ink::Limit, Stroke::Dotted, &first, |bin| bin.ce_zero));

    let mut data = Data { columns: vec!["Positions".to_owned(), "Tokens".to_owned()], rows: Vec::new() };
    data.columns.extend(curves.iter().map(|curve| curve.label.clone()));
    for (bin, columns) in first.iter().enumerate().filter(|(_, columns)| columns.loss_tokens > 0) {
        let (from, to) = (first_position(bin) + 1, first_position(bin + 1));
        let positions = if from == to { from.to_string() } else { format!("{from}–{to}") };
        let means = curves.iter().map(|curve| four(curve.means.get(bin).copied().flatten()));
        data.rows.push([positions, columns.loss_tokens.to_string()].into_iter().chain(means).collect());
    }
    let middle = |bin: usize| ((first_position(bin) + 1) as f64 * first_position(bin + 1) as f64).sqrt();
    let series: Vec<Series> = curves
        .into_iter()
        .map(|Curve { label, ink, stroke, means }| {
            let points = means.iter().enumerate().filter_map(|(bin, mean)| Some((middle(bin), (*mean)?))).collect();
            Series { label, ink, stroke, points }
        })
        .collect();
    let description = "Lines of mean loss in nats over position: the untouched run, each SAE's, and zero ablation. The table under the picture has the numbers.";
    let caption = caption("positions", number, setting_in_words(setting[0]), description.to_owned());
    let axes = Axes {
        x: ("position in the sequence", Axis::Logarithmic),
        y: ("mean loss, nats", Axis::Logarithmic),
        join: Join::Straight,
    };
    let svg = lines(&caption, &axes, &series, &[]);
    drawn(caption, svg, data)
}
