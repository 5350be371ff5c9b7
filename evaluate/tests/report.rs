//! Reports and comparisons of an evaluation's results, some of them corrupted.

use std::path::{Path, PathBuf};
use std::process::Command;

use hayloft_evaluate::{RunSettings, run};
use hayloft_report::{Report, Tolerances, Verdict, compare, read_expected, read_results, training_curves};
use hayloft_results::{Columns, HeldOutFigures, TrainingRecord};
use hayloft_rows::SectionChoice;
use hayloft_runtime::Progress;
use hayloft_store::Section;
use roxmltree::{Document, Node};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::tiny::{Tiny, model, sae};

/// A name that contains markup in every format.
const HOSTILE: &str = "<script>alert(1)</script> & \"x\" | $y$ \\input{z} _~ ]]>";

/// A folder with results of three SAEs on the whole and on the answers of a tiny cache, and an experiment with them.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let tiny = Tiny::new();
        let sections = vec![SectionChoice::All, SectionChoice::Only(Section::Rollout)];
        let settings = RunSettings {
            sections,
            outlier_norm: Some(5.0.into()),
            ..RunSettings::new(model(), tiny.cache(), vec![sae()])
        };
        let results = run(&settings, Progress::Silent).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let fixture = Self { folder };
        let one = serde_json::to_value(&results.results).unwrap();
        let mut all = Vec::new();
        for name in ["base", "chat", "finetuned"] {
            for result in one.as_array().unwrap() {
                let mut result = result.clone();
                result["sae"] = name.into();
                all.push(result);
            }
        }
        fixture.write("run/results.json", &Value::from(all).to_string());
        let records: Vec<String> = (0..50).map(|step| serde_json::to_string(&record(step)).unwrap()).collect();
        fixture.write("training.jsonl", &records.join("\n"));
        fixture.experiment(&experiment("A title"));
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn experiment(&self, text: &str) {
        self.write("experiment.toml", text);
    }

    /// Changes the results on disk.
    fn edit(&self, edit: impl Fn(&mut Value)) {
        let mut results: Value = serde_json::from_slice(&self.read("run/results.json")).unwrap();
        results.as_array_mut().unwrap().iter_mut().for_each(edit);
        self.write("run/results.json", &results.to_string());
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    fn open(&self) -> Report {
        Report::open(&self.path("experiment.toml")).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refuse(&self) -> String {
        Report::open(&self.path("experiment.toml")).unwrap_err().to_string()
    }

    fn report(&self) {
        self.open().write(&self.path("report")).unwrap();
    }
}

fn experiment(title: &str) -> String {
    format!(
        r#"
title = {title:?}

[[results]]
file = "run"
dataset = "alpaca"
model = "chat"
family = "tiny"

[[training]]
file = "training.jsonl"
name = "fine-tuning"
"#
    )
}

fn record(step: u64) -> TrainingRecord {
    TrainingRecord {
        step,
        tokens: 4096 * step,
        learning_rate: 1e-3,
        loss: 5.0 / (step + 1) as f64,
        reconstruction_loss: 4.0 / (step + 1) as f64,
        sparsity_loss: Some(0.1),
        auxiliary_loss: None,
        l0: 30.0,
        explained_variance: 0.8,
        dead_fraction: None,
        never_fired_fraction: 0.25,
        held_out: None,
    }
}

/// Every picture in a page or a file.
fn pictures(text: &str) -> Vec<&str> {
    let starts = text.match_indices("<svg").map(|(start, _)| start);
    starts.map(|start| &text[start..start + text[start..].find("</svg>").unwrap() + "</svg>".len()]).collect()
}

fn check_picture(svg: &str) {
    let document = Document::parse(svg).unwrap_or_else(|error| panic!("{error}: {svg}"));
    let root = document.root_element();
    assert_eq!(root.attribute("role"), Some("img"));
    for name in ["title", "desc"] {
        let child = root.children().find(|child| child.has_tag_name(("http://www.w3.org/2000/svg", name)));
        let child = child.unwrap_or_else(|| panic!("no {name}: {svg}"));
        assert!(child.text().is_some_and(|text| !text.is_empty()));
        assert!(root.attribute("aria-labelledby").unwrap().split(' ').any(|id| Some(id) == child.attribute("id")));
    }
    for node in document.descendants().filter(Node::is_element) {
        assert!(!["script", "image", "foreignObject"].contains(&node.tag_name().name()), "{svg}");
        for attribute in node.attributes() {
            let value = attribute.value();
            assert!(!value.contains("NaN") && !value.contains("inf"), "{}: {value}", attribute.name());
        }
    }
}

/// Checks that the page loads nothing.
fn check_self_contained(page: &str) {
    // One script, which sorts tables.
    assert_eq!(page.matches("<script").count(), 1);
    for needle in [" src=", "@import", "url(http", "url(//", "href=\"http", "href=\"//"] {
        assert!(!page.contains(needle), "{needle} in the page");
    }
    let without_names = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!without_names.contains("http://") && !without_names.contains("https://"));
}

