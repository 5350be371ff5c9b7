//! From harvest to figures at every kind of site: evaluations of a cache, compared with the whole model run with the
//! same splice.

use std::fs;
use std::path::{Path, PathBuf};

use hayloft_evaluate::{KlChoice, RunSettings, Splice};
use hayloft_model::{Checkpoint, Decoder, Portion, Positions, Site, Stop, no_grad};
use hayloft_results::{Bootstrap, Intervals, SaeResult};
use hayloft_rows::{ExcludeChoice, OutlierNorm, SectionChoice};
use hayloft_runtime::{Dtype, Progress};
use hayloft_sae::SaeFile;
use hayloft_store::{Cache, Section};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::small_model::SmallModel;
use crate::support::fixture;
use crate::support::program::{program, refuse, succeed};

const CPU: Device = Device::Cpu;
const SITES: [&str; 6] = [
    "blocks.1.hook_resid_pre",
    "blocks.1.attn.hook_z",
    "blocks.1.hook_attn_out",
    "blocks.1.hook_resid_mid",
    "blocks.1.mlp.hook_in",
    "blocks.1.hook_mlp_out",
];

/// The tiny model, a cache of all kinds of sites, and SAEs for them.
struct Bench {
    small: SmallModel,
    cache: PathBuf,
    decoder: Decoder,
}

impl Bench {
    fn new() -> Self {
        let small = SmallModel::new();
        let cache = small.folder("cache");
        let pattern = "run --site blocks.{1}.hook_resid_pre --site blocks.1.attn.hook_z --site blocks.{1,2}.hook_attn_out \
                       --site blocks.*.hook_mlp_out --site blocks.1.mlp.hook_in --site blocks.1.ln2.hook_normalized \
                       --dtype f32 --shard-tokens 400 --row-group-rows 200 --logits loss";
        succeed(&mut program(
            "harvest",
            pattern,
            &[("--model", &small.model), ("--data", &small.data), ("--out", &cache)],
        ));
        let checkpoint = Checkpoint::open(&small.model).unwrap();
        let decoder = Decoder::load(&checkpoint, Portion::Whole, Dtype::F32, CPU).unwrap();
        Self { small, cache, decoder }
    }

    /// Saves an SAE of random weights for a site, or a transcoder if there is an output site.
    fn sae(&self, name: &str, site: &str, output: Option<&str>, metadata: &serde_json::Value) -> PathBuf {
        let width = |site: &str| site.parse::<Site>().unwrap().width(self.decoder.spec());
        let (d_in, d_out, latents) = (width(site), output.map_or(width(site), width), 80_i64);
        tch::manual_seed(name.bytes().map(i64::from).sum());
        let random = |shape: &[i64], scale: f64| Tensor::randn(shape, (Kind::Float, CPU)) * scale;
        let (inner, outer) = (d_in as i64, d_out as i64);
        let mut tensors = vec![
            ("W_enc", random(&[inner, latents], 0.3)),
            ("b_enc", random(&[latents], 0.1)),
            ("W_dec", random(&[latents, outer], 0.2)),
            ("b_dec", random(&[outer], 0.1)),
        ];
        let mut config = json!({
            "architecture": "standard", "d_in": d_in, "d_sae": latents, "dtype": "float32", "apply_b_dec_to_input": output.is_none(),
            "normalize_activations": "none", "reshape_activations": "none", "metadata": metadata,
        });
        config["metadata"]["sae_lens_version"] = json!("6.54.12");
        config["metadata"]["hook_name"] = json!(site);
        if let Some(output) = output {
            config["architecture"] = json!("skip_transcoder");
            config["d_out"] = json!(d_out);
            config["metadata"]["hook_name_out"] = json!(output);
            tensors.push(("W_skip", random(&[outer, inner], 0.3)));
        }
        self.save(name, &tensors, &config)
    }

    /// Saves an SAE that reproduces its input: one latent for each element, and one for its negative.
    fn identity(&self, name: &str, site: &str) -> PathBuf {
        let width = site.parse::<Site>().unwrap().width(self.decoder.spec()) as i64;
        let eye = Tensor::eye(width, (Kind::Float, CPU));
        let both = Tensor::cat(&[&eye, &-&eye], 1);
        let zeros = |size: i64| Tensor::zeros([size], (Kind::Float, CPU));
        let tensors = [
            ("W_enc", both.copy()),
            ("b_enc", zeros(2 * width)),
            ("W_dec", both.tr().contiguous()),
            ("b_dec", zeros(width)),
        ];
        let config = json!({
            "architecture": "standard", "d_in": width, "d_sae": 2 * width, "dtype": "float32",
            "apply_b_dec_to_input": false, "normalize_activations": "none", "reshape_activations": "none",
            "metadata": {"sae_lens_version": "6.54.12", "hook_name": site},
        });
        self.save(name, &tensors, &config)
    }

