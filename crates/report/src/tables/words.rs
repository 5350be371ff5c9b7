//! Names of datasets, sections and settings in words.

use crate::experiment::entry::Entry;

/// Describes dataset and section.
pub(crate) fn place_in_words(entry: &Entry) -> String {
    format!("{}, {}", entry.dataset.label, section_in_words(&entry.result.section.to_string()))
}

fn section_in_words(section: &str) -> String {
    match section {
        "all" => "every position".to_owned(),
        "user_prompt" => "user prompt".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Describes the treatment of outliers.
pub(crate) fn outliers_in_words(entry: &Entry) -> &'static str {
    if entry.is_filtered() { "outliers filtered" } else { "outliers kept" }
}