#[test]
fn a_report_is_whole_and_needs_nothing_else() {
    let fixture = Fixture::new();
    fixture.report();
    let page = fixture.text("report/report.html");
    check_self_contained(&page);
    let pictures = pictures(&page);
    // Bars; three fronts, norms, losses and densities of two sections; training.
    assert_eq!(pictures.len(), 1 + 6 * 2 + 1);
    for svg in &pictures {
        check_picture(svg);
    }
    assert_eq!(page.matches("<details>").count(), pictures.len(), "every picture has a table of its numbers");
    for section in ["all", "rollout"] {
        let name = format!("alpaca-{section}-filtered-finetuned");
        let csv = fixture.text(&format!("report/tables/{name}.csv"));
        assert_eq!(csv.lines().count(), 4, "{csv}");
        assert!(fixture.text(&format!("report/tables/{name}.tex")).contains("\\toprule"));
    }
    check_picture(&fixture.text("report/figures/figure-training-1.svg"));
    let markdown = fixture.text("report/report.md");
    assert!(markdown.contains("## Alpaca protocol, rollout: fine-tuning, outliers filtered"), "{markdown}");
}

#[test]
fn the_summary_has_the_keys_and_every_column() {
    let fixture = Fixture::new();
    fixture.report();
    let summary: Value = serde_json::from_slice(&fixture.read("report/summary.json")).unwrap();
    let rows = summary["rows"].as_array().unwrap();
    let keys =
        |row: &Value| ["section", "sae", "model", "dataset", "family"].map(|key| row[key].as_str().unwrap().to_owned());
    let places: Vec<_> = rows.iter().map(keys).collect();
    let place = |section: &str, sae: &str| [section, sae, "chat", "alpaca", "tiny"].map(str::to_owned);
    let expected: Vec<_> = ["all", "rollout"]
        .iter()
        .flat_map(|section| ["base", "finetuned", "chat"].map(|sae| place(section, sae)))
        .collect();
    assert_eq!(places, expected);
    let results: Value = serde_json::from_slice(&fixture.read("run/results.json")).unwrap();
    for column in ["l0", "ce_recovered", "ce_zero", "explained_variance_pooled", "mse", "loss_tokens", "outlier_rows"] {
        assert_eq!(rows[0][column], results[0][column], "{column}");
    }
    assert_eq!(rows[0]["outliers_filtered"], true);
}

#[test]
fn the_share_of_the_gap_that_is_recovered_is_of_explained_variance() {
    let fixture = Fixture::new();
    fixture.edit(|result| {
        let explained = match result["sae"].as_str().unwrap() {
            "base" => 0.5,
            "chat" => 0.9,
            _ => 0.8,
        };
        result["explained_variance"] = explained.into();
    });
    let rows = fixture.open().summary().rows;
    let gaps: Vec<Option<f64>> = rows.iter().map(|row| row.explained_variance_gap_recovered).collect();
    assert!(matches!(gaps[..3], [None, Some(gap), None] if (gap - 0.75).abs() < 1e-12), "{gaps:?}");
    assert!(fixture.open().table(80).contains("75.00"));
}

/// In every form of a report, each with SAELens's name.
#[test]
fn both_explained_variances_stand_side_by_side() {
    let fixture = Fixture::new();
    fixture.edit(|result| {
        result["explained_variance"] = 0.1234.into();
        result["explained_variance_pooled"] = 0.5678.into();
    });
    fixture.report();
    let page = fixture.text("report/report.html");
    assert!(page.contains("<th scope=\"col\">EV %</th><th scope=\"col\">EV pooled %</th>"), "{page}");
    assert!(page.contains("<td data-value=\"0.1234\">12.34</td><td data-value=\"0.5678\">56.78</td>"), "{page}");
    let markdown = fixture.text("report/report.md");
    assert!(markdown.contains("| EV % | EV pooled % |") && markdown.contains("| 12.34 | 56.78 |"), "{markdown}");
    let latex = fixture.text("report/tables/alpaca-all-filtered-finetuned.tex");
    assert!(latex.contains("& EV \\% & EV pooled \\% &") && latex.contains("& 12.34 & 56.78 &"), "{latex}");
    assert!(latex.is_ascii(), "LaTeX sets it without further packages: {latex}");
    let csv = fixture.text("report/tables/alpaca-all-filtered-finetuned.csv");
    assert!(csv.contains(",explained_variance,explained_variance_pooled,") && csv.contains(",0.1234,0.5678,"), "{csv}");
    let table = fixture.open().table(80);
    let cells: Vec<&str> = table.split_whitespace().collect();
    assert!(cells.windows(2).any(|pair| pair == ["12.34", "56.78"]), "{table}");
    for text in [&page, &markdown.replace('\\', ""), &latex.replace('\\', ""), &table] {
        assert!(text.matches("explained_variance_legacy").count() > 0, "{text}");
        assert!(
            text.matches("SAELens's explained_variance").count()
                + text.matches("SAELens&#x27;s explained_variance").count()
                > 1,
            "{text}"
        );
    }
}