    fn save(&self, name: &str, tensors: &[(&str, Tensor)], config: &serde_json::Value) -> PathBuf {
        let folder = self.small.folder(name);
        fs::create_dir_all(&folder).unwrap();
        Tensor::write_safetensors(tensors, folder.join("sae_weights.safetensors")).unwrap();
        fs::write(folder.join("cfg.json"), config.to_string()).unwrap();
        folder
    }

    fn settings(&self, saes: &[&Path]) -> RunSettings {
        RunSettings::new(&self.small.model, &self.cache, saes.iter().map(|sae| sae.to_path_buf()).collect())
    }

    /// The sequences of the cache, in order.
    fn sequences(&self) -> Vec<Vec<i64>> {
        let cache = Cache::open(&self.cache).unwrap();
        let mut all = Vec::new();
        for place in 0..cache.shards() {
            let shard = cache.shard(place).unwrap();
            let tokens = shard.tokens().unwrap().token;
            for sequence in shard.sequences() {
                let own = &tokens[sequence.first_row as usize..][..sequence.length as usize];
                all.push(own.iter().map(|&token| i64::from(token)).collect());
            }
        }
        all
    }

    /// The mean loss of the whole model where `change` is done, in turn, to what is at these places: it is given the values at
    /// the input and at the target, `[pos, width]`, and says what the target becomes.
    fn loss(&self, places: &[(&str, &str)], change: impl FnMut(usize, &[i64], &Tensor, &Tensor) -> Tensor) -> f64 {
        let (mut total, mut count) = (0.0, 0);
        for (tokens, predicted) in self.sequences().iter().zip(self.predictions(places, change)) {
            let labels = Tensor::from_slice(&tokens[1..]).unsqueeze(-1);
            total -= predicted.gather(1, &labels, false).sum(Kind::Double).double_value(&[]);
            count += tokens.len() - 1;
        }
        total / f64::from(count as u32)
    }

    /// The log-probabilities `[pos - 1, vocab]` of each sequence's next tokens, float64, under the same changes.
    fn predictions(
        &self,
        places: &[(&str, &str)],
        mut change: impl FnMut(usize, &[i64], &Tensor, &Tensor) -> Tensor,
    ) -> Vec<Tensor> {
        let mut all = Vec::new();
        for tokens in self.sequences() {
            let positions = Positions::from_start(tokens.len());
            let start = self.decoder.embed(&Tensor::from_slice(&tokens).unsqueeze(0)).unwrap();
            let mut at: Option<Stop> = None;
            for (place, (input, target)) in places.iter().enumerate() {
                let reach = |at: Option<&Stop>, site: &str| {
                    let site: Site = site.parse().unwrap();
                    match at {
                        Some(at) => self.decoder.go_on(at, site, &positions).unwrap(),
                        None => self.decoder.reach(&start, site, &positions).unwrap(),
                    }
                };
                let given = reach(at.as_ref(), input);
                let stop = reach(Some(&given), target);
                let value = change(place, &tokens, &given.value.squeeze_dim(0), &stop.value.squeeze_dim(0));
                at = Some(Stop { value: value.unsqueeze(0), ..stop });
            }
            let stop = at.unwrap_or_else(|| {
                let first: Site = SITES[0].parse().unwrap();
                self.decoder.reach(&start, first, &positions).unwrap()
            });
            let end = self.decoder.spec().n_blocks;
            let left = self.decoder.leave(&stop, &positions).unwrap();
            let logits = self.decoder.logits(&self.decoder.advance(&left, end, &positions).unwrap()).unwrap();
            let of_next = logits.squeeze_dim(0).narrow(0, 0, tokens.len() as i64 - 1);
            all.push(of_next.to_kind(Kind::Double).log_softmax(-1, Kind::Double));
        }
        all
    }
}

fn run(settings: &RunSettings) -> Vec<SaeResult> {
    hayloft_evaluate::run(settings, Progress::Silent).unwrap().results
}

