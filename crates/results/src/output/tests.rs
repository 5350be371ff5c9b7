//! Every column of the list is in every output.

use std::collections::BTreeMap;

use hayloft_rows::SectionChoice;
use hayloft_runtime::Dtype;
use hayloft_store::Section;
use serde_json::{Value, json};

use super::printed;
use crate::bootstrap::{Bootstrap, Uncertain, uncertainty};
use crate::columns::{BrokenDown, COLUMNS, Column, ColumnTable, Columns};
use crate::kl::method::KlMethod;
use crate::kl::result::Kl;
use crate::kl::sums::KlSums;
use crate::output::Breakdown;
use crate::results::{DEFINITIONS, Results, SaeResult};
use crate::subsets::by_subset::BySubset;
use crate::subsets::figures::{SubsetSums, subset_figures};
use crate::sums::Sums;
use crate::sums::row_terms::RowTerms;
use crate::sums::sequence::SequenceSums;

/// Sums of three tokens, each of whose metrics is defined.
fn sums(offset: f32) -> Sums {
    let mut sums = Sums { clean_loss: 6.0, zero_loss: 30.0, outlier_rows: 1, ..Sums::default() };
    for (position, squared_error) in [1.0, 2.0, 4.0 + offset].into_iter().enumerate() {
        let terms = RowTerms {
            latents: 3,
            l1: 1.5,
            squared_error,
            squared_deviation: 9.0,
            target_square: 4.0,
            reconstruction_square: 3.0 + offset,
            product: 3.5,
        };
        sums.add_activation(&terms);
        sums.positions.add_activation(position, &terms);
    }
    sums.add_sae_losses(&[0, 1, 2], &[2.5, 2.5, 3.0 + offset]);
    sums.kl = Some(KlSums { tokens: 3, kl: 0.3, kl_ablated: 6.0 });
    sums
}

/// A result with intervals and subsets.
fn result(sae: &str, sums: &Sums) -> SaeResult {
    let (columns, counts) = (Columns::of(sums, 2.0), (sums.loss_tokens, sums.activation_rows));
    let kl = Kl::of(sums.kl, counts, KlMethod::Recomputed, (Dtype::F32, Dtype::F32));
    let mut shard = BySubset::default();
    *shard.entry(Some("web")) = SubsetSums { sequences: 1, sums: sums.clone() };
    let effects = Column::of(ColumnTable::Main).filter(|column| column.is_compared);
    let mut effects: BTreeMap<&str, Value> = effects.map(|column| (column.name, json!(0.5))).collect();
    effects.extend([("precision", json!("bf16")), ("activation_rows", json!(3))]);
    let mut fields = json!({
        "sae": sae, "section": "all", "site": "blocks.0.hook_resid_post", "scale": 2.0, "scale_source": "given",
        "outlier_norm": null, "outlier_norm_raw": null, "outlier_rule": null,
        "conventions": {"weights": "as_stored", "exclude": "none"}, "precision": "f32", "clean_loss_source": "cache",
        "kl": kl, "compute_effect": effects, "definitions": DEFINITIONS,
        "latents": {"dead": 0, "dense": 1, "log10_density": vec![1; 32]}, "sums": sums, "shards": [],
        "subsets": subset_figures(&[shard], 2.0),
        "provenance": {
            "hayloft_version": "1", "corpus": "web", "manifest_blake3": "00",
            "model": {"model_type": "llama", "identity_sha256": null},
            "sae": {"folder": sae, "format": "saelens", "architecture": "standard", "width": 32,
                    "normalize_activations": "none", "site": null, "model_name": null, "files": []},
        },
    });
    fields.as_object_mut().unwrap().extend(json!(columns).as_object().unwrap().clone());
    serde_json::from_value(fields).unwrap()
}

fn results() -> Results {
    let all = [sums(0.0), sums(1.0)];
    let mut results: Vec<SaeResult> =
        [("base", &all[0]), ("other", &all[1])].into_iter().map(|(sae, sums)| result(sae, sums)).collect();
    let sequences = all.each_ref().map(|sums| vec![SequenceSums::of(sums); 4]);
    let sae = |name, sequences| Uncertain { name, sequences, scale: 2.0, target_scale: 2.0, has_kl: true };
    let saes = [sae("base", &sequences[0]), sae("other", &sequences[1])];
    for (result, intervals) in results.iter_mut().zip(uncertainty(Bootstrap { resamples: 100 }, &saes)) {
        result.intervals = Some(intervals);
    }
    Results { results, latents: Vec::new(), clean_check: None, tokens: 3 }
}

