//! SAEs in place at once, compared with each alone and with the whole model with all of them.

use std::path::{Path, PathBuf};

use hayloft_evaluate::{KlChoice, RunSettings, Splice};
use hayloft_model::no_grad;
use hayloft_results::{Bootstrap, Intervals, SaeResult};
use hayloft_rows::SectionChoice;
use hayloft_runtime::Dtype;
use hayloft_store::Section;
use serde_json::json;
use tch::{Kind, Tensor};

use super::bench::{Bench, assert_near, reconstructed, run};
use crate::support::program::{program, refuse};

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
