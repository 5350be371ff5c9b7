//! Every column that reports show is in every form of a table.

use hayloft_results::{Column, ColumnTable, Columns, RowTerms, Sums};
use serde_json::json;

use super::summary::{Row, Summary};
use super::table::grouped;

fn row() -> Row {
    let mut sums = Sums { clean_loss: 2.0, zero_loss: 10.0, outlier_rows: 1, ..Sums::default() };
    let squares = RowTerms { target_square: 4.0, reconstruction_square: 3.0, product: 3.5, ..RowTerms::default() };
    sums.add_activation(&RowTerms { latents: 3, l1: 1.5, squared_error: 1.0, squared_deviation: 9.0, ..squares });
    sums.add_sae_losses(&[0], &[2.5]);
    let mut fields = json!({
        "dataset": "pile", "section": "all", "sae": "base", "model": "base", "family": "tiny", "outliers_filtered": false,
        "outlier_norm": null, "outlier_norm_raw": null, "outlier_rule": null, "site": "blocks.0.hook_resid_post",
        "scale": 2.0,
    });
    fields.as_object_mut().unwrap().extend(json!(Columns::of(&sums, 2.0)).as_object().unwrap().clone());
    serde_json::from_value(fields).unwrap()
}

#[test]
fn every_column_is_in_every_form_of_a_table() {
    let row = row();
    let table = grouped("transfer", &[&row], false);
    let (latex, markdown, text) = (table.latex().replace('\\', ""), table.markdown().replace('\\', ""), table.text(80));
    let csv = String::from_utf8(table.csv().unwrap()).unwrap();
    let summary = serde_json::to_value(Summary { rows: vec![row.clone()], left_out: Vec::new() }).unwrap();
    for column in Column::of(ColumnTable::Main).chain(Column::of(ColumnTable::Supporting)) {
        let name = column.name;
        assert!(csv.lines().next().unwrap().split(',').any(|heading| heading == name), "{name}: {csv}");
        assert_eq!(summary["rows"][0][name].as_f64(), column.value(&row.columns, None), "{name} in the summary");
        if column.table == ColumnTable::Main {
            let cell = column.text(&row.columns, None);
            for form in [&latex, &markdown] {
                assert!(form.contains(column.title) && form.contains(&cell), "{name}: {form}");
            }
            assert!(column.heading.lines().all(|line| text.contains(line)) && text.contains(&cell), "{name}: {text}");
        }
    }
}
