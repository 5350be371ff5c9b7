//! Histograms of firing densities.

use hayloft_results::count;

use super::{Data, Figure, Gallery, caption, drawn, sae_ink, sae_stroke, setting_in_words};
use crate::experiment::entry::Entry;
use crate::experiment::open::Report;
use crate::plot::{Axes, Axis, Join, Series, lines};

/// A plot for each family, dataset, section, model and treatment of outliers, with a line for each SAE.
pub(crate) fn densities(report: &Report) -> Gallery {
    let figures =
        report.settings().iter().enumerate().filter_map(|(number, setting)| figure_of(number, setting)).collect();
    Gallery {
        id: "densities",
        title: "Latent densities",
        introduction: "How many latents fire in what share of the activations. Dead latents, which fire in none, have no place on the logarithmic axis and are counted in the table; dense ones fire in more than a tenth.",
        figures,
    }
}

fn figure_of(number: usize, setting: &[&Entry]) -> Option<Figure> {
    let bins = || setting.iter().flat_map(|entry| entry.result.latents.bins());
    // Skip the empty bins below the first latent.
    let lowest = bins().filter(|bin| bin.2 > 0).map(|bin| bin.0).fold(0.0, f64::min);
    let mut data = Data { columns: vec!["Log10 of the share of activations".to_owned()], rows: Vec::new() };
    data.columns.extend(setting.iter().map(|entry| entry.sae.label().to_owned()));
    let row =
        |about: String, counts: Vec<Option<u64>>| [about].into_iter().chain(counts.into_iter().map(count)).collect();
    let of_each = |count: fn(&Entry) -> Option<u64>| setting.iter().map(|entry| count(entry)).collect::<Vec<_>>();
    data.rows.push(row("dead (never)".to_owned(), of_each(|entry| entry.result.latents.dead)));
    data.rows.push(row("dense (above −1)".to_owned(), of_each(|entry| entry.result.latents.dense)));
    let drawn_bins: Vec<Vec<(f64, f64, u64)>> =
        setting.iter().map(|entry| entry.result.latents.bins().filter(|bin| bin.0 >= lowest).collect()).collect();
    for (place, &(from, to, _)) in drawn_bins[0].iter().enumerate() {
        let counts = drawn_bins.iter().map(|bins| Some(bins.get(place).map_or(0, |bin| bin.2))).collect();
        data.rows.push(row(format!("{from:.2} to {to:.2}"), counts));
    }
    let series: Vec<Series> = setting
        .iter()
        .zip(&drawn_bins)
        .map(|(entry, bins)| {
            let mut points: Vec<(f64, f64)> = vec![(lowest, 0.0)];
            points.extend(bins.iter().map(|&(from, _, count)| (from, count as f64)));
            points.push((0.0, 0.0));
            Series {
                label: entry.sae.label().to_owned(),
                ink: sae_ink(entry.sae),
                stroke: sae_stroke(entry.sae),
                points,
            }
        })
        .collect();
    let dead: Vec<String> = setting
        .iter()
        .map(|entry| {
            let latents = &entry.result.latents;
            format!(
                "{}: {} of {} latents are dead, {} dense",
                entry.sae.label(),
                count(latents.dead),
                entry.result.provenance.sae.width,
                count(latents.dense)
            )
        })
        .collect();
    let description =
        format!("Histogram of latents by log10 of the share of activations in which they fire. {}.", dead.join("; "));
    let caption = caption("densities", number, setting_in_words(setting[0]), description);
    let axes = Axes {
        x: ("log10 of the share of activations", Axis::Linear),
        y: ("latents", Axis::Linear),
        join: Join::Steps,
    };
    let svg = lines(&caption, &axes, &series, &[]);
    drawn(caption, svg, data)
}
