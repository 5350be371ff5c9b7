//! Compares losses, latents and gradients with SAELens's and with hand-computed values.

use std::path::Path;

use hayloft_sae::{ArchitectureTensors, InputBias, Normalisation, Ranking, SaeFile, SaeTensors};
use tch::{Device, Kind, Tensor};

use super::{Fold, Forward, Input, Model, reopen};
use crate::files::save::SavedSae;
use crate::optimiser::schedule::Schedule;
use crate::optimiser::trainer::Trainer;
use crate::settings::architecture::{Architecture, Penalty};

/// A forward pass of SAELens, written by scripts/goldens/training.py.
struct Golden(Vec<(String, Tensor)>);

impl Golden {
    fn open(case: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/training");
        Self(Tensor::read_safetensors(folder.join(format!("{case}.safetensors"))).unwrap())
    }

    fn find(&self, name: &str) -> Option<Tensor> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, tensor)| tensor.copy())
    }

    fn tensor(&self, name: &str) -> Tensor {
        self.find(name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn parameter(&self, name: &str) -> Tensor {
        self.tensor(&format!("parameter.{name}"))
    }

    fn model(&self, own: ArchitectureTensors, architecture: Architecture) -> Box<dyn Model> {
        let parts = SaeTensors {
            encoder: self.parameter("W_enc"),
            decoder: self.parameter("W_dec"),
            decoder_bias: self.parameter("b_dec"),
            skip: None,
            input_bias: InputBias::DecoderBias,
            normalisation: Normalisation::None,
            own,
        };
        reopen(parts, &architecture, Device::Cpu).unwrap()
    }

    /// Asserts that a model agrees with SAELens.
    fn check(&self, case: &str, model: &mut dyn Model) {
        let dead = self.tensor("dead").to_kind(Kind::Bool);
        let x = self.tensor("x");
        let input = Input { x: &x, dead: Some(&dead), coefficient: 0.7 };
        let forward = model.forward(&input).unwrap();
        let loss = forward.loss().unwrap();
        let Forward { reconstruction, latents, reconstruction_loss, sparsity_loss, auxiliary_loss } = &forward;
        close(case, "loss", &loss, &self.tensor("loss"));
        close(case, "latents", latents, &self.tensor("latents"));
        close(case, "reconstruction", reconstruction, &self.tensor("reconstruction"));
        close(case, "mse", reconstruction_loss, &self.tensor("loss.mse_loss"));
        let sparsity = self.find("loss.l1_loss").or_else(|| self.find("loss.l0_loss"));
        for (name, got, expected) in [
            ("sparsity", sparsity_loss, sparsity),
            ("auxiliary", auxiliary_loss, self.find("loss.auxiliary_reconstruction_loss")),
        ] {
            assert_eq!(got.is_some(), expected.is_some(), "{case}: {name}");
            if let (Some(got), Some(expected)) = (got, expected) {
                close(case, name, got, &expected);
            }
        }
        let named = model.parameters();
        let parameters: Vec<&Tensor> = named.iter().map(|(_, tensor)| *tensor).collect();
        let gradients = Tensor::run_backward(&[&loss], &parameters, false, false);
        for ((name, _), gradient) in named.iter().zip(&gradients) {
            close(case, name, gradient, &self.tensor(&format!("gradient.{name}")));
        }
        let _no_grad = tch::no_grad_guard();
        model.follow(latents).unwrap();
        if let Some(expected) = self.find("threshold.after") {
            close(case, "threshold", model.running()[0].1, &expected);
        }
    }
}

fn jumprelu(golden: &Golden) -> ArchitectureTensors {
    ArchitectureTensors::JumpRelu {
        bias: golden.parameter("b_enc"),
        threshold: golden.parameter("threshold"),
        ranking: Ranking::PreActivation,
    }
}

fn gated(golden: &Golden) -> ArchitectureTensors {
    ArchitectureTensors::Gated {
        gate_bias: golden.parameter("b_gate"),
        magnitude_bias: golden.parameter("b_mag"),
        magnitude_log_scale: golden.parameter("r_mag"),
    }
}

fn batch_topk(golden: &Golden) -> ArchitectureTensors {
    let threshold = Tensor::from(0.0f64);
    ArchitectureTensors::BatchTopK {
        bias: golden.parameter("b_enc"),
        threshold,
        k: Some(3.5),
        ranking: Ranking::DecoderNorm,
    }
}

fn close(case: &str, what: &str, got: &Tensor, expected: &Tensor) {
    assert_eq!(got.size(), expected.size(), "{case}: {what}");
    let far = (got - expected).abs().max().double_value(&[]);
    let size = expected.abs().max().double_value(&[]).max(1.0);
    assert!(far / size < 2e-6, "{case}: {what} is {far:e} away");
}

#[test]
fn standard_agrees_with_saelens() {
    let golden = Golden::open("standard");
    let own = ArchitectureTensors::Standard { bias: golden.parameter("b_enc") };
    golden.check("standard", golden.model(own, Architecture::Standard { l1: 0.7 }).as_mut());
}

#[test]
fn topk_agrees_with_saelens_with_few_and_with_many_dead_latents() {
    for (case, ranking) in [("topk", Ranking::DecoderNorm), ("topk-many-dead", Ranking::PreActivation)] {
        let golden = Golden::open(case);
        let own = ArchitectureTensors::TopK { bias: golden.parameter("b_enc"), k: 4, ranking };
        golden.check(case, golden.model(own, Architecture::TopK { k: 4, auxiliary: 1.0 }).as_mut());
    }
}

#[test]
fn batch_topk_agrees_with_saelens() {
    let golden = Golden::open("batchtopk");
    let architecture = Architecture::BatchTopK { k: 3.5, auxiliary: 1.0 };
    golden.check("batchtopk", golden.model(batch_topk(&golden), architecture).as_mut());
}

#[test]
fn jumprelu_agrees_with_saelens_in_both_penalties() {
    for (case, penalty) in [("jumprelu", Penalty::L0), ("jumprelu-tanh", Penalty::Tanh { scale: 4.0 })] {
        let golden = Golden::open(case);
        let architecture = Architecture::JumpRelu { l0: 0.7, penalty, bandwidth: 0.3, initial_threshold: 0.01 };
        golden.check(case, golden.model(jumprelu(&golden), architecture).as_mut());
    }
}

#[test]
fn gated_agrees_with_saelens() {
    let golden = Golden::open("gated");
    golden.check("gated", golden.model(gated(&golden), Architecture::Gated { l1: 0.7 }).as_mut());
}

/// Covers losses, clipping, Adam, schedules, dead latents and thresholds together: the same batches and initial weights must
/// lead to the same weights.
#[test]
fn forty_steps_of_every_architecture_end_where_saelens_ends() {
    let tanh = Penalty::Tanh { scale: 4.0 };
    let jump = |penalty| Architecture::JumpRelu { l0: 0.7, penalty, bandwidth: 0.3, initial_threshold: 0.01 };
    for (case, architecture) in [
        ("standard", Architecture::Standard { l1: 0.7 }),
        ("topk", Architecture::TopK { k: 4, auxiliary: 1.0 }),
        ("batchtopk", Architecture::BatchTopK { k: 3.5, auxiliary: 1.0 }),
        ("jumprelu", jump(Penalty::L0)),
        ("jumprelu-tanh", jump(tanh)),
        ("gated", Architecture::Gated { l1: 0.7 }),
    ] {
        let golden = Golden::open(&format!("{case}-trained"));
        let own = match architecture {
            Architecture::Standard { .. } => ArchitectureTensors::Standard { bias: golden.parameter("b_enc") },
            Architecture::TopK { k, .. } => {
                ArchitectureTensors::TopK { bias: golden.parameter("b_enc"), k, ranking: Ranking::DecoderNorm }
            }
            Architecture::BatchTopK { .. } => batch_topk(&golden),
            Architecture::JumpRelu { .. } => jumprelu(&golden),
            Architecture::Gated { .. } => gated(&golden),
        };
        let model = golden.model(own, architecture);
        let schedule = Schedule {
            steps: 40,
            learning_rate: 1e-2,
            warm_up: 5,
            decay: 10,
            coefficient: architecture.coefficient(),
            sparsity_warm_up: 10,
        };
        let mut trainer = Trainer::new(model, schedule, 2, Device::Cpu).unwrap();
        let x = golden.tensor("x");
        for step in 0..40 {
            trainer.step(&x.get(step), false).unwrap();
        }
        let _no_grad = tch::no_grad_guard();
        for (name, tensor) in trainer.model.parameters() {
            let expected = golden.tensor(&format!("after.{name}"));
            let far = (tensor - &expected).abs().max().double_value(&[]);
            assert!(far < 2e-4, "{case}: {name} is {far:e} away");
        }
        if let Some(expected) = golden.find("threshold.after") {
            close(case, "threshold", trainer.model.running()[0].1, &expected);
        }
    }
}

/// One row, two dimensions and two latents, small enough to compute by hand.
#[test]
fn the_standard_loss_equals_a_calculation_by_hand() {
    let parts = SaeTensors {
        encoder: Tensor::from_slice2(&[[1.0f32, 0.0], [0.0, -1.0]]),
        decoder: Tensor::from_slice2(&[[3.0f32, 4.0], [1.0, 0.0]]),
        decoder_bias: Tensor::from_slice(&[1.0f32, 0.0]),
        skip: None,
        input_bias: InputBias::DecoderBias,
        normalisation: Normalisation::None,
        own: ArchitectureTensors::Standard { bias: Tensor::from_slice(&[0.5f32, 0.0]) },
    };
    let model = reopen(parts, &Architecture::Standard { l1: 2.0 }, Device::Cpu).unwrap();
    // seen = (1, 2); latents = (1.5, 0); reconstruction = (4.5 + 1, 6); error = (3.5, 4); L1 = 1.5 · 5.
    let x = Tensor::from_slice2(&[[2.0f32, 2.0]]);
    let forward = model.forward(&Input { x: &x, dead: None, coefficient: 2.0 }).unwrap();
    let number = |tensor: &Tensor| tensor.double_value(&[]);
    assert!((number(&forward.reconstruction_loss) - (12.25 + 16.0)).abs() < 1e-5);
    assert!((number(forward.sparsity_loss.as_ref().unwrap()) - 15.0).abs() < 1e-5);
    assert!((number(&forward.loss().unwrap()) - 43.25).abs() < 1e-5);
}

/// Every loadable SAE can be trained, and is saved with its own architecture.
#[test]
fn every_sae_opens_for_training_and_is_saved_as_it_was() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/saes");
    let mut cases: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 30);
    for case in cases {
        let name = case.file_name().unwrap().to_str().unwrap();
        let golden = Golden(Tensor::read_safetensors(case.join("golden.safetensors")).unwrap());
        let file = SaeFile::open(&case).unwrap();
        let parts = file.tensors().unwrap();
        let chooses_by_batch = matches!(parts.own, ArchitectureTensors::BatchTopK { .. });
        let architecture = match parts.own {
            ArchitectureTensors::Standard { .. } => Architecture::Standard { l1: 1.0 },
            ArchitectureTensors::TopK { k, .. } => Architecture::TopK { k, auxiliary: 1.0 },
            ArchitectureTensors::BatchTopK { .. } => Architecture::BatchTopK { k: 6.0, auxiliary: 1.0 },
            ArchitectureTensors::JumpRelu { .. } => {
                Architecture::JumpRelu { l0: 1.0, penalty: Penalty::L0, bandwidth: 0.05, initial_threshold: 0.01 }
            }
            ArchitectureTensors::Gated { .. } => Architecture::Gated { l1: 1.0 },
        };
        let model = reopen(parts, &architecture, Device::Cpu).unwrap();
        let (x, expected) = (golden.tensor("x"), golden.tensor("reconstruction"));
        let far = |got: &Tensor| (got - &expected).abs().max().double_value(&[]);
        if !chooses_by_batch {
            let forward = model.forward(&Input { x: &x, dead: None, coefficient: 1.0 }).unwrap();
            assert!(far(&forward.reconstruction) < 1e-5, "{name}: {:e}", far(&forward.reconstruction));
        }
        let _no_grad = tch::no_grad_guard();
        let scratch = tempfile::tempdir().unwrap();
        let exported = model.export(Fold::Keep(file.normalisation())).unwrap();
        let unsaved = exported.load(Device::Cpu).unwrap().reconstruct(&x).unwrap().rows;
        SavedSae { exported, metadata: crate::files::provenance::layout() }.write(scratch.path()).unwrap();
        let saved = SaeFile::open(scratch.path())
            .and_then(|file| file.load(Device::Cpu))
            .unwrap()
            .reconstruct(&x)
            .unwrap()
            .rows;
        assert!(far(&saved) < 1e-5, "{name} saved: {:e}", far(&saved));
        assert_eq!(unsaved, saved, "{name}: what is looked at in training is what is read back");
    }
}