#[test]
fn names_with_markup_are_escaped() {
    let fixture = Fixture::new();
    fixture.edit(|result| result["sae"] = format!("{HOSTILE}{}", result["sae"].as_str().unwrap()).into());
    let roles: Vec<String> = ["base", "chat", "finetuned"]
        .iter()
        .map(|role| format!("{:?} = {role:?}", format!("{HOSTILE}{role}")))
        .collect();
    let text = format!(
        "title = {HOSTILE:?}\n[[results]]\nfile = \"run\"\ndataset = {HOSTILE:?}\nmodel = \"chat\"\nfamily = {HOSTILE:?}\nsaes = {{ {} }}\n[[training]]\nfile = \"training.jsonl\"\nname = {HOSTILE:?}\n",
        roles.join(", "),
    );
    fixture.experiment(&text);
    fixture.report();
    let page = fixture.text("report/report.html");
    check_self_contained(&page);
    for svg in pictures(&page) {
        check_picture(svg);
    }
    assert!(page.contains("&lt;script&gt;alert(1)"));
    let markdown = fixture.text("report/report.md");
    assert!(!markdown.contains("<script>") && markdown.contains("\\|"));
    for file in std::fs::read_dir(fixture.path("report/tables")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "tex") {
            assert!(!text.contains("\\input{z}") && text.contains("\\textbackslash{}input\\{z\\}"), "{text}");
        }
    }
}

#[test]
fn undefined_figures_are_dashes_in_tables_and_absent_from_pictures() {
    let fixture = Fixture::new();
    fixture.edit(|result| {
        for column in ["l0", "ce_recovered", "ce_sae", "explained_variance", "mse"] {
            result[column] = Value::Null;
        }
        for loss in result["sums"]["positions"]["sae_loss"].as_array_mut().unwrap() {
            *loss = Value::Null;
        }
    });
    fixture.report();
    let page = fixture.text("report/report.html");
    assert!(page.contains("<td>–</td>") && !page.contains("NaN"));
    // Without data there are neither bars nor points.
    assert_eq!(pictures(&page).len(), 3 * 2 + 1);
    for svg in pictures(&page) {
        check_picture(svg);
    }
    assert!(fixture.text("report/tables/alpaca-all-filtered-finetuned.csv").contains(",,"));
}

#[test]
fn missing_files_are_all_named() {
    let fixture = Fixture::new();
    fixture.experiment(&experiment("t").replace("\"run\"", "\"gone\"").replace("training.jsonl", "lost.jsonl"));
    let message = fixture.refuse();
    assert!(
        message.contains("gone") && message.contains("lost.jsonl") && message.contains("experiment.toml"),
        "{message}"
    );
}

#[test]
fn experiments_and_results_that_make_no_sense_are_refused() {
    let fixture = Fixture::new();
    let refuse = |text: &str, words: &str| {
        fixture.experiment(text);
        let message = fixture.refuse();
        assert!(message.contains(words), "{message}");
    };
    let usual = experiment("t");
    refuse("title = \"t\"", "results");
    refuse("title = \"t\"\nresults = []", "no [[results]]");
    refuse(&usual.replace("model = \"chat\"", "model = \"other\""), "other");
    refuse(&usual.replace("family", "familie"), "familie");
    refuse(&usual.replace("[[training]]", "saes = { \"v1\" = \"base\" }\n[[training]]"), "v1");
    // The same results twice.
    let results = usual.split("[[training]]").next().unwrap().split_once("[[results]]").unwrap().1.to_owned();
    refuse(&format!("{usual}\n[[results]]{results}"), "a second time");
    // With the other model's name, they come from the same weights, which is the user's responsibility; but one cache
    // of one family's model cannot have two manifests.
    fixture.edit(|result| {
        if result["section"] == "rollout" {
            result["provenance"]["manifest_blake3"] = "00".into();
        }
    });
    refuse(&usual, "the cache of alpaca for tiny's chat model");
    fixture.edit(|result| result["sae"] = "v1".into());
    refuse(&usual, "called base, chat or finetuned, got v1");
    fixture.edit(|result| {
        result.as_object_mut().unwrap().remove("latents");
    });
    refuse(&usual, "missing field `latents`");
    fixture.write("training.jsonl", "{}");
}

