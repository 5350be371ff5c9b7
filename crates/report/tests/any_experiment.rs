//! Reports of results of any SAEs: made-up results, in every form that a report has.
#![expect(clippy::unwrap_used, reason = "a failing test names the place")]

use std::path::{Path, PathBuf};

use hayloft_report::{LeftOut, Report, Row, Tolerances, Verdict, compare, read_expected, read_results};
use hayloft_results::{
    Columns, DEFINITIONS, Difference, DifferenceFigure, Interval, Intervals, Kl, KlMethod, LatentSummary,
    ModelProvenance, PositionSums, Provenance, ResultConventions, RowTerms, SaeProvenance, SaeResult, Sums,
};
use hayloft_rows::{ScaleSource, SectionChoice};
use hayloft_runtime::{Dtype, FileHash};
use hayloft_store::Section;
use roxmltree::{Document, Node};
use tempfile::TempDir;

/// A result of an SAE with so many latents at a token and such an error.
fn result(name: &str, architecture: &str, latents: i64, error: f32) -> SaeResult {
    let mut sums = Sums { clean_loss: 20.0, zero_loss: 100.0, outlier_rows: 1, ..Sums::default() };
    for row in 0..10_u8 {
        let squares = RowTerms { target_square: 4.0, reconstruction_square: 3.0, product: 3.5, ..RowTerms::default() };
        let squared_error = error * (1.0 + 0.1 * f32::from(row));
        sums.add_activation(&RowTerms { latents, l1: 1.5, squared_error, squared_deviation: 9.0, ..squares });
        sums.norms.add(2.0 + f64::from(row));
    }
    sums.add_sae_losses(&[0; 10], &[2.0 + error; 10]);
    sums.positions = PositionSums::default();
    let columns = Columns::of(&sums, 1.0);
    let mut log10_density = vec![0; 32];
    (log10_density[20], log10_density[24]) = (30, 8);
    SaeResult {
        sae: name.to_owned(),
        section: SectionChoice::All,
        site: "blocks.3.hook_resid_pre".to_owned(),
        columns,
        scale: 1.0,
        scale_source: ScaleSource::None,
        scale_rows: None,
        outlier_norm: None,
        outlier_norm_raw: None,
        outlier_rule: None,
        conventions: ResultConventions::default(),
        precision: Dtype::F32,
        clean_loss_source: None,
        compute_effect: None,
        kl: None,
        intervals: None,
        subsets: Vec::new(),
        stored_rounding: None,
        definitions: DEFINITIONS.to_owned(),
        latents: LatentSummary { dead: Some(2), dense: Some(1), log10_density },
        sums,
        shards: Vec::new(),
        provenance: Provenance {
            hayloft_version: "0".to_owned(),
            corpus: "stories".to_owned(),
            manifest_blake3: "00".to_owned(),
            model: ModelProvenance { model_type: "qwen2".to_owned(), identity_sha256: None },
            sae: SaeProvenance {
                folder: name.to_owned(),
                format: "saelens".to_owned(),
                architecture: architecture.to_owned(),
                width: 40,
                normalize_activations: "none".to_owned(),
                site: None,
                model_name: None,
                files: vec![FileHash { file: "w".to_owned(), bytes: 1, blake3: name.to_owned() }],
                training: None,
            },
        },
    }
}

/// Two curves of seven SAEs each, in no order.
fn sweep() -> Vec<SaeResult> {
    let of = |architecture: &'static str, factor: f32| {
        [32, 2, 64, 8, 16, 4, 128].map(move |latents: i16| {
            let error = factor * 3.0 / f32::from(latents).sqrt();
            result(&format!("{architecture}_{latents}"), architecture, i64::from(latents), error)
        })
    };
    of("topk", 1.0).into_iter().chain(of("jumprelu", 0.8)).collect()
}

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new(results: &[SaeResult], experiment: &str) -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        fixture.write("run/results.json", &serde_json::to_string(results).unwrap());
        fixture.write("experiment.toml", experiment);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn open(&self) -> Report {
        Report::open(&self.path("experiment.toml")).unwrap_or_else(|error| panic!("{error}"))
    }

    fn rows(&self) -> Vec<Row> {
        self.open().summary().rows
    }

    fn refuse(&self, experiment: &str) -> String {
        self.write("experiment.toml", experiment);
        Report::open(&self.path("experiment.toml")).unwrap_err().to_string()
    }
}

