//! What a direction of the residual does to the logits, without a forward pass.

use tch::{Device, Kind, Tensor};

use super::{Head, TILE_ROWS};
use crate::compute::in_order::{Jobs, in_order};
use crate::decoder::head::largest::Largest;
use crate::error::ModelError;
use crate::tensors::tensor_slice;

/// The tokens whose logits a direction raises and lowers most, each with the change, the strongest first; of equal ones the
/// lower token.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogitEffects {
    /// Tokens with the largest changes.
    pub raised: Vec<(u32, f32)>,
    /// Tokens with the smallest changes.
    pub lowered: Vec<(u32, f32)>,
}

impl Head {
    /// The effects of directions `[n, d_model]` on all logits; the `count` strongest of each kind.
    pub(in crate::decoder) fn effects(
        &self,
        directions: &Tensor,
        count: usize,
        mut told: impl FnMut(u64),
    ) -> Result<Vec<LogitEffects>, ModelError> {
        let (directions, all) = (directions.shallow_clone(), directions.size()[0]);
        let count = count.min(self.vocab_size() as usize);
        let mut effects = Vec::with_capacity(all as usize);
        in_order(
            self.unembedding.device(),
            move |jobs: &mut Jobs<Tensor>| {
                for first in (0..all).step_by(TILE_ROWS as usize) {
                    if jobs.send(directions.f_narrow(0, first, TILE_ROWS.min(all - first))?).is_err() {
                        return Ok(()); // the caller reports the error
                    }
                }
                Ok(())
            },
            |some| self.effects_of(&some, count),
            |found: Vec<LogitEffects>| {
                told(found.len() as u64);
                effects.extend(found);
                Ok(())
            },
        )?;
        Ok(effects)
    }

    fn effects_of(&self, directions: &Tensor, count: usize) -> Result<Vec<LogitEffects>, ModelError> {
        let normed = self.norm.of_direction(&directions.f_to_device(self.unembedding.device())?)?;
        let product = |first, tokens| -> Result<Tensor, ModelError> {
            let rows = self.unembedding.f_narrow(0, first, tokens)?.f_to_kind(Kind::Float)?;
            Ok(normed.f_mm(&rows.f_tr()?)?)
        };
        if normed.device() != Device::Cpu {
            let effects = product(0, self.vocab_size())?;
            let extremes = |largest| listed(effects.f_topk(count as i64, -1, largest, true)?);
            let pairs = extremes(true)?.into_iter().zip(extremes(false)?);
            return Ok(pairs.map(|(raised, lowered)| LogitEffects { raised, lowered }).collect());
        }
        let rows = normed.size()[0] as usize;
        let (mut raised, mut lowered) = (vec![Largest::new(count); rows], vec![Largest::new(count); rows]);
        for (first, tokens) in self.tiles() {
            let tile = product(first, tokens)?;
            let negated = tile.f_neg()?;
            for (largest, tile) in [(&mut raised, &tile), (&mut lowered, &negated)] {
                for (row, effects) in largest.iter_mut().zip(tensor_slice::floats(tile)?.chunks_exact(tokens as usize))
                {
                    row.add(first as u32, effects);
                }
            }
        }
        let finish = |largest: Largest, sign: f32| -> Vec<(u32, f32)> {
            largest.finish().into_iter().map(|(effect, token)| (token, sign * effect)).collect()
        };
        let pairs = raised.into_iter().zip(lowered);
        Ok(pairs.map(|(up, down)| LogitEffects { raised: finish(up, 1.0), lowered: finish(down, -1.0) }).collect())
    }
}

/// Tokens and effects of each row of LibTorch's values and indices, `[n, count]`.
fn listed((values, tokens): (Tensor, Tensor)) -> Result<Vec<Vec<(u32, f32)>>, ModelError> {
    let (rows, count) = (values.size()[0] as usize, values.size()[1] as usize);
    let values = Vec::<f32>::try_from(values.f_flatten(0, 1)?)?;
    let tokens = Vec::<i64>::try_from(tokens.f_flatten(0, 1)?)?;
    let pairs: Vec<(u32, f32)> = tokens.into_iter().map(|token| token as u32).zip(values).collect();
    Ok((0..rows).map(|row| pairs[row * count..(row + 1) * count].to_vec()).collect())
}