#[test]
fn omissions_of_a_report_are_named_in_warnings_and_in_the_report() {
    let fixture = Fixture::new();
    let usual = experiment("t");
    assert!(fixture.open().left_out().is_empty());
    fixture.experiment(&usual.replace("[[training]]", "saes = { \"base\" = \"base\" }\n[[training]]"));
    fixture.write("training.jsonl", "\n");
    fixture.edit(|result| {
        if result["section"] == "rollout" {
            result["subsets"] = json!([]);
        }
        if result["sae"] == "finetuned" {
            result["sae"] = HOSTILE.into();
        }
    });
    let told: Vec<String> = fixture.open().left_out().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("run/results.json: the SAE chat (sections: all, rollout)"), "{told:?}");
    assert!(
        told[1].contains(HOSTILE) && told[2].contains("training.jsonl: the log of training fine-tuning"),
        "{told:?}"
    );
    let program = Command::new(env!("CARGO_BIN_EXE_evaluate"))
        .args(["report", fixture.path("experiment.toml").to_str().unwrap(), "--out"])
        .arg(fixture.path("report"))
        .output()
        .unwrap();
    let talk = String::from_utf8(program.stderr).unwrap();
    assert!(program.status.success() && talk.matches("not in the report").count() == 3, "{talk}");
    assert!(talk.contains("the SAE chat"), "{talk}");
    let (page, markdown) = (fixture.text("report/report.html"), fixture.text("report/report.md"));
    check_self_contained(&page);
    assert!(
        page.contains("<h2 id=\"left-out\">Left out</h2>") && page.contains("the SAE chat (sections: all, rollout)")
    );
    assert!(markdown.contains("## Left out") && markdown.contains("the SAE chat") && !markdown.contains("<script>"));
    let summary: Value = serde_json::from_slice(&fixture.read("report/summary.json")).unwrap();
    assert_eq!(summary["left_out"].as_array().unwrap().len(), 3);
    // A report without any result is refused.
    fixture.write("run/results.json", "[]");
    let message = fixture.refuse();
    assert!(message.contains("expected results of at least one SAE"), "{message}");
}

#[test]
fn a_sweep_is_a_run_over_a_folder_and_its_report() {
    let tiny = Tiny::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["one", "two"] {
        std::fs::create_dir_all(path("saes").join(name)).unwrap();
        for file in std::fs::read_dir(sae()).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), path("saes").join(name).join(file.file_name())).unwrap();
        }
    }
    let program = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evaluate"));
        command.arg("sweep").arg("--model").arg(model()).arg("--cache").arg(tiny.cache());
        let output = command.arg("--sae").arg(path("saes")).args(more).output().unwrap();
        (output.status.success(), [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()))
    };
    let out = path("sweep");
    let out = out.to_str().unwrap();
    let (success, [summary, talk]) = program(&["--out", out, "--title", "Two \"SAEs\"", "--json"]);
    assert!(success, "{talk}");
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let names: Vec<&str> = summary["rows"].as_array().unwrap().iter().map(|row| row["sae"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "two"]);
    for file in ["results/results.json", "sweep.toml", "report/report.html", "report/figures/figure-l0-ce-1.pdf"] {
        assert!(path("sweep").join(file).is_file(), "{file}: {talk}");
    }
    let page = std::fs::read_to_string(path("sweep/report/report.html")).unwrap();
    assert!(page.contains("Two &quot;SAEs&quot;") && page.contains("one") && page.contains("two"), "{page}");
    // Its file makes the same report again.
    let again = Report::open(&path("sweep/sweep.toml")).unwrap().summary();
    assert_eq!(serde_json::to_value(again).unwrap(), summary);
    let (success, [_, talk]) = program(&[]);
    assert!(!success && talk.contains("--out <DIR>"), "{talk}");
    let (success, [_, talk]) = program(&["--out", out, "--part", "0/2"]);
    assert!(!success && talk.contains("evaluate merge"), "{talk}");
}

#[test]
fn training_curves_are_drawn_from_any_log() {
    check_picture(&training_curves(&[]));
    check_picture(&training_curves(&[record(0)]));
    check_picture(&training_curves(&(0..5000).map(record).collect::<Vec<_>>()));
    check_picture(&training_curves(&[TrainingRecord { loss: f64::NAN, l0: f64::INFINITY, ..record(1) }, record(2)]));
}

