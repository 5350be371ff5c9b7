//! Losses by position.

use hayloft_results::{BinSums, first_position};

use super::{Data, Figure, Gallery, caption, drawn, sae_ink, sae_stroke, setting_in_words};
use crate::plot::{Axes, Axis, Ink, Join, Series, Stroke, lines};
use crate::report::entry::Entry;
use crate::report::load::Report;
use crate::report::numbers::four;

/// A plot for each family, dataset, section, model and treatment of outliers.
pub(super) fn losses(report: &Report) -> Gallery {
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
    let first = &setting[0].result.sums.positions;
    let counts = first.loss_tokens.values();
    let mean = |sums: &BinSums, bin: usize| match (sums.values().get(bin), counts.get(bin)) {
        (Some(sum), Some(&count)) if count > 0 => Some(sum / count as f64),
        _ => None,
    };
    let unspliced = |label: &str, ink, stroke, sums: &BinSums| {
        let means = (0..counts.len()).map(|bin| mean(sums, bin)).collect();
        Curve { label: label.to_owned(), ink, stroke, means }
    };
    let mut curves = vec![unspliced("clean", Ink::Reference, Stroke::Solid, &first.clean_loss)];
    for entry in setting {
        let sums = &entry.result.sums;
        let at = |bin| mean(&sums.positions.sae_loss, bin).filter(|_| sums.is_spliced_at(bin));
        curves.push(Curve {
            label: entry.sae.label().to_owned(),
            ink: sae_ink(entry.sae),
            stroke: sae_stroke(entry.sae),
            means: (0..counts.len()).map(at).collect(),
        });
    }
    curves.push(unspliced("zero ablation", Ink::Limit, Stroke::Dotted, &first.zero_loss));

    let mut data = Data { columns: vec!["Positions".to_owned(), "Tokens".to_owned()], rows: Vec::new() };
    data.columns.extend(curves.iter().map(|curve| curve.label.clone()));
    for (bin, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (from, to) = (first_position(bin) + 1, first_position(bin + 1));
        let positions = if from == to { from.to_string() } else { format!("{from}–{to}") };
        let means = curves.iter().map(|curve| four(curve.means[bin]));
        data.rows.push([positions, count.to_string()].into_iter().chain(means).collect());
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
