//! Reconstruction on GPUs: chunks of rows, dense LibTorch products over all latents.

use tch::{Kind, TchError, Tensor};

use crate::error::SaeError;
use crate::forward::{Firings, Reconstruction, Sae};

/// Maximum size of one `[rows, width]` float32 matrix: 256 MiB. Encoding holds two or three of them at once.
pub(super) const LATENT_BYTES: usize = 256 << 20;

/// The decoder gathers rows if fewer than one latent in this many fires. Above that a dense product is faster.
const SPARSE_RATIO: i64 = 16;

/// The sum mode of `Tensor::embedding_bag`.
const SUM: i64 = 0;

pub(super) fn reconstruct(
    sae: &Sae,
    x: &Tensor,
    groups: &[Vec<bool>],
) -> Result<(Reconstruction, Vec<Firings>), SaeError> {
    let chunk = (LATENT_BYTES / (size_of::<f32>() * sae.width())).max(1) as i64;
    let count = x.size()[0];
    let (mut rows, mut fired, mut l1) = (Vec::new(), Vec::new(), Vec::new());
    let mut firings = Vec::with_capacity(groups.len());
    for _ in groups {
        firings.push(Tensor::f_zeros([sae.width() as i64], (Kind::Int64, x.device()))?);
    }
    for start in (0..count).step_by(chunk as usize) {
        let length = chunk.min(count - start);
        let encoded = sae.encode(&x.f_narrow(0, start, length)?)?;
        let latents = &encoded.latents;
        let any = latents.f_count_nonzero(None)?.f_int64_value(&[])?;
        let sum = if any.saturating_mul(SPARSE_RATIO) < latents.numel() as i64 {
            sparse_product(latents, &sae.decoder)?.f_add(&sae.decoder_bias)?
        } else {
            sae.decoder_bias.f_addmm(latents, &sae.decoder)?
        };
        rows.push(encoded.back.apply(sum)?);
        fired.push(latents.f_count_nonzero_dim_intlist([-1i64].as_slice())?);
        l1.push(latents.f_sum_dim_intlist([-1i64].as_slice(), false, Kind::Float)?);
        for (total, members) in firings.iter().zip(groups) {
            let members = &members[start as usize..(start + length) as usize];
            let places: Vec<i64> = (0i64..).zip(members).filter_map(|(row, &member)| member.then_some(row)).collect();
            let own = latents.f_index_select(0, &Tensor::f_from_slice(&places)?.f_to_device(x.device())?)?;
            let _ = total.shallow_clone().f_add_(&own.f_count_nonzero_dim_intlist([0i64].as_slice())?)?;
        }
    }
    let firings = firings
        .into_iter()
        .map(|total| Ok(Vec::<i64>::try_from(total)?.into_iter().map(|count| count as u32).collect()));
    let (rows, fired, l1) = (Tensor::f_cat(&rows, 0)?, Tensor::f_cat(&fired, 0)?, Tensor::f_cat(&l1, 0)?);
    let reconstruction = Reconstruction { rows, fired, l1 };
    Ok((reconstruction, firings.collect::<Result<_, TchError>>()?))
}

/// Computes `latents · decoder` by gathering the decoder rows of active latents.
fn sparse_product(latents: &Tensor, decoder: &Tensor) -> Result<Tensor, TchError> {
    let places = latents.f_nonzero()?; // [fired, 2], sorted by row
    let columns = places.f_select(1, 1)?.f_contiguous()?;
    let values = latents.f_masked_select(&latents.f_ne(0.0)?)?;
    let per_row = latents.f_count_nonzero_dim_intlist([-1i64].as_slice())?;
    let starts = per_row.f_cumsum(0, Kind::Int64)?.f_sub(&per_row)?;
    let (sums, ..) = Tensor::f_embedding_bag(decoder, &columns, &starts, false, SUM, false, Some(&values), false)?;
    Ok(sums)
}
