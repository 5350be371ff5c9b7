//! SAEs, loaded and put to use: SAELens's layout, and the archives of numpy and `PyTorch` that others come in.

use std::path::Path;

use hayloft_sae::SaeFile;
use tch::{Device, Kind, Tensor};

use crate::guarded::scratch;
use crate::outcome::words;
use crate::{Outcome, seeds};

/// `cfg.json`, beside the weights of each architecture.
pub(super) fn config(input: &[u8]) -> Outcome {
    each_architecture("sae configs", "cfg.json", input)
}

/// `sae_weights.safetensors`, beside the configuration of each architecture.
pub(super) fn weights(input: &[u8]) -> Outcome {
    each_architecture("sae weights", "sae_weights.safetensors", input)
}

/// `config.yaml` of circuit-tracer, beside the weights of a transcoder.
pub(super) fn yaml(input: &[u8]) -> Outcome {
    let folder = scratch::folder("transcoders", seeds::saes::write_transcoder);
    scratch::write(&folder.join("config.yaml"), input);
    whole(&folder)
}

/// `params.npz` of Gemma Scope.
pub(super) fn numpy_archive(input: &[u8]) -> Outcome {
    alone("numpy archives", "params.npz", input)
}

/// `autoencoder.pt` of `OpenAI`: an archive with a pickle in it.
pub(super) fn torch_file(input: &[u8]) -> Outcome {
    alone("torch files", "autoencoder.pt", input)
}

/// The one file of an SAE without a configuration.
fn alone(purpose: &'static str, file: &str, input: &[u8]) -> Outcome {
    let folder = scratch::folder(purpose, |_| ());
    scratch::write(&folder.join(file), input);
    whole(&folder)
}

/// The input must do for one of them.
fn each_architecture(purpose: &'static str, file: &str, input: &[u8]) -> Outcome {
    let folder = scratch::folder(purpose, seeds::saes::write);
    let mut outcome = Err("no architecture".to_owned());
    for name in seeds::saes::ARCHITECTURES {
        let folder = folder.join(name);
        scratch::write(&folder.join(file), input);
        match (whole(&folder), &outcome) {
            (Ok(()), _) => return Ok(()),
            // Of several refusals, the one that came furthest, which is mostly the longest.
            (Err(words), Err(said)) if words.len() > said.len() => outcome = Err(words),
            _ => {}
        }
    }
    outcome
}

fn whole(folder: &Path) -> Outcome {
    let file = SaeFile::open(folder).map_err(words)?;
    drop(file.hashes());
    let sae = file.load(Device::Cpu).map_err(words)?;
    let rows = Tensor::f_ones([2, sae.d_model() as i64], (Kind::Float, Device::Cpu)).map_err(words)?;
    sae.reconstruct(&rows).map_err(words).map(drop)
}
