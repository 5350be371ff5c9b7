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
    let Entry { dataset, model, site, sae, result, .. } = entry;
    let outliers = if entry.is_filtered() { "outliers filtered" } else { "outliers kept" };
    let (dataset, sae) = (&dataset.key, &sae.label);
    match &entry.family {
        Some(family) => {
            let family = &family.label;
            format!("{family}, {dataset}, section {}, {sae}, {}, {outliers}", result.section, model.label)
        }
        None => {
            format!("{sae} at {} of {}, {dataset}, section {}, {outliers}", site.label, model.label, result.section)
        }
    }
}

/// Facts that must agree between results: name and value.
fn facts_of(entry: &Entry) -> Vec<(String, String)> {
    let Entry { dataset, family, site, sae, result, .. } = entry;
    let provenance = &result.provenance;
    let files: Vec<&str> = provenance.sae.files.iter().map(|file| file.blake3.as_str()).collect();
    let (files, model, dataset) = (files.join(" "), entry.model_in_words(), &dataset.key);
    let mut facts = vec![(format!("the identity of {model}"), provenance.model.identity().to_owned())];
    // Models of a family share the site, the SAEs and the rule of outliers. Other results are at any sites, each with a
    // cache of its own.
    let (place, at) = if let Some(family) = family {
        facts.push((format!("the site of {}", family.label), result.site.clone()));
        facts.push((format!("the files of {}'s {}", family.label, sae.label), files));
        (family.label.clone(), String::new())
    } else {
        facts.push((format!("the files of the SAE {} at {}", sae.label, site.label), files));
        (model.clone(), format!(" at {}", site.label))
    };
    facts.push((format!("the cache of {dataset} for {model}{at}"), provenance.manifest_blake3.clone()));
    // Rows with outliers kept may appear with rows with outliers filtered, but two rules may not. The rule is compared,
    // because an unscaled norm or a multiple of the median gives each model another threshold in scaled space.
    let about_rule = || format!("the outlier threshold of {place}{at} on {dataset}");
    facts.extend(result.outlier_rule.map(|rule| (about_rule(), rule.to_string())));
    facts
}
