//! The pictures of a report, each with its data.

mod densities;
mod losses;
mod norms;
mod overview;
mod training;

use hayloft_runtime::UNDEFINED;

use crate::experiment::entry::Entry;
use crate::experiment::open::Report;
use crate::experiment::study::{BASE, CHAT};
use crate::plot::{Caption, Drawing, Style};
use crate::tables::table::{keep, slug};
use crate::tables::words::{outliers_in_words, place_in_words};

/// A picture.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) drawing: Drawing,
    pub(crate) data: Data,
}

/// The data of a picture.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Data {
    pub(crate) columns: Vec<String>,
    /// The first cell of each row is its label.
    pub(crate) rows: Vec<Vec<String>>,
}

/// Pictures of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Gallery {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) introduction: &'static str,
    pub(crate) figures: Vec<Figure>,
}

impl Report {
    /// All galleries that contain a picture.
    pub(crate) fn galleries(&self) -> Vec<Gallery> {
        let mut galleries = Vec::new();
        // Where there are many SAEs, the fronts say more than bars.
        galleries.extend(self.has_few_saes().then(|| overview::recovered(self)));
        galleries.extend(overview::fronts(self));
        galleries.extend([
            norms::norms(self),
            losses::losses(self),
            densities::densities(self),
            training::training(self),
        ]);
        galleries.into_iter().filter(|gallery| !gallery.figures.is_empty()).collect()
    }

    /// Whether each SAE has a colour to itself.
    fn has_few_saes(&self) -> bool {
        self.saes().len() <= Style::COLOURS
    }

    /// What SAEs are called, in their order.
    fn saes(&self) -> Vec<&str> {
        let mut saes: Vec<_> = self.entries.iter().map(|entry| &entry.sae).collect();
        saes.sort();
        saes.dedup();
        saes.into_iter().map(|sae| sae.label.as_str()).collect()
    }

    /// Groups results by setting: family, dataset, section, model, site and treatment of outliers.
    fn settings(&self) -> Vec<Vec<&Entry>> {
        let mut settings: Vec<Vec<&Entry>> = Vec::new();
        for entry in &self.entries {
            match settings.iter_mut().find(|setting| setting[0].is_about_same(entry)) {
                Some(setting) => setting.push(entry),
                None => settings.push(vec![entry]),
            }
        }
        settings
    }

    /// The settings in portions of SAEs that each have a colour to themselves.
    fn portions(&self) -> Vec<Vec<&Entry>> {
        let settings = self.settings();
        settings.iter().flat_map(|setting| setting.chunks(Style::COLOURS).map(<[&Entry]>::to_vec)).collect()
    }

    /// Describes the setting of a result, and the SAEs if a setting has several portions.
    fn portion_in_words(&self, portion: &[&Entry]) -> String {
        let setting = self.setting_in_words(portion[0]);
        let all = self.entries.iter().filter(|entry| entry.is_about_same(portion[0])).count();
        match portion {
            [first, .., last] if all > portion.len() => {
                format!("{setting}: {} to {}", first.sae.label, last.sae.label)
            }
            [one] if all > 1 => format!("{setting}: {}", one.sae.label),
            _ => setting,
        }
    }

    /// Describes the setting of a result; the model if there are several.
    fn setting_in_words(&self, entry: &Entry) -> String {
        let (place, outliers) = (self.place_in_words(entry), outliers_in_words(entry));
        if entry.family.is_none() && self.entries.iter().all(|other| other.model == entry.model) {
            return format!("{place}, {outliers}");
        }
        format!("{place}, {}, {outliers}", entry.model.label)
    }

    /// Describes family, dataset and section, and the site if there are several.
    fn place_in_words(&self, entry: &Entry) -> String {
        let place = place_in_words(entry);
        match &entry.family {
            Some(family) => format!("{}: {place}", family.label),
            None if self.entries.iter().any(|other| other.site != entry.site) => {
                format!("{place}, {}", entry.site.label)
            }
            None => place,
        }
    }

    /// The look of an SAE: its place among those of the report.
    fn sae_style(&self, entry: &Entry) -> Style {
        if self.has_few_saes() {
            return Style::of(self.saes().iter().position(|sae| *sae == entry.sae.label).unwrap_or(0));
        }
        // Else its place in its portion.
        let place =
            self.entries.iter().filter(|other| other.is_about_same(entry)).position(|own| std::ptr::eq(own, entry));
        Style::of(place.unwrap_or(0) % Style::COLOURS)
    }
}

impl Data {
    /// Removes the columns that are undefined in every row.
    fn without_empty_columns(mut self) -> Self {
        let is_shown: Vec<bool> =
            (0..self.columns.len()).map(|place| self.rows.iter().any(|row| row[place] != UNDEFINED)).collect();
        keep(&mut self.columns, &is_shown);
        for row in &mut self.rows {
            keep(row, &is_shown);
        }
        self
    }
}

/// The look of a model: its place among the models of a picture.
fn model_style(entry: &Entry, place: usize) -> Style {
    match entry.model.key.as_str() {
        BASE => Style::of(0),
        CHAT => Style::of(1),
        _ => Style::of(place),
    }
}

/// Builds a caption whose id contains the picture's number, so that ids are unique.
fn caption(kind: &str, number: usize, title: String, description: String) -> Caption {
    Caption { id: slug(&format!("figure-{kind}-{}", number + 1)), title, description }
}

/// Builds the figure if a picture was drawn.
fn drawn(drawing: Option<Drawing>, data: Data) -> Option<Figure> {
    let drawing = drawing?;
    let Caption { id, title, description } = drawing.caption.clone();
    Some(Figure { id, title, description, drawing, data })
}