#[test]
fn every_column_is_in_every_output() {
    let results = results();
    let (table, details, markdown) = (results.table(80), results.details(80), results.markdown());
    let bytes = results.csv().unwrap();
    let mut lines = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes.as_slice()).into_records();
    let (header, first) = (lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap());
    let by_position = results.breakdown(Breakdown::Position, 80);
    let by_subset = results.breakdown(Breakdown::Subset, 80);
    let [json, other] = [0, 1].map(|place| serde_json::to_value(&results.results[place]).unwrap());
    for column in COLUMNS {
        let Column { name, table: of, .. } = *column;
        let (of_result, kl) = (&results.results[0].columns, results.results[0].kl.as_ref());
        let value = column.value(of_result, kl);
        assert!(value.is_some(), "{name} is defined");

        let fields = if of == ColumnTable::Divergences { &json["kl"] } else { &json };
        assert_eq!(fields[name].as_f64(), value, "{name} in JSON");
        let place = header.iter().position(|own| own == name).unwrap_or_else(|| panic!("{name} in CSV"));
        assert_eq!(first[place].parse::<f64>().ok(), value, "{name} in CSV");
        let (line, text) = (column.line(), column.text(of_result, kl));
        assert!(markdown.contains(&format!(" {line} |")) && markdown.contains(&format!(" {text} |")), "{markdown}");
        let printed = if matches!(of, ColumnTable::Reconstructions | ColumnTable::Latents) { &details } else { &table };
        assert!(column.heading.lines().all(|line| printed.contains(line)) && printed.contains(&text), "{printed}");

        let interval = &json["intervals"]["figures"][name];
        assert_eq!(interval.is_array(), column.depends_on.is_some(), "the interval of {name}");
        let difference = &other["intervals"]["difference"]["figures"][name];
        assert_eq!(difference.is_object(), column.depends_on.is_some(), "the difference of {name}");
        let subset = &json["subsets"][0][name];
        assert_eq!(subset.is_number(), column.broken_down != BrokenDown::No, "{name} of a subset");
        let is_main = of == ColumnTable::Main;
        assert!(!is_main || by_subset.contains(&text), "{name}: {by_subset}");
        let is_by_position = is_main && column.broken_down == BrokenDown::BySubsetAndPosition;
        assert!(!is_by_position || by_position.contains(&line), "{name}: {by_position}");
        let headings =
            |columns: Vec<printed::Printed>| columns.into_iter().any(|own| own.heading.replace('\n', " ") == line);
        assert_eq!(headings(printed::differences(true)), column.is_compared, "{name} in the table of differences");
        assert!(!is_main || headings(printed::half_widths(true)), "{name} in the table of half widths");
    }
}

/// Long names of two sections, in every table: no line is too long, and every figure is printed.
#[test]
fn tables_fit_a_terminal() {
    let mut results = results();
    let names = ["layer_20__width_16k__average_l0_71", "layer_20__width_65k__average_l0_71"];
    for (result, name) in results.results.iter_mut().zip(names) {
        name.clone_into(&mut result.sae);
    }
    let mut others = results.results.clone();
    for other in &mut others {
        other.section = SectionChoice::Only(Section::UserPrompt);
    }
    results.results.extend(others);
    let (table, details) = (results.table(80), results.details(80));
    let breakdowns = [Breakdown::Subset, Breakdown::Position].map(|by| results.breakdown(by, 80));
    for text in [&table, &details, &breakdowns[0], &breakdowns[1]] {
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    for result in &results.results {
        for column in COLUMNS {
            let text = column.text(&result.columns, result.kl.as_ref());
            assert!(table.contains(&text) || details.contains(&text), "{}: {table}{details}", column.name);
        }
    }
    let count = |wanted: &str| table.matches(wanted).count();
    for (heading, tables) in [("Raw MSE", 1), ("Activations", 1), ("KL ablated", 1), ("pooled %", 4)] {
        assert_eq!(count(heading), tables, "{heading}: {table}");
    }
    assert!(count("width_16k") > 4 && count("width_65k") > 4 && count("user_prompt") > 8, "{table}");

    for result in &mut results.results {
        result.columns.ce_recovered = None;
    }
    assert_eq!(results.table(80).matches("rec. %").count(), count("rec. %") - 1, "undefined in every row");
}

#[test]
fn a_result_is_read_as_it_was_written() {
    for result in results().results {
        let text = serde_json::to_string(&result).unwrap();
        let read: SaeResult = serde_json::from_str(&text).unwrap();
        // Subsets do not hold what they do not have.
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!((read.columns, read.kl, read.compute_effect), (result.columns, result.kl, result.compute_effect));
    }
}