fn assert_near(got: Option<f64>, expected: f64, what: &str) {
    let got = got.unwrap();
    assert!((got - expected).abs() < 2e-5 * expected.abs().max(1.0), "{what}: {got}, expected {expected}");
}

fn reconstructed(sae: &Path) -> impl Fn(&Tensor) -> Tensor {
    let sae = SaeFile::open(sae).and_then(|file| file.load(CPU)).unwrap();
    move |x: &Tensor| sae.reconstruct(&x.contiguous()).unwrap().rows
}

#[test]
fn a_splice_at_every_kind_of_site_is_that_of_the_whole_model() {
    let _guard = no_grad();
    let bench = Bench::new();
    for site in SITES {
        let sae = bench.sae("sae", site, None, &json!({}));
        let result = &run(&bench.settings(&[&sae]))[0];
        let forward = reconstructed(&sae);
        let (mut error, mut rows) = (0.0, 0);
        let spliced = bench.loss(&[(site, site)], |_, _, x, _| {
            let r = forward(x);
            error += (x - &r).square().sum(Kind::Double).double_value(&[]);
            rows += x.size()[0];
            r
        });
        assert_eq!(result.site, site);
        assert_near(result.columns.ce_sae, spliced, site);
        assert_near(result.columns.mse, error / rows as f64, site);
        assert_near(result.columns.ce_zero, bench.loss(&[(site, site)], |_, _, x, _| x.zeros_like()), site);
        assert_near(result.columns.ce_clean, bench.loss(&[(site, site)], |_, _, x, _| x.copy()), site);
    }
}

#[test]
fn a_transcoder_reads_one_site_and_is_compared_with_another() {
    let _guard = no_grad();
    let bench = Bench::new();
    let output = "blocks.1.hook_mlp_out";
    for input in ["blocks.1.mlp.hook_in", "blocks.1.ln2.hook_normalized"] {
        let sae = bench.sae("transcoder", input, Some(output), &json!({}));
        let result = &run(&bench.settings(&[&sae]))[0];
        let forward = reconstructed(&sae);
        let (mut error, mut targets) = (0.0, Vec::new());
        let spliced = bench.loss(&[(input, output)], |_, _, x, target| {
            let r = forward(x);
            error += (target - &r).square().sum(Kind::Double).double_value(&[]);
            targets.push(target.to_kind(Kind::Double));
            r
        });
        let targets = Tensor::cat(&targets, 0);
        let deviation = (&targets - targets.mean_dim([0i64].as_slice(), true, Kind::Double)).square().sum(Kind::Double);
        assert_near(result.columns.ce_sae, spliced, input);
        assert_near(result.columns.explained_variance_pooled, 1.0 - error / deviation.double_value(&[]), input);
        assert_near(
            result.columns.ce_zero,
            bench.loss(&[(input, output)], |_, _, _, target| target.zeros_like()),
            input,
        );
        assert_eq!(result.site, format!("{input}-to-{output}"));
    }
    // Without a model there are the figures on activations.
    let sae = bench.sae("transcoder", "blocks.1.mlp.hook_in", Some(output), &json!({}));
    let alone = RunSettings { model: None, ..bench.settings(&[&sae]) };
    assert!(run(&alone)[0].columns.explained_variance_pooled.is_some());
}

#[test]
fn identity_saes_change_nothing_alone_or_together() {
    let _guard = no_grad();
    let bench = Bench::new();
    let places = ["blocks.0.hook_mlp_out", "blocks.1.attn.hook_z", "blocks.1.hook_mlp_out", "blocks.2.hook_attn_out"];
    let saes: Vec<PathBuf> =
        places.iter().enumerate().map(|(place, site)| bench.identity(&format!("i{place}"), site)).collect();
    let paths: Vec<&Path> = saes.iter().map(PathBuf::as_path).collect();
    for path in &paths {
        let result = &run(&bench.settings(&[path]))[0];
        assert_near(result.columns.ce_sae, result.columns.ce_clean.unwrap(), &result.site);
        assert_near(result.columns.explained_variance_pooled, 1.0, &result.site);
    }
    let together = run(&RunSettings { splice: Splice::Together, ..bench.settings(&paths) });
    assert_eq!(together.len(), places.len());
    for result in &together {
        assert_near(result.columns.ce_sae, result.columns.ce_clean.unwrap(), &result.site);
        assert_eq!(result.conventions.spliced_with.len(), places.len() - 1);
    }
}

