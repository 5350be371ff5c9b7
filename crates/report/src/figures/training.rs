//! Training curves.

use hayloft_results::TrainingRecord;

use super::{Data, Figure, Gallery};
use crate::experiment::open::{Report, Training};
use crate::plot::{evenly, training_picture};
use crate::tables::format::{four, percent, two};

/// Rows of the table below a plot.
const ROWS: usize = 40;

/// A plot for each training log.
pub(crate) fn training(report: &Report) -> Gallery {
    let logged = report.trainings.iter().filter(|training| !training.records.is_empty());
    let figures = logged.enumerate().map(|(number, training)| figure_of(number, training)).collect();
    Gallery {
        id: "training",
        title: "Training",
        introduction: "Loss, L0, explained variance and the shares of latents that do not fire, over the activations seen. A figure that is not known is a dash, and a gap in its curve: dead latents before the training has had as many steps as a latent must be silent for.",
        figures,
    }
}

fn figure_of(number: usize, training: &Training) -> Figure {
    let id = format!("figure-training-{}", number + 1);
    let headings = [
        "Step",
        "Tokens",
        "Loss",
        "Reconstruction loss",
        "L0",
        "EV %",
        "Dead %",
        "Never fired %",
        "Held-out L0",
        "Held-out EV %",
        "Held-out EV % (pooled)",
        "Held-out dead %",
    ];
    let rows = chosen(&training.records).into_iter().map(|record| {
        let held_out = record.held_out;
        vec![
            record.step.to_string(),
            record.tokens.to_string(),
            four(Some(record.loss)),
            four(Some(record.reconstruction_loss)),
            two(Some(record.l0)),
            percent(Some(record.explained_variance)),
            percent(record.dead_fraction),
            percent(Some(record.never_fired_fraction)),
            two(held_out.and_then(|figures| figures.l0)),
            percent(held_out.and_then(|figures| figures.explained_variance)),
            percent(held_out.and_then(|figures| figures.explained_variance_pooled)),
            percent(held_out.map(|figures| figures.dead_fraction)),
        ]
    });
    Figure {
        drawing: training_picture(&id, &training.name, &training.records),
        id,
        title: training.name.clone(),
        description:
            "Four panels over the tokens seen: losses, L0, explained variance, and the shares of latents that do not fire."
                .to_owned(),
        data: Data { columns: headings.map(str::to_owned).into(), rows: rows.collect() }.without_empty_columns(),
    }
}

/// Chooses evenly spaced records: from those with held-out metrics if there are several, else from all.
fn chosen(records: &[TrainingRecord]) -> Vec<&TrainingRecord> {
    let looked: Vec<&TrainingRecord> = records.iter().filter(|record| record.held_out.is_some()).collect();
    if looked.len() > 1 { evenly(&looked, ROWS).into_iter().copied().collect() } else { evenly(records, ROWS) }
}
