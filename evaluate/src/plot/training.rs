//! Curves of a training run.

use kuva::prelude::{Figure, Layout, LegendPosition, Plot};

use super::lines::{Axes, Axis, Join, Series, line};
use super::picture::{Caption, finish, layout};
use super::style::{Ink, Stroke};
use crate::train::TrainingRecord;

/// The most points of a curve; more of them would not be told apart.
const MOST_POINTS: usize = 400;

/// A quantity of a record; `None` where the architecture has none of it.
type Quantity = fn(&TrainingRecord) -> Option<f64>;

/// A panel: its axis' label, and its curves.
type Panel = (&'static str, &'static [(&'static str, Ink, Stroke, Quantity)]);

const PANELS: [Panel; 4] = [
    (
        "loss",
        &[
            ("loss", Ink::First, Stroke::Solid, |record| Some(record.loss)),
            ("reconstruction", Ink::Second, Stroke::Dashed, |record| Some(record.reconstruction_loss)),
            ("sparsity", Ink::Third, Stroke::DashDot, |record| record.sparsity_loss),
            ("auxiliary", Ink::Limit, Stroke::Dotted, |record| record.auxiliary_loss),
        ],
    ),
    ("L0", &[("L0", Ink::First, Stroke::Solid, |record| Some(record.l0))]),
    (
        "explained variance",
        &[("explained variance", Ink::First, Stroke::Solid, |record| Some(record.explained_variance))],
    ),
    ("dead latents, share", &[("dead latents", Ink::First, Stroke::Solid, |record| Some(record.dead_fraction))]),
];

/// An SVG of four panels over the tokens seen: loss, L0, explained variance, dead latents. Points that are undefined are
/// left out; without any record it says so in words.
///
/// ```
/// use hayloft_evaluate::{TrainingRecord, training_curves};
/// let record = |step: u64| TrainingRecord {
///     step,
///     tokens: 4096 * step,
///     learning_rate: 1e-3,
///     loss: 1.0 / (step + 1) as f64,
///     reconstruction_loss: 0.5,
///     sparsity_loss: None,
///     auxiliary_loss: None,
///     l0: 30.0,
///     explained_variance: 0.8,
///     dead_fraction: 0.0,
/// };
/// let svg = training_curves(&[record(0), record(1)]);
/// assert!(svg.starts_with("<svg") && svg.contains("<title"));
/// ```
pub fn training_curves(records: &[TrainingRecord]) -> String {
    training_picture("training-curves", "Training curves", records)
}

/// The same under an id and a title of its own.
pub(crate) fn training_picture(id: &str, title: &str, records: &[TrainingRecord]) -> String {
    let caption = Caption { id: id.to_owned(), title: title.to_owned(), description: describe(records) };
    let thinned = thinned(records);
    let (mut plots, mut layouts): (Vec<Vec<Plot>>, Vec<Layout>) = (Vec::new(), Vec::new());
    for (label, curves) in PANELS {
        let axes = Axes { x: ("tokens", Axis::Linear), y: (label, Axis::Linear), join: Join::Straight };
        let drawn: Vec<Plot> = curves
            .iter()
            .filter_map(|&(name, ink, stroke, quantity)| {
                let points = thinned.iter().filter_map(|record| Some((record.tokens as f64, quantity(record)?)));
                let label = if curves.len() > 1 { name.to_owned() } else { String::new() };
                line(&Series { label, ink, stroke, points: points.collect() }, &axes)
            })
            .collect();
        layouts.push(layout(&drawn, axes.x.0, axes.y.0).with_legend_position(LegendPosition::InsideTopRight));
        plots.push(drawn);
    }
    let scene = Figure::new(2, 2).with_cell_size(420.0, 260.0).with_plots(plots).with_layouts(layouts).render();
    finish(&caption, scene, Vec::new())
}

fn describe(records: &[TrainingRecord]) -> String {
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return "Nothing was logged.".to_owned();
    };
    format!(
        "Four panels over tokens. From {} to {} tokens: loss from {:.4} to {:.4}, L0 from {:.2} to {:.2}, explained variance from {:.4} to {:.4}, share of dead latents from {:.4} to {:.4}.",
        first.tokens,
        last.tokens,
        first.loss,
        last.loss,
        first.l0,
        last.l0,
        first.explained_variance,
        last.explained_variance,
        first.dead_fraction,
        last.dead_fraction,
    )
}

/// Evenly chosen records, the last always among them.
fn thinned(records: &[TrainingRecord]) -> Vec<&TrainingRecord> {
    evenly(records, MOST_POINTS)
}

/// At most about `most` items, evenly chosen, the last always among them.
pub(crate) fn evenly<T>(items: &[T], most: usize) -> Vec<&T> {
    let stride = items.len().div_ceil(most).max(1);
    let mut chosen: Vec<&T> = items.iter().step_by(stride).collect();
    if let Some(last) = items.last().filter(|_| !(items.len() - 1).is_multiple_of(stride)) {
        chosen.push(last);
    }
    chosen
}
