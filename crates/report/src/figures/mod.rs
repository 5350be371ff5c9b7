//! The plots of a report, each with its data.

mod densities;
mod losses;
mod norms;
mod overview;
mod training;

use hayloft_rows::SectionChoice;

use crate::experiment::entry::Entry;
use crate::experiment::open::Report;
use crate::experiment::role::{ModelRole, SaeRole};
use crate::plot::{Caption, Ink, Stroke};
use crate::tables::table::{dataset_in_words, section_in_words, slug};

/// A plot.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Figure {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) svg: String,
    pub(crate) data: Data,
}

/// The data of a plot.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Data {
    pub(crate) columns: Vec<String>,
    /// The first cell of each row is its label.
    pub(crate) rows: Vec<Vec<String>>,
}

/// Plots of one kind.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Gallery {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) introduction: &'static str,
    pub(crate) figures: Vec<Figure>,
}

impl Report {
    /// All galleries that contain a plot.
    pub(crate) fn galleries(&self) -> Vec<Gallery> {
        let galleries = [
            overview::recovered(self),
            overview::trade_off(self),
            norms::norms(self),
            losses::losses(self),
            densities::densities(self),
            training::training(self),
        ];
        galleries.into_iter().filter(|gallery| !gallery.figures.is_empty()).collect()
    }

    /// Groups results by setting: family, dataset, section, model and treatment of outliers.
    fn settings(&self) -> Vec<Vec<&Entry>> {
        let mut settings: Vec<Vec<&Entry>> = Vec::new();
        for entry in &self.entries {
            match settings.iter_mut().find(|setting| is_same_setting(setting[0], entry)) {
                Some(setting) => setting.push(entry),
                None => settings.push(vec![entry]),
            }
        }
        for setting in &mut settings {
            setting.sort_by_key(|entry| entry.sae);
        }
        settings
    }
}

fn is_same_setting(left: &Entry, right: &Entry) -> bool {
    let key = |entry: &Entry| (entry.result.section, entry.model, entry.result.outlier_norm.is_some());
    left.family == right.family && left.dataset == right.dataset && key(left) == key(right)
}

/// Describes the setting of a result.
fn setting_in_words(entry: &Entry) -> String {
    let outliers = if entry.result.outlier_norm.is_some() { "filtered" } else { "kept" };
    format!("{}, {}, outliers {outliers}", place_in_words(entry), entry.model.label())
}

/// Describes family, dataset and section.
fn place_in_words(entry: &Entry) -> String {
    format!("{}: {}", entry.family, short_place(&entry.dataset, entry.result.section))
}

fn short_place(dataset: &str, section: SectionChoice) -> String {
    format!("{}, {}", dataset_in_words(dataset), section_in_words(&section.to_string()))
}

/// Builds a caption whose id contains the plot's number, so that ids are unique.
fn caption(kind: &str, number: usize, title: String, description: String) -> Caption {
    Caption { id: slug(&format!("figure-{kind}-{}", number + 1)), title, description }
}

/// Builds the figure if a plot was drawn.
fn drawn(caption: Caption, svg: Option<String>, data: Data) -> Option<Figure> {
    let Caption { id, title, description } = caption;
    Some(Figure { id, title, description, svg: svg?, data })
}

fn sae_ink(sae: SaeRole) -> Ink {
    match sae {
        SaeRole::Base => Ink::First,
        SaeRole::Chat => Ink::Second,
        SaeRole::Finetuned => Ink::Third,
    }
}

fn sae_stroke(sae: SaeRole) -> Stroke {
    match sae {
        SaeRole::Base => Stroke::Solid,
        SaeRole::Chat => Stroke::Dashed,
        SaeRole::Finetuned => Stroke::DashDot,
    }
}

fn model_style(model: ModelRole) -> (Ink, Stroke) {
    match model {
        ModelRole::Base => (Ink::First, Stroke::Solid),
        ModelRole::Chat => (Ink::Second, Stroke::Dashed),
    }
}
