//! Pictures of CE loss recovered, and of what L0 buys.

use std::fmt::Write;

use hayloft_results::{COLUMNS, Column, Interval};

use super::{Data, Figure, Gallery, caption, drawn};
use crate::experiment::entry::Entry;
use crate::experiment::open::Report;
use crate::plot::{AxisSpec, Bar, BarGroup, BarScale, Chart, Datum, Join, Level, Scale, Series, Style, bars, chart};
use crate::tables::format::{percent, two};
use crate::tables::words::{outliers_in_words, place_in_words};

/// A perfect reconstruction, in per cent.
const PERFECT: f64 = 100.0;

/// Bars of CE loss recovered: a picture for each family, site and treatment of outliers.
pub(crate) fn recovered(report: &Report) -> Gallery {
    let key = |entry: &Entry| {
        let site = entry.family.is_none().then(|| entry.site.clone());
        (entry.family.clone(), site, entry.is_filtered())
    };
    let panels = panels(&report.entries, key);
    let figures = panels.iter().enumerate().filter_map(|(number, panel)| recovered_panel(report, number, panel));
    Gallery {
        id: "ce-recovered",
        title: "CE loss recovered",
        introduction: "How much of the loss that zero ablation costs is left out when the SAE's reconstruction takes the place of the residual instead. 100 % would be a perfect reconstruction.",
        figures: figures.collect(),
    }
}

fn recovered_panel(report: &Report, number: usize, panel: &[&Entry]) -> Option<Figure> {
    let mut saes: Vec<&Entry> = Vec::new();
    for entry in panel {
        if !saes.iter().any(|other| other.sae == entry.sae) {
            saes.push(entry);
        }
    }
    saes.sort_by(|one, other| one.sae.cmp(&other.sae));
    let mut groups: Vec<BarGroup> = Vec::new();
    let mut data = Data { columns: vec!["Data and model".to_owned()], rows: Vec::new() };
    data.columns.extend(saes.iter().map(|entry| format!("{}, %", entry.sae.label)));
    for setting in panel.chunk_by(|one, other| one.is_about_same(other)) {
        let label = format!("{}, {}", place_in_words(setting[0]), setting[0].model.label);
        let of = |sae: &&Entry| setting.iter().find(|entry| entry.sae == sae.sae);
        let values = saes.iter().map(|sae| percent(of(sae).and_then(|entry| entry.result.columns.ce_recovered)));
        data.rows.push([label.clone()].into_iter().chain(values).collect());
        let bar = |entry: &&Entry| {
            let value = 100.0 * entry.result.columns.ce_recovered?;
            let interval = entry.interval("ce_recovered").map(|Interval { low, high }| (100.0 * low, 100.0 * high));
            Some(Bar { value, interval })
        };
        groups.push(BarGroup { label, bars: saes.iter().map(|sae| of(sae).and_then(bar)).collect() });
    }
    let description = "Bars of CE loss recovered in per cent, one group for each dataset, section and model, one bar for each SAE. The table under the picture has the numbers.";
    let caption = caption("recovered", number, panel_in_words(report, panel[0]), description.to_owned());
    let series: Vec<_> = saes.iter().map(|entry| (entry.sae.label.clone(), report.sae_style(entry))).collect();
    let scale = BarScale { label: "CE loss recovered, %", level: PERFECT };
    drawn(bars(caption, scale, &series, &groups), data)
}

/// Describes family or site, and the treatment of outliers.
fn panel_in_words(report: &Report, entry: &Entry) -> String {
    let outliers = outliers_in_words(entry);
    match &entry.family {
        Some(family) => format!("{}, {outliers}", family.label),
        None if report.entries.iter().any(|other| other.site != entry.site) => {
            format!("{}, {outliers}", entry.site.label)
        }
        None => {
            let mut letters = outliers.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        }
    }
}

/// A quantity that L0 is traded for.
struct Quality {
    column: &'static str,
    /// Part of the ids of its pictures.
    kind: &'static str,
    gallery: &'static str,
    title: &'static str,
    axis: &'static str,
    introduction: &'static str,
}

const QUALITIES: [Quality; 3] = [
    Quality {
        column: "ce_recovered",
        kind: "l0-ce",
        gallery: "l0-ce-recovered",
        title: "L0 against CE loss recovered",
        axis: "CE loss recovered, %",
        introduction: "Up and to the left is better: more of the loss recovered with fewer latents. A line joins the SAEs of a series that no other of it beats in both.",
    },
    Quality {
        column: "explained_variance",
        kind: "l0-ev",
        gallery: "l0-ev",
        title: "L0 against explained variance",
        axis: "explained variance, %",
        introduction: "Up and to the left is better: more of the activations' variance explained by fewer latents. A line joins the SAEs of a series that no other of it beats in both.",
    },
    Quality {
        column: "explained_variance_pooled",
        kind: "l0-ev-pooled",
        gallery: "l0-ev-pooled",
        title: "L0 against pooled explained variance",
        axis: "explained variance (pooled), %",
        introduction: "The same with the variance of all activations at once, which single activations near the mean do not decide.",
    },
];