#[test]
fn saes_in_place_at_once_are_those_of_the_whole_model_with_all_of_them() {
    let _guard = no_grad();
    let bench = Bench::new();
    let (mlp_in, mlp_out) = ("blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out");
    let places = [
        ("blocks.0.hook_mlp_out", "blocks.0.hook_mlp_out"),
        ("blocks.1.attn.hook_z", "blocks.1.attn.hook_z"),
        (mlp_in, mlp_out),
        ("blocks.2.hook_attn_out", "blocks.2.hook_attn_out"),
    ];
    let saes: Vec<PathBuf> = places
        .iter()
        .enumerate()
        .map(|(place, (input, output))| {
            bench.sae(&format!("sae{place}"), input, (input != output).then_some(output), &json!({}))
        })
        .collect();
    let forward: Vec<_> = saes.iter().map(|sae| reconstructed(sae)).collect();
    let mut errors = [0.0; 4];
    let mut rows = 0;
    let spliced = bench.loss(&places, |place, _, x, target| {
        let r = forward[place](x);
        errors[place] += (target - &r).square().sum(Kind::Double).double_value(&[]);
        rows += if place == 0 { x.size()[0] } else { 0 };
        r
    });
    let ablated = bench.loss(&places, |_, _, _, target| target.zeros_like());
    let clean = bench.predictions(&[], |_, _, _, target| target.shallow_clone());
    let divergence = |changed: Vec<Tensor>| {
        let of_sequence = |(clean, changed): (&Tensor, Tensor)| (clean.exp() * (clean - changed)).sum(Kind::Double);
        let total: f64 = clean.iter().zip(changed).map(of_sequence).map(|sum| sum.double_value(&[])).sum();
        total / clean.iter().map(|own| own.size()[0] as f64).sum::<f64>()
    };
    let kl = divergence(bench.predictions(&places, |place, _, x, _| forward[place](x)));
    let kl_ablated = divergence(bench.predictions(&places, |_, _, _, target| target.zeros_like()));
    // In any order on the command line.
    let paths: Vec<&Path> = saes.iter().rev().map(PathBuf::as_path).collect();
    let settings =
        RunSettings { splice: Splice::Together, kl: Some("exact".parse().unwrap()), ..bench.settings(&paths) };
    let together = run(&settings);
    for (place, result) in together.iter().enumerate() {
        let found = result.kl.as_ref().unwrap();
        assert_near(found.kl, kl, &result.site);
        assert_near(found.kl_ablated, kl_ablated, &result.site);
        assert_near(result.columns.ce_sae, spliced, &result.site);
        assert_near(result.columns.ce_zero, ablated, &result.site);
        assert_near(result.columns.mse, errors[place] / f64::from(rows as i32), &result.site);
    }
}

/// Every setting that adds figures to a run.
fn with_every_figure(settings: &RunSettings) -> Vec<RunSettings> {
    let sections = vec![SectionChoice::All, SectionChoice::Only(Section::Text)];
    let bootstrap = Some(Bootstrap { resamples: 100 });
    let mut all = Vec::new();
    for compute in [None, Some(Dtype::Bf16)] {
        for kl in [None, Some(KlChoice::Exact)] {
            let (sections, outlier_norm) = (sections.clone(), Some(12.0.into()));
            all.push(RunSettings {
                sections,
                outlier_norm,
                compute,
                kl,
                bootstrap,
                by_subset: true,
                ..settings.clone()
            });
        }
    }
    all
}

#[test]
fn one_sae_spliced_together_with_no_other_is_measured_as_it_is_alone_to_the_bit() {
    let bench = Bench::new();
    let sites = [("blocks.1.hook_resid_pre", None), ("blocks.1.mlp.hook_in", Some("blocks.1.hook_mlp_out"))];
    for (site, output) in sites {
        let sae = bench.sae("one", site, output, &json!({}));
        for settings in with_every_figure(&bench.settings(&[&sae])) {
            let alone = run(&settings);
            let together = run(&RunSettings { splice: Splice::Together, ..settings });
            assert_eq!(together, alone);
            let subset = &alone[0].subsets[0];
            assert!(subset.columns.ce_sae.is_some() && alone[0].intervals.is_some(), "{site}");
        }
    }
}

