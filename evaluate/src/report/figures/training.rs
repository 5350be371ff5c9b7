//! Training curves.

use super::{Data, Figure, Gallery};
use crate::plot::{evenly, training_picture};
use crate::report::load::{Report, Training};
use crate::report::numbers::{four, percent, two};

/// Rows of the table under a picture.
const ROWS: usize = 40;

/// A picture for each log of training.
pub(super) fn training(report: &Report) -> Gallery {
    let logged = report.trainings.iter().filter(|training| !training.records.is_empty());
    let figures = logged.enumerate().map(|(number, training)| figure_of(number, training)).collect();
    Gallery {
        id: "training",
        title: "Training",
        introduction: "Loss, L0, explained variance and the share of dead latents over the activations seen.",
        figures,
    }
}

fn figure_of(number: usize, training: &Training) -> Figure {
    let id = format!("figure-training-{}", number + 1);
    let headings = ["Step", "Tokens", "Loss", "Reconstruction loss", "L0", "EV %", "Dead %"].map(str::to_owned);
    let rows = evenly(&training.records, ROWS).into_iter().map(|record| {
        vec![
            record.step.to_string(),
            record.tokens.to_string(),
            four(Some(record.loss)),
            four(Some(record.reconstruction_loss)),
            two(Some(record.l0)),
            percent(Some(record.explained_variance)),
            percent(Some(record.dead_fraction)),
        ]
    });
    Figure {
        svg: training_picture(&id, &training.name, &training.records),
        id,
        title: training.name.clone(),
        description: "Four panels over the tokens seen: losses, L0, explained variance, and the share of dead latents."
            .to_owned(),
        data: Data { columns: headings.into(), rows: rows.collect() },
    }
}
