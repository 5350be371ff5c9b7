//! Training curves.

use hayloft_results::{HeldOutFigures, TrainingRecord};

use super::axis::Scale;
use super::chart::{AxisSpec, Chart, Datum, Join, Series, draw};
use super::drawing::{Anchor, Caption, Drawing, Primitive};
use super::legend;
use super::style::{Ink, Palette, Style};

/// The most points per curve; more could not be distinguished.
const MOST_POINTS: usize = 400;

/// A value of a record: `None` if the record has no point on the curve, NaN if the point is undefined.
type Quantity = fn(&TrainingRecord) -> Option<f64>;

/// A panel: the label of its y axis, and its curves, each with the place of its style.
type Panel = (&'static str, &'static [(&'static str, usize, Quantity)]);

const PANELS: [Panel; 4] = [
    (
        "loss",
        &[
            ("loss", 0, |record| Some(record.loss)),
            ("reconstruction", 1, |record| Some(record.reconstruction_loss)),
            ("sparsity", 2, |record| record.sparsity_loss),
            ("auxiliary", 3, |record| record.auxiliary_loss),
        ],
    ),
    ("L0", &[("batch", 0, |record| Some(record.l0)), ("held out", 1, |record| held_out(record, |figures| figures.l0))]),
    (
        "explained variance",
        &[
            ("batch", 0, |record| Some(record.explained_variance)),
            ("held out", 1, |record| held_out(record, |figures| figures.explained_variance)),
            ("held out, pooled", 2, |record| held_out(record, |figures| figures.explained_variance_pooled)),
        ],
    ),
    (
        "latents, share",
        &[
            ("dead", 0, |record| Some(record.dead_fraction.unwrap_or(f64::NAN))),
            ("never fired", 2, |record| Some(record.never_fired_fraction)),
            ("held out: none fires", 1, |record| held_out(record, |figures| Some(figures.dead_fraction))),
        ],
    ),
];

/// A held-out metric, if the record has held-out metrics.
fn held_out(record: &TrainingRecord, figure: fn(&HeldOutFigures) -> Option<f64>) -> Option<f64> {
    record.held_out.as_ref().map(|figures| figure(figures).unwrap_or(f64::NAN))
}

/// Draws an SVG file with four panels over tokens: loss, L0, explained variance, latents that do not fire. Undefined values
/// leave gaps in a curve. Without records, the description says so.
///
/// ```
/// use hayloft_report::training_curves;
/// use hayloft_results::TrainingRecord;
///
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
///     dead_fraction: None,
///     never_fired_fraction: 0.1,
///     held_out: None,
/// };
/// let svg = training_curves(&[record(0), record(1)]);
/// assert!(svg.starts_with("<svg") && svg.contains("<title"));
/// ```
pub fn training_curves(records: &[TrainingRecord]) -> String {
    training_picture("training-curves", "Training curves", records).svg(Palette::Plain)
}

/// The size of a panel with its legend.
const PANEL: (f64, f64) = (440.0, 300.0);

/// Height of a panel without its legend.
const PLOT: f64 = 256.0;

/// Draws the training curves with the given id and title.
pub(crate) fn training_picture(id: &str, title: &str, records: &[TrainingRecord]) -> Drawing {
    let caption = Caption { id: id.to_owned(), title: title.to_owned(), description: describe(records) };
    let mut drawing = Drawing::new(caption, 2.0 * PANEL.0, 2.0 * PANEL.1);
    for (panel, (label, curves)) in PANELS.into_iter().enumerate() {
        let (left, top) = (PANEL.0 * (panel % 2) as f64, PANEL.1 * (panel / 2) as f64);
        let series = curves.iter().map(|&(name, place, quantity)| {
            let point = |record: &TrainingRecord| {
                let y = quantity(record)?;
                let hover = format!("{name}, {} tokens: {y:.4}", record.tokens);
                Some(Datum::new(record.tokens as f64, y, hover))
            };
            let points: Vec<Datum> = records.iter().filter_map(point).collect();
            let points = evenly(&points, MOST_POINTS).into_iter().cloned().collect();
            Series { label: name.to_owned(), style: Style::of(place), join: Join::Straight, has_markers: false, points }
        });
        let axis = |label| AxisSpec { label, scale: Scale::Linear, levels: Vec::new() };
        let chart = Chart { x: axis("tokens"), y: axis(label), series: series.collect() };
        match draw(&mut drawing, &chart, (left, top), (PANEL.0, PLOT)) {
            Some(entries) => {
                legend::draw(&mut drawing, (left + 16.0, top + PLOT, left + PANEL.0), &entries);
            }
            None => drawing.frame(Primitive::text(
                (left + PANEL.0 / 2.0, top + PLOT / 2.0),
                &format!("{label}: nothing was logged"),
                Anchor::Middle,
                Ink::Text,
            )),
        }
    }
    drawing
}

fn describe(records: &[TrainingRecord]) -> String {
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return "Nothing was logged.".to_owned();
    };
    let share = |fraction: Option<f64>| {
        let known = fraction.filter(|fraction| fraction.is_finite());
        known.map_or_else(|| "unknown".to_owned(), |fraction| format!("{fraction:.4}"))
    };
    let held_out = records.iter().rev().find_map(|record| record.held_out).map_or_else(String::new, |figures| {
        format!(
            " On {} held-out rows at last: L0 {}, explained variance {}, share of latents that never fire {:.4}.",
            figures.rows,
            figures.l0.map_or_else(|| "unknown".to_owned(), |l0| format!("{l0:.2}")),
            share(figures.explained_variance),
            figures.dead_fraction,
        )
    });
    format!(
        "Four panels over tokens. From {} to {} tokens: loss from {:.4} to {:.4}, L0 from {:.2} to {:.2}, explained variance from {} to {}, share of dead latents from {} to {}, of latents that have not fired yet from {} to {}.{held_out}",
        first.tokens,
        last.tokens,
        first.loss,
        last.loss,
        first.l0,
        last.l0,
        share(Some(first.explained_variance)),
        share(Some(last.explained_variance)),
        share(first.dead_fraction),
        share(last.dead_fraction),
        share(Some(first.never_fired_fraction)),
        share(Some(last.never_fired_fraction)),
    )
}

/// Chooses about `most` items, evenly spaced. The last item is always included.
pub(crate) fn evenly<T>(items: &[T], most: usize) -> Vec<&T> {
    let stride = items.len().div_ceil(most).max(1);
    let mut chosen: Vec<&T> = items.iter().step_by(stride).collect();
    if let Some(last) = items.last().filter(|_| !(items.len() - 1).is_multiple_of(stride)) {
        chosen.push(last);
    }
    chosen
}