const PLAIN: &str = "title = \"T\"\n[[results]]\nfile = \"run\"\n";
const BY_L0: &str = "title = \"T\"\nsort = \"l0\"\n[[results]]\nfile = \"run\"\n";

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|own| own == extension)).collect();
    paths.sort();
    paths
}

/// Points of a path, or left, top, right and bottom of a circle.
fn points(node: Node<'_, '_>) -> Vec<(f64, f64)> {
    let number = |name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
    match node.tag_name().name() {
        "circle" => {
            let (x, y, radius) = (number("cx"), number("cy"), number("r"));
            vec![(x - radius, y - radius), (x + radius, y + radius)]
        }
        "path" => {
            let steps =
                node.attribute("d").unwrap().trim_end_matches('Z').split(['M', 'L']).filter(|step| !step.is_empty());
            steps
                .map(|step| {
                    let (x, y) = step.split_once(' ').unwrap();
                    (x.parse().unwrap(), y.parse().unwrap())
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Checks that every mark lies in its plot area and every text in the picture; returns the number of marks.
fn check_inside(svg: &str) -> usize {
    let document = Document::parse(svg).unwrap_or_else(|error| panic!("{error}: {svg}"));
    let view: Vec<f64> =
        document.root_element().attribute("viewBox").unwrap().split(' ').map(|side| side.parse().unwrap()).collect();
    let mut area: Option<[f64; 4]> = None;
    let mut marks = 0;
    for group in document.root_element().children().filter(Node::is_element) {
        let within = group.descendants().flat_map(points).collect::<Vec<_>>();
        match group.attribute("class") {
            Some("area") => {
                let (first, third) = (within[0], within[2]);
                area = Some([first.0, first.1, third.0, third.1]);
                assert!(first.0 >= 0.0 && first.1 >= 0.0 && third.0 <= view[2] && third.1 <= view[3]);
            }
            Some("mark") => {
                let [left, top, right, bottom] = area.unwrap();
                for (x, y) in within {
                    assert!(
                        (left..=right).contains(&x) && (top..=bottom).contains(&y),
                        "({x}, {y}) is outside {area:?}: {svg}"
                    );
                }
                marks += 1;
            }
            _ => {
                for text in group.descendants().filter(|node| node.tag_name().name() == "text") {
                    let at = |name: &str| text.attribute(name).unwrap().parse::<f64>().unwrap();
                    assert!((0.0..=view[2]).contains(&at("x")) && (0.0..=view[3]).contains(&at("y")), "{svg}");
                    // Letters are about half as wide as high.
                    let half = 0.25 * at("font-size") * text.text().unwrap_or_default().chars().count() as f64;
                    if text.attribute("text-anchor") == Some("middle") && text.attribute("transform").is_none() {
                        assert!(at("x") >= half && at("x") + half <= view[2], "{:?} is cut: {svg}", text.text());
                    }
                }
            }
        }
    }
    marks
}

#[test]
fn a_sweep_is_sorted_by_l0_with_every_sae_and_a_curve_for_each_series() {
    let fixture = Fixture::new(&sweep(), BY_L0);
    let (report, rows) = (fixture.open(), fixture.rows());
    assert!(report.left_out().is_empty());
    assert_eq!(rows.len(), 14);
    let l0: Vec<f64> = rows.iter().map(|row| row.columns.l0.unwrap()).collect();
    assert!(l0.windows(2).all(|pair| pair[0] <= pair[1]), "{l0:?}");
    report.write(&fixture.path("report")).unwrap();
    let csv = fixture.text("report/tables/stories-all-kept-figures.csv");
    assert!(csv.starts_with("sae,series,model,site,dataset,section,outliers_filtered,l0,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("topk_2,\"topk, 40 latents\",qwen2,"), "{csv}");
    // Bars of fourteen SAEs would say little.
    assert!(!fixture.path("report/figures/figure-recovered-1.svg").exists());
    for kind in ["l0-ce", "l0-ev", "l0-ev-pooled"] {
        let svg = fixture.text(&format!("report/figures/figure-{kind}-1.svg"));
        // A marker for each SAE, and a line for each series.
        assert_eq!(check_inside(&svg), 14 + 2, "{svg}");
        let hover = "<title>topk_32\ntopk, 40 latents\nL0 32.00\n";
        assert!(svg.contains(hover), "{svg}");
        // One is told from the other by colour and by shape.
        assert_eq!(svg.matches("<circle").count(), 7 + 1, "{svg}");
        assert_eq!(svg.matches("stroke-dasharray=\"7 4\"").count(), 1 + 1, "{svg}");
    }
    // Seven SAEs a series are more than have a colour each, and no picture leaves one out.
    let lines: Vec<String> = files(&fixture.path("report/figures"), "svg")
        .iter()
        .filter(|path| path.to_string_lossy().contains("densities"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    for row in &rows {
        assert_eq!(lines.iter().filter(|svg| svg.contains(&format!(">{}</text>", row.sae))).count(), 1, "{}", row.sae);
    }
}

#[test]
fn files_have_plain_colours_and_marks_inside_their_axes() {
    let mut results = sweep();
    for result in &mut results {
        let ends = |value: Option<f64>| value.map(|value| Interval { low: value - 0.3, high: value + 0.2 });
        let columns = result.columns;
        let figures = [
            ("l0", columns.l0),
            ("ce_recovered", columns.ce_recovered),
            ("explained_variance", columns.explained_variance),
        ];
        let figures = figures.into_iter().filter_map(|(name, value)| Some((name.to_owned(), ends(value)?))).collect();
        result.intervals = Some(Intervals { sequences: 9, resamples: 100, figures, difference: None });
    }
    // A figure far below the others, and one above all that is possible.
    results[0].columns.ce_recovered = Some(-26.62);
    results[1].columns.ce_recovered = Some(1.1);
    let fixture = Fixture::new(&results[..5], PLAIN);
    fixture.open().write(&fixture.path("report")).unwrap();
    let pictures = files(&fixture.path("report/figures"), "svg");
    assert!(pictures.iter().any(|path| path.ends_with("figure-recovered-1.svg")), "{pictures:?}");
    for path in &pictures {
        let svg = std::fs::read_to_string(path).unwrap();
        assert!(check_inside(&svg) > 0, "{}", path.display());
        for needle in ["var(", "@media", "<style", "<script", "NaN", "inf"] {
            assert!(!svg.contains(needle), "{needle} in {}", path.display());
        }
        let pdf = std::fs::read(path.with_extension("pdf")).unwrap();
        check_pdf(&pdf);
    }
    let page = fixture.text("report/report.html");
    assert!(page.contains("var(--plot-first, #0072b2)"), "{page}");
}

/// Checks that each entry of the table of a PDF's objects leads to its object.
fn check_pdf(pdf: &[u8]) {
    let text = String::from_utf8_lossy(pdf);
    assert!(pdf.starts_with(b"%PDF-1.4\n") && pdf.ends_with(b"%%EOF\n"));
    let start: usize = text.rsplit("startxref\n").next().unwrap().lines().next().unwrap().parse().unwrap();
    let table = String::from_utf8_lossy(&pdf[start..]).into_owned();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("xref"));
    let count: usize = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    for (number, line) in lines.take(count).enumerate().skip(1) {
        let offset: usize = line[..10].parse().unwrap();
        assert!(pdf[offset..].starts_with(format!("{number} 0 obj\n").as_bytes()), "{number}");
    }
    assert!(text.contains("/FontFile2"), "the font is in the file");
}

#[test]
fn names_series_and_sections_are_free_and_what_is_not_taken_is_named() {
    let mut results = sweep();
    let mut rollout = result("topk_8", "topk", 8, 1.0);
    rollout.section = SectionChoice::Only(Section::Rollout);
    results.push(rollout);
    let experiment = "title = \"T\"\n\
        [[results]]\nfile = \"run\"\nseries = \"TopK\"\nmodel = \"Qwen\"\ndataset = \"Stories\"\nsections = [\"all\"]\n\
        saes = { \"topk_8\" = \"eight\", \"topk_2\" = \"two\" }\n\
        [[results]]\nfile = \"run\"\nseries = \"JumpReLU\"\nmodel = \"Qwen\"\ndataset = \"Stories\"\nsaes = [\"jumprelu_4\"]\n";
    let fixture = Fixture::new(&results, experiment);
    let rows = fixture.rows();
    let names: Vec<_> =
        rows.iter().map(|row| (row.sae.as_str(), row.series.as_deref(), row.dataset.as_str())).collect();
    let expected = [
        ("two", Some("TopK"), "Stories"),
        ("eight", Some("TopK"), "Stories"),
        ("jumprelu_4", Some("JumpReLU"), "Stories"),
    ];
    assert_eq!(names.len(), 3);
    assert!(expected.iter().all(|row| names.contains(row)), "{names:?}");
    let report = fixture.open();
    let left: Vec<&LeftOut> = report.left_out().iter().collect();
    // Each SAE once, though two entries read the file: eleven without a name, and one section of another.
    assert_eq!(left.len(), 12, "{left:?}");
    let of = |name: &str| left.iter().find(|own| own.what.starts_with(&format!("the SAE {name} "))).unwrap();
    assert!(of("topk_16").why.contains("`saes`") && of("topk_16").what.contains("sections: all"));
    assert!(of("topk_8").why.contains("`sections`") && of("topk_8").what.contains("sections: rollout"));
    let text = report.table(80);
    for word in ["Stories, every position", "Series", "JumpReLU", "eight"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn models_and_sites_may_be_many_and_each_has_its_pictures() {
    let mut results = Vec::new();
    for (site, latents) in [("blocks.3.hook_resid_pre", 8), ("blocks.5.hook_resid_pre", 16)] {
        let mut own = result("topk", "topk", latents, 1.0);
        site.clone_into(&mut own.site);
        own.provenance.sae.files[0].blake3 = site.to_owned();
        own.provenance.manifest_blake3 = site.to_owned();
        results.push(own);
    }
    let other = "[[results]]\nfile = \"other\"\nmodel = \"another\"\n";
    let fixture = Fixture::new(&results, &format!("{PLAIN}{other}"));
    let mut another = results[0].clone();
    another.provenance.model.identity_sha256 = Some("22".to_owned());
    another.provenance.manifest_blake3 = "22".to_owned();
    fixture.write("other/results.json", &serde_json::to_string(&[another]).unwrap());
    let report = fixture.open();
    let rows = fixture.rows();
    let keys: Vec<(&str, &str)> = rows.iter().map(|row| (row.model.as_str(), &row.site[..8])).collect();
    assert_eq!(keys, [("qwen2", "blocks.3"), ("qwen2", "blocks.5"), ("another", "blocks.3")]);
    report.write(&fixture.path("report")).unwrap();
    // A picture for each model and site, which its title names.
    let pictures = files(&fixture.path("report/figures"), "svg");
    let titles: Vec<String> = pictures
        .iter()
        .filter(|path| path.to_string_lossy().contains("l0-ce-"))
        .map(|path| {
            let svg = std::fs::read_to_string(path).unwrap();
            svg.split("-title\">").nth(1).unwrap().split('<').next().unwrap().to_owned()
        })
        .collect();
    assert_eq!(titles.len(), 3);
    assert!(titles[1].contains("blocks.5.hook_resid_pre, qwen2") && titles[2].contains("another"), "{titles:?}");
    let text = report.table(80);
    assert!(
        text.contains("Model") && text.contains("Site") && text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    // Rows are told apart by their site.
    let measured = read_results(&[fixture.path("report")]).unwrap();
    let expected = read_expected(&fixture.path("report/summary.json")).unwrap();
    let found = compare(&expected, &measured, &Tolerances::new(&[])).unwrap();
    assert_eq!(found.count(Verdict::Agrees), found.cells.len());
}

#[test]
fn every_kind_of_figure_has_its_table() {
    let mut results = vec![result("first", "topk", 8, 1.0), result("second", "topk", 9, 0.5)];
    for own in &mut results {
        let (clean_precision, spliced_precision) = (Dtype::F32, Dtype::F32);
        let (kl, kl_ablated, kl_recovered) = (Some(0.25), Some(2.0), Some(0.875));
        own.kl =
            Some(Kl { method: KlMethod::Recomputed, clean_precision, spliced_precision, kl, kl_ablated, kl_recovered });
    }
    let interval = Interval { low: -0.4, high: -0.1 };
    let figures = [("ce_sae".to_owned(), DifferenceFigure { difference: -0.25, interval })].into();
    let difference = Some(Difference { from: "first".to_owned(), figures });
    let figures = [("ce_sae".to_owned(), Interval { low: 2.4, high: 2.6 })].into();
    results[1].intervals = Some(Intervals { sequences: 9, resamples: 100, figures, difference });
    let fixture = Fixture::new(&results, PLAIN);
    let report = fixture.open();
    report.write(&fixture.path("report")).unwrap();
    let (page, text, markdown) =
        (fixture.text("report/report.html"), report.table(80), fixture.text("report/report.md"));
    for (kind, cell) in [
        ("intervals", "[2.4000, 2.6000]"),
        ("differences", "-0.2500 [-0.4000, -0.1000]"),
        ("divergences", "exact, recomputed (f32)"),
        ("latents", "95.00"),
    ] {
        let name = format!("report/tables/stories-all-kept-{kind}");
        assert!(page.contains(cell), "{kind}: {page}");
        assert!(markdown.replace('\\', "").contains(cell), "{kind}: {markdown}");
        assert!(fixture.text(&format!("{name}.csv")).lines().count() > 1);
        assert!(fixture.text(&format!("{name}.tex")).contains("\\toprule"));
    }
    // A difference that is certain is bold; its minus signs are minus signs.
    let latex = fixture.text("report/tables/stories-all-kept-differences.tex");
    assert!(latex.contains("\\textbf{$-$0.2500 [$-$0.4000, $-$0.1000]}"), "{latex}");
    assert!(text.contains("87.50") && text.contains("[2.4000, 2.6000]"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let csv = fixture.text("report/tables/stories-all-kept-differences.csv");
    assert!(csv.contains(",ce_sae_difference,ce_sae_low,ce_sae_high,") && csv.contains(",-0.25,-0.4,-0.1,"), "{csv}");
    let rows = fixture.rows();
    assert_eq!((rows[0].kl, rows[0].kl_method.as_deref()), (Some(0.25), Some("recomputed")));
    assert_eq!(rows[0].latents.map(|latents| (latents.width, latents.dead)), Some((40, Some(2))));
    assert!(report.left_out().is_empty());
}

#[test]
fn the_best_is_bold_what_is_undefined_is_a_dash_and_empty_columns_are_left_out() {
    let mut results =
        vec![result("low", "topk", 8, 1.0), result("high", "topk", 9, 0.5), result("none", "topk", 9, 0.5)];
    results[2].columns.ce_recovered = None;
    for own in &mut results {
        own.columns.mse = None;
    }
    let fixture = Fixture::new(&results, PLAIN);
    let report = fixture.open();
    report.write(&fixture.path("report")).unwrap();
    let page = fixture.text("report/report.html");
    let best = results[1].columns.ce_recovered.unwrap();
    let cell = format!("<td data-value=\"{best:?}\"><b>{:.2}</b></td>", 100.0 * best);
    assert!(page.contains(&cell), "{cell}: {page}");
    assert!(page.contains("<td data-value=\"\">–</td>"), "{page}");
    let headings = page.split("<thead>").nth(1).unwrap().split("</thead>").next().unwrap();
    assert!(headings.contains(">EV %<") && !headings.contains(">MSE<"), "{headings}");
    assert!(!report.table(80).contains("MSE"));
    let latex = fixture.text("report/tables/stories-all-kept-figures.tex");
    assert!(
        latex.contains(&format!("\\textbf{{{:.2}}}", 100.0 * best)) && latex.contains("none") && latex.contains("--"),
        "{latex}"
    );
    // A file of figures keeps all columns.
    assert!(fixture.text("report/tables/stories-all-kept-figures.csv").contains(",mse,"));
}

#[test]
fn an_experiment_that_names_what_is_not_there_is_told_what_is() {
    let fixture = Fixture::new(&sweep(), PLAIN);
    let told = |experiment: &str, words: &[&str]| {
        let message = fixture.refuse(experiment);
        for word in words {
            assert!(message.contains(word), "{word}: {message}");
        }
    };
    let with = |line: &str| format!("{PLAIN}{line}\n");
    told(&PLAIN.replace("run", "runs"), &["runs", "holds experiment.toml, run"]);
    told(&with("saes = [\"topk_33\"]"), &["topk_33", "topk_2", "Did you mean topk_3"]);
    told(&with("sections = [\"rollout\"]"), &["section rollout", "results of: all"]);
    told(&with("modle = \"x\""), &["unknown field `modle`", "Did you mean model?"]);
    told(&PLAIN.replace("title", "sorted = \"l0\"\ntitle"), &["Did you mean sort?"]);
    told(&PLAIN.replace("[[", "sort = \"ce_recoverd\"\n[["), &["ce_recoverd", "Did you mean ce_recovered?"]);
    told(&PLAIN.replace("[[", "preset = \"studdy\"\n[["), &["Did you mean study?"]);
    told(&with("saes = 3"), &["a list of SAEs' names, or a table"]);
    // The same SAE twice, and another one under the same name.
    told(&format!("{PLAIN}{}", PLAIN.trim_start_matches("title = \"T\"\n")), &["a second time"]);
    fixture.write("other/results.json", &serde_json::to_string(&[result("topk_2", "gated", 3, 1.0)]).unwrap());
    let other = "[[results]]\nfile = \"other\"\ndataset = \"others\"\n";
    let mut changed = result("topk_2", "gated", 3, 1.0);
    changed.provenance.sae.files[0].blake3 = "11".to_owned();
    fixture.write("other/results.json", &serde_json::to_string(&[changed]).unwrap());
    told(&format!("{PLAIN}{other}"), &["the files of the SAE topk_2", "different names"]);
    // The study's roles are known by their names.
    told(&with("family = \"f\""), &["without model", "preset = \"study\""]);
    told(&with("family = \"f\"\nmodel = \"bas\"\ndataset = \"d\""), &["base, chat, got bas", "Did you mean base?"]);
    told(
        &with("family = \"f\"\nmodel = \"base\"\ndataset = \"d\""),
        &["base, chat or finetuned, got topk_32", "leave `family` out"],
    );
}

/// The demo's results, and the tables that were made of them when reports were of the study alone.
#[test]
fn the_study_tables_are_as_they_were() {
    let study = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/study");
    let report = Report::open(&study.join("experiment.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    report.write(folder.path()).unwrap();
    let mut compared = 0;
    for path in files(&study.join("tables"), "csv").into_iter().chain(files(&study.join("tables"), "tex")) {
        let read =
            |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_name().unwrap();
        assert_eq!(read(&folder.path().join("tables").join(name)), read(&path), "{}", path.display());
        compared += 1;
    }
    assert_eq!(compared, 18);
    // Other tables follow on a terminal.
    let expected = std::fs::read_to_string(study.join("tables.txt")).unwrap();
    let (tables, definitions) = expected.trim_end().split_once("\n\nEV: ").unwrap();
    let text = report.table(80);
    assert!(text.starts_with(tables) && text.ends_with(definitions), "{text}");
    assert!(report.left_out().is_empty());
}
