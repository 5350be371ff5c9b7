//! Which latents still fire.

use tch::{Device, Kind, TchError, Tensor};

/// Counts, for each latent, the steps since it last fired.
#[derive(Debug)]
pub(super) struct Firing {
    /// `[width]` i32.
    pub(super) silent_steps: Tensor,
    /// A latent is dead after more steps than this.
    pub(super) dead_after: u64,
}

impl Firing {
    pub(super) fn new(width: usize, dead_after: u64, device: Device) -> Result<Self, TchError> {
        Ok(Self { silent_steps: Tensor::f_zeros([width as i64], (Kind::Int, device))?, dead_after })
    }

    /// `[width]` bool: dead latents; `None` in the steps before there can be any.
    pub(super) fn dead(&self, step: u64) -> Result<Option<Tensor>, TchError> {
        if step <= self.dead_after { Ok(None) } else { self.mask().map(Some) }
    }

    /// The fraction of latents that are dead, `[]` float32.
    pub(super) fn dead_fraction(&self) -> Result<Tensor, TchError> {
        self.mask()?.f_mean(Kind::Float)
    }

    /// Follows the latents `[rows, width]` of a step.
    pub(super) fn follow(&mut self, latents: &Tensor) -> Result<(), TchError> {
        let fired = latents.f_gt(0.0)?.f_any_dim(0, false)?;
        let _ = self.silent_steps.f_add_scalar_(1)?.f_masked_fill_(&fired, 0)?;
        Ok(())
    }

    fn mask(&self) -> Result<Tensor, TchError> {
        self.silent_steps.f_gt(i64::try_from(self.dead_after).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latent_dies_when_it_is_silent_for_longer_than_the_window() {
        let mut firing = Firing::new(3, 2, Device::Cpu).unwrap();
        let latents = Tensor::from_slice2(&[[1.0f32, 0.0, 0.0], [0.0, 0.0, 0.0]]);
        for step in 0..3 {
            assert!(firing.dead(step).unwrap().is_none());
            firing.follow(&latents).unwrap();
        }
        let dead = firing.dead(3).unwrap().unwrap();
        assert_eq!(Vec::<bool>::try_from(dead).unwrap(), [false, true, true]);
        firing.follow(&Tensor::from_slice2(&[[0.0f32, 2.0, 0.0]])).unwrap();
        assert_eq!(Vec::<bool>::try_from(firing.dead(4).unwrap().unwrap()).unwrap(), [false, false, true]);
        assert!((firing.dead_fraction().unwrap().double_value(&[]) - 1.0 / 3.0).abs() < 1e-6);
    }
}
