//! Plots of CE loss recovered, and of L0 against explained variance.

use super::{Data, Figure, Gallery, caption, drawn, sae_ink, short_place};
use crate::experiment::open::Report;
use crate::experiment::role::{ModelRole, SaeRole};
use crate::plot::{BarGroup, Fill, PointSeries, bars, scatter};
use crate::tables::format::{percent, two};
use crate::tables::summary::Row;

/// Bars of CE loss recovered: a plot for each family and treatment of outliers.
pub(crate) fn recovered(report: &Report) -> Gallery {
    let rows = report.summary().rows;
    let panels = panels(&rows, settings);
    let figures = panels.into_iter().enumerate().filter_map(|(number, panel)| recovered_panel(number, &panel));
    Gallery {
        id: "ce-recovered",
        title: "CE loss recovered",
        introduction: "How much of the loss that zero ablation costs is left out when the SAE's reconstruction takes the place of the residual instead. 100 % would be a perfect reconstruction.",
        figures: figures.collect(),
    }
}

fn recovered_panel(number: usize, panel: &Panel<'_>) -> Option<Figure> {
    let saes: Vec<SaeRole> =
        SaeRole::ALL.into_iter().filter(|sae| panel.rows.iter().any(|row| row.sae == *sae)).collect();
    let mut groups: Vec<BarGroup> = Vec::new();
    let mut data = Data { columns: vec!["Data and model".to_owned()], rows: Vec::new() };
    data.columns.extend(saes.iter().map(|sae| format!("{}, %", sae.label())));
    for setting in panel.rows.chunk_by(|left, right| left.is_about_same(right)) {
        let label = format!("{}, {}", short_place(&setting[0].dataset, setting[0].section), setting[0].model.label());
        let of = |sae: &SaeRole| setting.iter().find(|row| row.sae == *sae)?.columns.ce_recovered;
        let values: Vec<Option<f64>> = saes.iter().map(of).collect();
        data.rows.push([label.clone()].into_iter().chain(values.iter().copied().map(percent)).collect());
        groups.push(BarGroup { label, values: values.iter().map(|value| value.map(|share| 100.0 * share)).collect() });
    }
    let description = "Bars of CE loss recovered in per cent, one group for each dataset, section and model, one bar for each SAE. The table under the picture has the numbers.";
    let caption = caption("recovered", number, panel.title(), description.to_owned());
    let series: Vec<_> = saes.iter().map(|&sae| (sae.label().to_owned(), sae_ink(sae))).collect();
    let svg = bars(&caption, "CE loss recovered, %", &series, &groups);
    drawn(caption, svg, data)
}

/// L0 against explained variance: a plot for each family, dataset, section and treatment of outliers, because explained
/// variance differs more between datasets than between SAEs.
pub(crate) fn trade_off(report: &Report) -> Gallery {
    let rows = report.summary().rows;
    let panels = panels(&rows, |row| (short_place(&row.dataset, row.section), settings(row)));
    let figures = panels.into_iter().enumerate().filter_map(|(number, panel)| trade_off_panel(number, &panel));
    Gallery {
        id: "l0-ev",
        title: "L0 against explained variance",
        introduction: "Up and to the left is better: more of the activations' variance explained by fewer latents. Filled markers are the base model, hollow ones the chat model.",
        figures: figures.collect(),
    }
}

fn trade_off_panel(number: usize, panel: &Panel<'_>) -> Option<Figure> {
    let headings = ["SAE and model", "L0", "EV %"].map(str::to_owned);
    let mut data = Data { columns: headings.into(), rows: Vec::new() };
    let mut series = Vec::new();
    for (sae, model) in SaeRole::ALL.into_iter().flat_map(|sae| ModelRole::ALL.map(|model| (sae, model))) {
        let mut points = Vec::new();
        for row in panel.rows.iter().filter(|row| (row.sae, row.model) == (sae, model)) {
            let columns = &row.columns;
            let about = format!("{}, {}", sae.label(), model.label());
            data.rows.push(vec![about, two(columns.l0), percent(columns.explained_variance)]);
            points.extend(columns.l0.zip(columns.explained_variance).map(|(l0, share)| (l0, 100.0 * share)));
        }
        let (fill, how) = if model == ModelRole::Base { (Fill::Filled, "") } else { (Fill::Hollow, " (hollow)") };
        let label = format!("{}, {}{how}", sae.label(), model.label());
        series.push(PointSeries { label, ink: sae_ink(sae), fill, points });
    }
    let description = "Points of mean L0 and explained variance, one for each SAE and model. The table under the picture has the numbers.";
    let place = short_place(&panel.rows[0].dataset, panel.rows[0].section);
    let title = format!("{}: {place}", panel.title());
    let caption = caption("trade-off", number, title, description.to_owned());
    let svg = scatter(&caption, ("L0, mean count of latents above zero", "explained variance, %"), &series);
    drawn(caption, svg, data)
}

/// The rows of one plot.
struct Panel<'rows> {
    rows: Vec<&'rows Row>,
}

impl Panel<'_> {
    fn title(&self) -> String {
        let outliers = if self.rows[0].outliers_filtered { "filtered" } else { "kept" };
        format!("{}, outliers {outliers}", self.rows[0].family)
    }
}

/// Key of a panel: treatment of outliers and family.
fn settings(row: &Row) -> (bool, String) {
    (row.outliers_filtered, row.family.clone())
}

/// Groups rows into panels by key, in order of first occurrence.
fn panels<Key: PartialEq>(rows: &[Row], key: impl Fn(&Row) -> Key) -> Vec<Panel<'_>> {
    let mut panels: Vec<Panel<'_>> = Vec::new();
    for row in rows {
        match panels.iter_mut().find(|panel| key(panel.rows[0]) == key(row)) {
            Some(panel) => panel.rows.push(row),
            None => panels.push(Panel { rows: vec![row] }),
        }
    }
    panels
}