#[test]
fn unknown_values_are_gaps_in_a_curve() {
    let lines = |records: &[TrainingRecord]| {
        let svg = training_curves(records);
        let document = Document::parse(&svg).unwrap();
        let marks = document.descendants().filter(|node| node.attribute("class") == Some("mark"));
        marks.flat_map(|mark| mark.children()).filter(|node| node.attribute("fill") == Some("none")).count()
    };
    let with = |records: &[TrainingRecord], step: u64, change: &dyn Fn(&mut TrainingRecord)| {
        let mut records = records.to_vec();
        change(&mut records[step as usize]);
        lines(&records)
    };
    let unknown: Vec<TrainingRecord> = (0..9).map(record).collect();
    let known: Vec<TrainingRecord> =
        unknown.iter().map(|record| TrainingRecord { dead_fraction: Some(0.0), ..*record }).collect();
    assert_eq!(lines(&known), lines(&unknown) + 1, "no curve of dead latents if their number is unknown");
    assert_eq!(with(&known, 4, &|record| record.dead_fraction = None), lines(&known) + 1, "two pieces of a curve");
    assert_eq!(with(&known, 4, &|record| record.explained_variance = f64::NAN), lines(&known) + 1);
    assert_eq!(with(&known, 0, &|record| record.dead_fraction = None), lines(&known), "the curve begins later");
    let figures = HeldOutFigures {
        rows: 20,
        l0: Some(31.0),
        explained_variance: Some(0.7),
        explained_variance_pooled: None,
        dead_fraction: 0.4,
    };
    let mut looked = known.clone();
    (looked[2].held_out, looked[8].held_out) = (Some(figures), Some(figures));
    assert_eq!(lines(&looked), lines(&known) + 3, "L0, explained variance and dead latents, but not the pooled one");
    check_picture(&training_curves(&looked));
    let seldom = training_curves(&[TrainingRecord { held_out: Some(figures), ..record(8) }]);
    assert!(seldom.contains("held out") && seldom.contains("On 20 held-out rows at last: L0 31.00"), "{seldom}");
}

#[test]
fn a_summary_agrees_with_itself_and_with_nothing_else() {
    let fixture = Fixture::new();
    fixture.report();
    let summary = fixture.path("report/summary.json");
    let measured = read_results(&[fixture.path("report")]).unwrap();
    let found = compare(&read_expected(&summary).unwrap(), &measured, &Tolerances::new(&[])).unwrap();
    assert_eq!(
        (found.cells.len(), found.count(Verdict::Agrees)),
        (6 * Columns::names().count(), 6 * Columns::names().count())
    );
    let program = |expected: &Path, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evaluate"));
        let output = command.arg("compare").arg(expected).arg(&summary).args(more).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    assert!(program(&summary, &[]).0);
    let l0 = fixture.open().summary().rows[0].columns.l0.unwrap();
    let expected = json!({"rows": [{"section": "all", "sae": "base", "l0": 1.01 * l0, "ce_clean": 0.0, "note": "x"}]});
    fixture.write("expected.json", &expected.to_string());
    let (success, table, talk) = program(&fixture.path("expected.json"), &["--tolerance", "l0=0.02"]);
    assert!(!success && talk.contains("1 of 2 cells agree, 1 differ"), "{table}{talk}");
    assert!(table.contains("DIFFERS") && table.contains("measured but not expected"), "{table}");
    // 6 rows are measured, of which one is expected in two columns.
    let figures: usize = measured
        .iter()
        .map(|row| {
            row.fields
                .iter()
                .filter(|(name, value)| value.is_number() && Columns::names().any(|column| column == *name))
                .count()
        })
        .sum();
    assert!(talk.contains(&format!("{} measured figures are expected nowhere", figures - 2)), "{talk}");
    let (success, json, _) = program(&fixture.path("expected.json"), &["--tolerance", "100", "--json"]);
    assert!(success && serde_json::from_str::<Value>(&json).unwrap()["cells"][0]["verdict"] == "agrees", "{json}");
}

#[test]
fn files_that_hold_no_rows_are_refused() {
    let fixture = Fixture::new();
    for (text, words) in
        [("[]", "rows"), ("{\"rows\": [{\"sae\": \"base\"}]}", "expected figures in its rows, got none")]
    {
        fixture.write("bad.json", text);
        let message = read_expected(&fixture.path("bad.json")).unwrap_err().to_string();
        assert!(message.contains("bad.json") && message.contains(words), "{message}");
    }
}
