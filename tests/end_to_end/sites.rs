//! From harvest to figures at every kind of site: evaluations of a cache, compared with the whole model run with the
//! same splice.

use hayloft_evaluate::RunSettings;
use hayloft_model::no_grad;
use hayloft_rows::{ExcludeChoice, OutlierNorm};
use hayloft_store::Cache;
use serde_json::json;
use tch::{Kind, Tensor};

use super::bench::{Bench, SITES, assert_near, reconstructed, run};
use crate::support::fixture;
use crate::support::program::{program, refuse, succeed};

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
