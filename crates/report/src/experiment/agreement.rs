//! Consistency checks on results.

use std::collections::HashMap;
use std::path::Path;

use crate::error::ReportError;
use crate::experiment::entry::Entry;

/// Rejects duplicate results, and results that disagree about a model, a cache or an SAE that they share.
pub(crate) fn check_agreement(entries: &[Entry]) -> Result<(), ReportError> {
    let mut places: HashMap<String, &Path> = HashMap::new();
    let mut facts: HashMap<String, (String, &Path)> = HashMap::new();
    for entry in entries {
        let place = place(entry);
        if let Some(other) = places.insert(place.clone(), &entry.file) {
            return Err(ReportError::Twice { path: entry.file.clone(), what: place, other: other.to_path_buf() });
        }
        for (what, value) in facts_of(entry) {
            match facts.get(&what) {
                Some((expected, other)) if *expected != value => {
                    return Err(ReportError::Disagreement {
                        path: entry.file.clone(),
                        what,
                        other: other.to_path_buf(),
                        expected: expected.clone(),
                        got: value,
                    });
                }
                Some(_) => {}
                None => {
                    facts.insert(what, (value, &entry.file));
                }
            }
        }
    }
    Ok(())
}

fn place(entry: &Entry) -> String {
    let Entry { dataset, family, model, sae, result, .. } = entry;
    let outliers = if result.outlier_norm.is_some() { "outliers filtered" } else { "outliers kept" };
    format!("{family}, {dataset}, section {}, {}, {}, {outliers}", result.section, sae.label(), model.label())
}

/// Facts that must agree between results: name and value.
fn facts_of(entry: &Entry) -> Vec<(String, String)> {
    let Entry { dataset, family, model, sae, result, .. } = entry;
    let provenance = &result.provenance;
    let (model, sae) = (model.label(), sae.label());
    let files: Vec<&str> = provenance.sae.files.iter().map(|file| file.blake3.as_str()).collect();
    let mut facts = vec![
        (format!("the site of {family}"), result.site.clone()),
        (format!("the identity of {family}'s {model}"), provenance.model.identity().to_owned()),
        (format!("the files of {family}'s {sae}"), files.join(" ")),
        (format!("the cache of {dataset} for {family}'s {model}"), provenance.manifest_blake3.clone()),
    ];
    // Rows with outliers kept may appear with rows with outliers filtered, but two rules may not. The rule is compared,
    // because an unscaled norm or a multiple of the median gives each model another threshold in scaled space.
    let about_rule = || format!("the outlier threshold of {family} on {dataset}");
    facts.extend(result.outlier_rule.map(|rule| (about_rule(), rule.to_string())));
    facts
}
