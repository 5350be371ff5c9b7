//! Latents of two SAEs that have similar decoder directions.

use hayloft_browser::Match;
use hayloft_runtime::Progress;
use hayloft_sae::SaeFile;
use tch::Device;

use crate::error::EvaluateError;

/// For each latent of the first SAE the latent of the second with the largest cosine of decoder directions.
pub fn matches_by_cosine(own: &SaeFile, other: &SaeFile, progress: Progress) -> Result<Match, EvaluateError> {
    let _no_grad = hayloft_model::no_grad();
    if own.d_model() != other.d_model() {
        let what = "SAEs to be matched by cosine";
        let got = format!("{} and {}", own.d_model(), other.d_model());
        return Err(EvaluateError::Setting { what, expected: "decoder directions of one width", got });
    }
    let gauge = progress.gauge("matching latents", Some(own.width() as u64));
    let [own, other] = [own.load(Device::Cpu)?, other.load(Device::Cpu)?];
    let nearest = own.nearest_latents_of(&other, 1, |latents| gauge.advance(latents))?;
    Ok(Match::Cosine(nearest.into_iter().map(|found| found.first().copied()).collect()))
}