#[test]
fn saes_that_give_back_what_they_are_given_leave_every_figure_of_the_lowest_as_it_is_alone() {
    let bench = Bench::new();
    let sae = bench.sae("lowest", "blocks.1.hook_resid_pre", None, &json!({}));
    let others = [bench.identity("i1", "blocks.1.attn.hook_z"), bench.identity("i2", "blocks.2.hook_attn_out")];
    for settings in with_every_figure(&bench.settings(&[&sae])) {
        // bfloat16 rounds what the others give back.
        let near = if settings.compute.is_some() { 0.03 } else { 2e-5 };
        let saes = [&others[1], &sae, &others[0]].map(PathBuf::clone).to_vec();
        let alone = run(&settings);
        let together = run(&RunSettings { splice: Splice::Together, saes, ..settings });
        let of_lowest: Vec<&SaeResult> = together.iter().filter(|own| own.sae == alone[0].sae).collect();
        assert_eq!((of_lowest.len(), together.len()), (2, 6));
        for (expected, got) in alone.iter().zip(of_lowest) {
            let is_near = |got: Option<f64>, expected: Option<f64>| match (got, expected) {
                (Some(got), Some(expected)) => (got - expected).abs() < near,
                (got, expected) => got.is_none() && expected.is_none(),
            };
            let figures = |own: &SaeResult| [own.columns.ce_sae, own.columns.l0, own.columns.explained_variance_pooled];
            assert!(figures(got).into_iter().zip(figures(expected)).all(|(got, expected)| is_near(got, expected)));
            assert_eq!(got.columns.outlier_rows, expected.columns.outlier_rows);
            let kl = |own: &SaeResult| own.kl.as_ref().and_then(|kl| kl.kl);
            assert!(is_near(kl(got), kl(expected)));
            assert_eq!(got.subsets.len(), expected.subsets.len());
            for (got, expected) in got.subsets.iter().zip(&expected.subsets) {
                assert!(is_near(got.columns.ce_sae, expected.columns.ce_sae));
                assert!(is_near(got.columns.explained_variance, expected.columns.explained_variance));
            }
            let (got, expected) = (got.intervals.as_ref().unwrap(), expected.intervals.as_ref().unwrap());
            assert!(got.difference.is_none(), "one run has no differences");
            let end = |own: &Intervals| own.figures["ce_sae"].high;
            assert!(is_near(Some(end(got)), Some(end(expected))));
        }
        assert!(together.iter().all(|own| own.compute_effect.is_some() == alone[0].compute_effect.is_some()));
    }
}

#[test]
fn two_saes_of_one_site_cannot_be_in_place_at_once() {
    let bench = Bench::new();
    let site = "blocks.1.hook_mlp_out";
    let (first, second) = (bench.identity("one", site), bench.sae("two", site, None, &json!({})));
    let message = refuse(&mut program(
        "evaluate",
        "run --splice-together",
        &[("--model", &bench.small.model), ("--cache", &bench.cache), ("--sae", &first), ("--sae", &second)],
    ));
    assert!(message.contains(site) && message.contains("expected SAEs of different sites"), "{message}");
    let message =
        refuse(&mut program("evaluate", "run --splice-together", &[("--cache", &bench.cache), ("--sae", &first)]));
    assert!(message.contains("--model"), "{message}");
}

#[test]
fn a_missing_site_or_companion_site_is_refused_by_name() {
    let bench = Bench::new();
    let sae = bench.identity("far", "blocks.2.mlp.hook_in");
    let paths = [("--model", bench.small.model.as_path()), ("--cache", &bench.cache), ("--sae", &sae)];
    let message = refuse(&mut program("evaluate", "run", &paths));
    assert!(message.contains("expected activations of blocks.2.mlp.hook_in"), "{message}");
    // A cache with only the site, as made by `store select`.
    let few = bench.small.folder("few");
    succeed(&mut program("store", "select --site blocks.1.hook_mlp_out", &[("", &bench.cache), ("--out", &few)]));
    let sae = bench.identity("near", "blocks.1.hook_mlp_out");
    let message =
        refuse(&mut program("evaluate", "run", &[("--model", &bench.small.model), ("--cache", &few), ("--sae", &sae)]));
    assert!(message.contains("blocks.1.hook_resid_mid") && message.contains("store extend"), "{message}");
}

