//! Writes what an SAE makes of some rows: how another program's reconstructions are compared with ours.
//!
//! ```sh
//! cargo run --example reconstruct -- SAE ROWS.safetensors OUT.safetensors
//! ```
//!
//! ROWS holds a tensor `x` `[rows, d_model]` float32, which OUT's `reconstruction` answers; `fired` `[rows]` i64 counts
//! latents above zero.

use std::path::PathBuf;

use anyhow::{Context, Result};
use hayloft_sae::SaeFile;
use tch::{Device, Tensor};

fn main() -> Result<()> {
    let [sae, rows, out]: [PathBuf; 3] = std::env::args_os()
        .skip(1)
        .map(PathBuf::from)
        .collect::<Vec<_>>()
        .try_into()
        .ok()
        .context("expected three arguments: SAE ROWS.safetensors OUT.safetensors")?;
    let _no_grad = hayloft_model::no_grad();
    let tensors = Tensor::read_safetensors(&rows)?;
    let (_, x) = tensors.iter().find(|(name, _)| name == "x").context("expected a tensor x, got none")?;
    let reconstruction = SaeFile::open(&sae).and_then(|file| file.load(Device::Cpu))?.reconstruct(x)?;
    let answers = [("reconstruction", reconstruction.rows), ("fired", reconstruction.fired)];
    Ok(Tensor::write_safetensors(&answers, &out)?)
}
