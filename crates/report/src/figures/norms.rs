//! Histograms of norms, with the outlier threshold.

use hayloft_results::{Digits, format_number};
use hayloft_runtime::words::brief;

use super::{Data, Figure, Gallery, caption, drawn, model_style};
use crate::experiment::entry::Entry;
use crate::experiment::open::Report;
use crate::plot::{AxisSpec, Chart, Datum, Join, Level, Scale, Series, chart};

/// The height of an empty bin on a logarithmic axis: below one row.
const NONE: f64 = 0.5;

/// A picture for each family, dataset, section and site, with a line for each model.
pub(crate) fn norms(report: &Report) -> Gallery {
    let mut places: Vec<Vec<&Entry>> = Vec::new();
    for entry in &report.entries {
        let key = |entry: &Entry| {
            let Entry { dataset, family, site, result, .. } = entry;
            // Models of a family are at the same site.
            (family.clone(), dataset.clone(), result.section, family.is_none().then(|| site.clone()))
        };
        match places.iter_mut().find(|place| key(place[0]) == key(entry)) {
            Some(place) => place.push(entry),
            None => places.push(vec![entry]),
        }
    }
    let figures = places.iter().enumerate().filter_map(|(number, place)| place_figure(report, number, place));
    Gallery {
        id: "norms",
        title: "Norms of activations",
        introduction: "Norms after scaling, outliers among them. Both axes are logarithmic; where the line touches the bottom there is no activation.",
        figures: figures.collect(),
    }
}

fn place_figure(report: &Report, number: usize, place: &[&Entry]) -> Option<Figure> {
    let headings = ["Model", "Norm from", "to", "Activations"].map(str::to_owned);
    let mut data = Data { columns: headings.into(), rows: Vec::new() };
    let (mut series, mut norms): (Vec<Series>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut models: Vec<_> = place.iter().map(|entry| &entry.model).collect();
    models.sort();
    models.dedup();
    let three = |value: f64| format_number(Some(value), Digits::Decimals(3));
    for (number, model) in models.into_iter().enumerate() {
        // Norms are the same for every SAE. A result with a threshold also has the threshold's scale.
        let of_model = || place.iter().filter(|entry| entry.model == *model);
        let filtered = of_model().find(|entry| entry.is_filtered());
        let Some(entry) = filtered.or_else(|| of_model().next()) else { continue };
        let result = &entry.result;
        if let Some(norm) = result.outlier_norm {
            norms.extend((!norms.contains(&norm)).then_some(norm));
        }
        let mut points = Vec::new();
        let mut end = None;
        for (from, to, count) in result.sums.norms.bins() {
            let (from, to) = (result.scale * from, result.scale * to);
            if points.is_empty() {
                points.push(Datum::new(from, NONE, String::new()));
            }
            let hover = format!("{}\n{count} activations from {} to {}", model.label, three(from), three(to));
            points.push(Datum::new(from, (count as f64).max(NONE), hover));
            end = Some(Datum::new(to, NONE, String::new()));
            if count > 0 {
                data.rows.push(vec![model.label.clone(), three(from), three(to), count.to_string()]);
            }
        }
        points.extend(end);
        let style = model_style(entry, number);
        series.push(Series { label: model.label.clone(), style, join: Join::Steps, has_markers: false, points });
    }
    let mut description = "Histogram of activation norms on logarithmic axes, a line for each model. ".to_owned();
    // One label for all lines, which may lie close to each other.
    let label = format!("outliers above {}", norms.iter().map(|norm| brief(*norm)).collect::<Vec<_>>().join(" and "));
    if !norms.is_empty() {
        description.extend(["A vertical line marks the threshold: ", &label, ". "]);
    }
    let level =
        |(place, &value): (usize, &f64)| Level { value, label: if place == 0 { label.clone() } else { String::new() } };
    let levels = norms.iter().enumerate().map(level).collect();
    description.push_str("The table under the picture has the numbers.");
    let caption = caption("norms", number, report.place_in_words(place[0]), description);
    let axis = |label, levels| AxisSpec { label, scale: Scale::Logarithmic, levels };
    let parts = Chart { x: axis("norm of the scaled activation", levels), y: axis("activations", Vec::new()), series };
    drawn(chart(caption, &parts), data)
}