#[test]
fn tokens_and_norms_are_left_out_each_by_its_own_rule() {
    let _guard = no_grad();
    let bench = Bench::new();
    let site = "blocks.1.hook_resid_pre";
    let sae = bench.sae("sae", site, None, &json!({}));
    let forward = reconstructed(&sae);
    let bos = 0;
    let eos = 1;
    for (exclude, tokens) in [(ExcludeChoice::Bos, vec![bos]), (ExcludeChoice::Special, vec![bos, eos])] {
        let result = &run(&RunSettings { exclude, ..bench.settings(&[&sae]) })[0];
        let (mut error, mut rows, mut left_out) = (0.0, 0, 0);
        let spliced = bench.loss(&[(site, site)], |_, own, x, _| {
            let r = forward(x);
            let keep: Vec<bool> = own.iter().map(|token| !tokens.contains(token)).collect();
            let mask = Tensor::from_slice(&keep).unsqueeze(-1);
            let kept = keep.iter().filter(|kept| **kept).count() as i64;
            (rows, left_out) = (rows + kept, left_out + keep.len() as i64 - kept);
            error += ((x - &r) * &mask).square().sum(Kind::Double).double_value(&[]);
            r.where_self(&mask, x)
        });
        assert_near(result.columns.ce_sae, spliced, "left out");
        assert_near(result.columns.mse, error / f64::from(rows as i32), "left out");
        assert_eq!((result.sums.excluded_rows, result.columns.outlier_rows), (left_out as u64, 0));
        assert_eq!(result.conventions.excluded_tokens, tokens.iter().map(|&token| token as u32).collect::<Vec<_>>());
        assert!(left_out > 0);
    }
    let mut norms: Vec<f64> = Vec::new();
    bench.loss(&[(site, site)], |_, _, x, _| {
        let own = x.to_kind(Kind::Double).square().sum_dim_intlist([-1i64].as_slice(), false, Kind::Double).sqrt();
        norms.extend(Vec::<f64>::try_from(own).unwrap());
        x.copy()
    });
    norms.sort_by(f64::total_cmp);
    let median = norms[(norms.len() - 1) / 2];
    let result =
        &run(&RunSettings { outlier_norm: Some(OutlierNorm::MedianMultiple(1.1)), ..bench.settings(&[&sae]) })[0];
    let outliers = norms.iter().filter(|norm| **norm > 1.1 * median).count();
    assert_near(result.conventions.outlier_median.map(|rule| rule.median), median, "median");
    assert!(outliers > 0 && result.columns.outlier_rows.abs_diff(outliers as u64) <= 1, "{outliers}");
    let message =
        refuse(&mut program("evaluate", "run --exclude special", &[("--cache", &bench.cache), ("--sae", &sae)]));
    assert!(message.contains("--model"), "{message}");
}

#[test]
fn centred_weights_are_for_models_whose_norms_take_the_mean_away() {
    let bench = Bench::new();
    let metadata = json!({"model_from_pretrained_kwargs": {"center_writing_weights": true}});
    let sae = bench.sae("centred", "blocks.1.hook_resid_pre", None, &metadata);
    let paths = [("--model", bench.small.model.as_path()), ("--cache", &bench.cache), ("--sae", &sae)];
    let message = refuse(&mut program("evaluate", "run", &paths));
    assert!(message.contains("LayerNorm") && message.contains("--weights as-stored"), "{message}");
    let text = succeed(&mut program("evaluate", "run --weights as-stored", &paths));
    assert!(!text.contains("each less its own mean"), "{text}");
    let inspected = succeed(&mut program("evaluate", "inspect", &[("", &sae)]));
    assert!(inspected.contains("centred writing weights"), "{inspected}");
}

#[test]
fn patterns_of_sites_and_what_lies_beside_them_are_in_the_cache() {
    let bench = Bench::new();
    let manifest = Cache::open(&bench.cache).unwrap();
    let names: Vec<&str> = manifest.manifest().sites.iter().map(|site| site.name.as_str()).collect();
    for beside in
        ["blocks.0.hook_resid_mid", "blocks.2.hook_resid_mid", "blocks.2.hook_resid_pre", "blocks.1.hook_resid_pre"]
    {
        assert!(names.contains(&beside), "{beside} is not in {names:?}");
    }
    let width = |name: &str| manifest.manifest().sites.iter().find(|site| site.name.as_str() == name).unwrap().d_model;
    assert_eq!(
        width("blocks.1.attn.hook_z"),
        bench.decoder.spec().attention.n_heads * bench.decoder.spec().attention.head_dim
    );
    succeed(&mut program("store", "verify", &[("", &bench.cache)]));
    assert!(fixture("tiny-llama").is_dir());
}