/// L0 against each quality: a picture for each family, dataset, section and treatment of outliers, because explained
/// variance differs more between datasets than between SAEs.
pub(crate) fn fronts(report: &Report) -> Vec<Gallery> {
    let key = |entry: &Entry| {
        let own = entry.family.is_none().then(|| (entry.model.clone(), entry.site.clone()));
        (entry.dataset.clone(), entry.result.section, entry.family.clone(), own, entry.is_filtered())
    };
    let panels = panels(&report.entries, key);
    let gallery = |quality: &Quality| {
        let figures = panels.iter().enumerate().filter_map(|(number, panel)| front(report, number, panel, quality));
        let Quality { gallery: id, title, introduction, .. } = *quality;
        Gallery { id, title, introduction, figures: figures.collect() }
    };
    QUALITIES.iter().map(gallery).collect()
}

fn front(report: &Report, number: usize, panel: &[&Entry], quality: &Quality) -> Option<Figure> {
    let column: &Column = COLUMNS.iter().find(|column| column.name == quality.column)?;
    let headings = ["SAE", "Series", "L0", column.title].map(str::to_owned);
    let mut data = Data { columns: headings.into(), rows: Vec::new() };
    let mut series: Vec<(usize, Series)> = Vec::new();
    let scaled = |Interval { low, high }: Interval| (100.0 * low, 100.0 * high);
    for entry in panel {
        let columns = &entry.result.columns;
        let (rank, label, style) = series_of(report, entry);
        let (l0, share) = (columns.l0, column.value(columns, None));
        data.rows.push(vec![entry.sae.label.clone(), label.clone(), two(l0), percent(share)]);
        let Some((x, y)) = l0.zip(share) else { continue };
        let y_interval = entry.interval(column.name).map(scaled);
        let mut hover = format!("{}\n{label}\nL0 {}\n{} {}", entry.sae.label, two(l0), column.title, percent(share));
        if let Some((low, high)) = y_interval {
            // Writing to a string cannot fail.
            let _ = write!(hover, " ({low:.2} to {high:.2})");
        }
        let x_interval = entry.interval("l0").map(|Interval { low, high }| (low, high));
        let point = Datum { x, y: 100.0 * y, x_interval, y_interval, hover };
        if let Some((_, own)) = series.iter_mut().find(|(own, _)| *own == rank) {
            own.points.push(point);
        } else {
            let points = vec![point];
            series.push((rank, Series { label, style, join: Join::Front, has_markers: true, points }));
        }
    }
    let description = format!(
        "Points of L0 and {} in per cent, one for each SAE, with lines through the best of each series. The table under the picture has the numbers.",
        column.title.trim_end_matches(" %")
    );
    let title = match panel[0].family {
        Some(_) => format!("{}, {}", report.place_in_words(panel[0]), outliers_in_words(panel[0])),
        None => report.setting_in_words(panel[0]),
    };
    let caption = caption(quality.kind, number, title, description);
    series.sort_by_key(|(rank, _)| *rank);
    let series: Vec<Series> = series.into_iter().map(|(_, own)| own).collect();
    let counts = series.iter().flat_map(|own| own.points.iter().map(|point| point.x)).collect::<Vec<_>>();
    let level = Level { value: PERFECT, label: "100 %".to_owned() };
    let parts = Chart {
        x: AxisSpec { label: "L0, latents", scale: Scale::for_counts(counts.iter().copied()), levels: Vec::new() },
        y: AxisSpec { label: quality.axis, scale: Scale::Linear, levels: vec![level] },
        series,
    };
    drawn(chart(caption, &parts), data)
}

/// The series of an SAE: its place, its label and its look. In the study it is of the SAE on the model, hollow on any
/// model but the first.
fn series_of(report: &Report, entry: &Entry) -> (usize, String, Style) {
    let Entry { series, sae, model, .. } = entry;
    if entry.family.is_none() {
        return (series.rank, series.label.clone(), Style::of(series.rank));
    }
    let style = Style { is_hollow: model.rank > 0, ..report.sae_style(entry) };
    (2 * sae.rank + model.rank, format!("{}, {}", sae.label, model.label), style)
}

/// Groups results into panels by key, in order of first occurrence.
fn panels<Key: PartialEq>(entries: &[Entry], key: impl Fn(&Entry) -> Key) -> Vec<Vec<&Entry>> {
    let mut panels: Vec<Vec<&Entry>> = Vec::new();
    for entry in entries {
        match panels.iter_mut().find(|panel| key(panel[0]) == key(entry)) {
            Some(panel) => panel.push(entry),
            None => panels.push(vec![entry]),
        }
    }
    panels
}
