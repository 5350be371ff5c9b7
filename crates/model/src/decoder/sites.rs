//! Forward passes that stop at sites, where an activation can be read or spliced before the pass continues.

use super::block::BlockState;
use super::{Decoder, angles_of};
use crate::error::ModelError;
use crate::residual::{Positions, Residual};
use crate::site::{Hook, Site, Stop};

impl Decoder {
    /// Advances the residual to a site: through whole blocks to the site's block, then within it.
    ///
    /// Stopping at a site and continuing gives the bits of an undivided pass. The one exception is `ln2.hook_normalized` of
    /// a norm whose weight is applied in float32 (`NormWeight`): its value is rounded in bf16 and f16.
    pub fn reach(&self, from: &Residual, site: Site, positions: &Positions<'_>) -> Result<Stop, ModelError> {
        site.check(&self.spec)?;
        let whole = site.rest();
        let entering = self.advance(from, whole, positions)?;
        if site.block().is_some() {
            return Ok(Stop { site, value: entering.stream, beside: Vec::new() });
        }
        let start = BlockState { hook: Hook::ResidPre, value: entering.stream, beside: Vec::new() };
        self.walk(site.layer(), start, site.hook(), positions)
    }

    /// Advances from one site to a later one, possibly in the same block.
    pub fn go_on(&self, from: &Stop, to: Site, positions: &Positions<'_>) -> Result<Stop, ModelError> {
        to.check(&self.spec)?;
        if to < from.site && to.block() != from.site.block() {
            return Err(ModelError::Input { problem: format!("{to} does not come after {}", from.site) });
        }
        if from.site.layer() == to.layer() && from.site.block().is_none() {
            return self.walk(to.layer(), state_at(from), to.hook(), positions);
        }
        self.reach(&self.leave(from, positions)?, to, positions)
    }

    /// Advances from a site, with its possibly spliced value, to the residual that enters the next block. At a site between
    /// two blocks this is the value itself.
    pub fn leave(&self, from: &Stop, positions: &Positions<'_>) -> Result<Residual, ModelError> {
        if let Some(block) = from.site.block() {
            return Ok(Residual { stream: from.value.shallow_clone(), block });
        }
        let left = self.walk(from.site.layer(), state_at(from), Hook::ResidPost, positions)?;
        Ok(Residual { stream: left.value, block: from.site.layer() + 1 })
    }

    /// Advances within one block.
    fn walk(&self, layer: usize, from: BlockState, to: Hook, positions: &Positions<'_>) -> Result<Stop, ModelError> {
        let place = layer.checked_sub(self.first_block).and_then(|place| self.blocks.get(place));
        let block = place.ok_or_else(|| self.not_loaded(&format!("block {layer}")))?;
        let (angles, site) = (self.angles(*positions)?, Site::new(layer, to));
        let expected = Site::new(layer, from.hook).beside(&self.spec).len();
        if from.beside.len() != expected {
            let got = from.beside.len();
            let problem = format!("beside blocks.{layer}.{}: expected {expected} tensors, got {got}", from.hook);
            return Err(ModelError::Input { problem });
        }
        let BlockState { value, beside, .. } = block.walk(from, to, angles_of(&angles, block))?;
        Ok(Stop { site, value, beside })
    }
}

fn state_at(stop: &Stop) -> BlockState {
    BlockState {
        hook: stop.site.hook(),
        value: stop.value.shallow_clone(),
        beside: stop.beside.iter().map(tch::Tensor::shallow_clone).collect(),
    }
}
