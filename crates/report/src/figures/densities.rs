//! Histograms of firing densities.

use hayloft_results::count;

use super::{Data, Figure, Gallery, caption, drawn};
use crate::experiment::entry::Entry;
use crate::experiment::open::Report;
use crate::plot::{AxisSpec, Chart, Datum, Join, Scale, Series, chart};

/// A picture for each setting, with a line for each SAE.
pub(crate) fn densities(report: &Report) -> Gallery {
    let portions = report.portions();
    let figures = portions.iter().enumerate().filter_map(|(number, portion)| figure_of(report, number, portion));
    Gallery {
        id: "densities",
        title: "Latent densities",
        introduction: "How many latents fire in what share of the activations. Dead latents, which fire in none, have no place on the logarithmic axis and are counted in the table; dense ones fire in more than a tenth.",
        figures: figures.collect(),
    }
}

fn figure_of(report: &Report, number: usize, portion: &[&Entry]) -> Option<Figure> {
    let bins = || portion.iter().flat_map(|entry| entry.result.latents.bins());
    // Skip the empty bins below the first latent.
    let lowest = bins().filter(|bin| bin.2 > 0).map(|bin| bin.0).fold(0.0, f64::min);
    let mut data = Data { columns: vec!["Log10 of the share of activations".to_owned()], rows: Vec::new() };
    data.columns.extend(portion.iter().map(|entry| entry.sae.label.clone()));
    let row =
        |about: String, counts: Vec<Option<u64>>| [about].into_iter().chain(counts.into_iter().map(count)).collect();
    let of_each = |count: fn(&Entry) -> Option<u64>| portion.iter().map(|entry| count(entry)).collect::<Vec<_>>();
    data.rows.push(row("dead (never)".to_owned(), of_each(|entry| entry.result.latents.dead)));
    data.rows.push(row("dense (above −1)".to_owned(), of_each(|entry| entry.result.latents.dense)));
    let drawn_bins: Vec<Vec<(f64, f64, u64)>> =
        portion.iter().map(|entry| entry.result.latents.bins().filter(|bin| bin.0 >= lowest).collect()).collect();
    for (place, &(from, to, _)) in drawn_bins[0].iter().enumerate() {
        let counts = drawn_bins.iter().map(|bins| Some(bins.get(place).map_or(0, |bin| bin.2))).collect();
        data.rows.push(row(format!("{from:.2} to {to:.2}"), counts));
    }
    let series = portion.iter().zip(&drawn_bins).map(|(entry, bins)| {
        let label = &entry.sae.label;
        let mut points = vec![Datum::new(lowest, 0.0, String::new())];
        points.extend(bins.iter().map(|&(from, to, count)| {
            Datum::new(from, count as f64, format!("{label}\n{count} latents from {from:.2} to {to:.2}"))
        }));
        points.push(Datum::new(0.0, 0.0, String::new()));
        Series { label: label.clone(), style: report.sae_style(entry), join: Join::Steps, has_markers: false, points }
    });
    let dead: Vec<String> = portion
        .iter()
        .map(|entry| {
            let latents = &entry.result.latents;
            format!(
                "{}: {} of {} latents are dead, {} dense",
                entry.sae.label,
                count(latents.dead),
                entry.result.provenance.sae.width,
                count(latents.dense)
            )
        })
        .collect();
    let description =
        format!("Histogram of latents by log10 of the share of activations in which they fire. {}.", dead.join("; "));
    let caption = caption("densities", number, report.portion_in_words(portion), description);
    let axis = |label| AxisSpec { label, scale: Scale::Linear, levels: Vec::new() };
    let parts = Chart { x: axis("log10 of the share of activations"), y: axis("latents"), series: series.collect() };
    drawn(chart(caption, &parts), data)
}
