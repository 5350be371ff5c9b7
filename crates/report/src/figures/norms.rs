//! Histograms of norms, with the outlier threshold.

use hayloft_results::{Digits, format_number};

use super::{Data, Figure, Gallery, caption, drawn, model_style, place_in_words};
use crate::experiment::entry::Entry;
use crate::experiment::open::Report;
use crate::experiment::role::ModelRole;
use crate::plot::{Axes, Axis, Join, Series, Threshold, lines};

/// The height of an empty bin on a logarithmic axis: below one row.
const NONE: f64 = 0.5;

/// A plot for each family, dataset and section, with a line for each model.
pub(crate) fn norms(report: &Report) -> Gallery {
    let mut places: Vec<Vec<&Entry>> = Vec::new();
    for entry in &report.entries {
        let key = |entry: &Entry| (entry.family.clone(), entry.dataset.clone(), entry.result.section);
        match places.iter_mut().find(|place| key(place[0]) == key(entry)) {
            Some(place) => place.push(entry),
            None => places.push(vec![entry]),
        }
    }
    let figures = places.iter().enumerate().filter_map(|(number, place)| place_figure(number, place));
    Gallery {
        id: "norms",
        title: "Norms of activations",
        introduction: "Norms after scaling, outliers among them. Both axes are logarithmic; where the line touches the bottom there is no activation.",
        figures: figures.collect(),
    }
}

fn place_figure(number: usize, place: &[&Entry]) -> Option<Figure> {
    let headings = ["Model", "Norm from", "to", "Activations"].map(str::to_owned);
    let mut data = Data { columns: headings.into(), rows: Vec::new() };
    let mut series = Vec::new();
    let mut thresholds: Vec<Threshold> = Vec::new();
    for model in ModelRole::ALL {
        // Norms are the same for every SAE. A result with a threshold also has the threshold's scale.
        let of_model = || place.iter().filter(|entry| entry.model == model);
        let filtered = of_model().find(|entry| entry.result.outlier_norm.is_some());
        let Some(entry) = filtered.or_else(|| of_model().next()) else { continue };
        let result = &entry.result;
        if let Some(norm) = result.outlier_norm {
            let label = format!("outliers above {norm}");
            if !thresholds.iter().any(|threshold| threshold.label == label) {
                thresholds.push(Threshold { label, x: norm });
            }
        }
        let mut points = Vec::new();
        let mut end = None;
        for (from, to, count) in result.sums.norms.bins() {
            let (from, to) = (result.scale * from, result.scale * to);
            if points.is_empty() {
                points.push((from, NONE));
            }
            points.push((from, (count as f64).max(NONE)));
            end = Some((to, NONE));
            if count > 0 {
                data.rows.push(vec![
                    model.label().to_owned(),
                    format_number(Some(from), Digits::Decimals(3)),
                    format_number(Some(to), Digits::Decimals(3)),
                    count.to_string(),
                ]);
            }
        }
        points.extend(end);
        let (ink, stroke) = model_style(model);
        series.push(Series { label: model.label().to_owned(), ink, stroke, points });
    }
    let mut description = "Histogram of activation norms on logarithmic axes, a line for each model. ".to_owned();
    for Threshold { label, .. } in &thresholds {
        description.extend(["A vertical line marks the threshold: ", label.as_str(), ". "]);
    }
    description.push_str("The table under the picture has the numbers.");
    let caption = caption("norms", number, place_in_words(place[0]), description);
    let axes = Axes {
        x: ("norm of the scaled activation", Axis::Logarithmic),
        y: ("activations", Axis::Logarithmic),
        join: Join::Steps,
    };
    let svg = lines(&caption, &axes, &series, &thresholds);
    drawn(caption, svg, data)
}
