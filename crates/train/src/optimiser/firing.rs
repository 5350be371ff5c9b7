//! Tracks dead latents.

use tch::{Device, Kind, TchError, Tensor};

/// The number of steps since each latent last fired.
#[derive(Debug)]
pub(crate) struct Firing {
    /// `[width]` i32.
    pub(crate) silent_steps: Tensor,
    /// A latent is dead after more than this many steps without firing.
    pub(crate) dead_after: u64,
}

impl Firing {
    pub(crate) fn new(width: usize, dead_after: u64, device: Device) -> Result<Self, TchError> {
        Ok(Self { silent_steps: Tensor::f_zeros([width as i64], (Kind::Int, device))?, dead_after })
    }

    /// Dead latents after `steps` steps, `[width]` bool; `None` while there cannot be any.
    pub(crate) fn dead(&self, steps: u64) -> Result<Option<Tensor>, TchError> {
        if steps <= self.dead_after { Ok(None) } else { self.mask().map(Some) }
    }

    /// Number of dead latents after `steps` steps, `[]` i64. `None` while there cannot be any, where SAELens's
    /// `num_dead_features` is 0.
    pub(crate) fn dead_count(&self, steps: u64) -> Result<Option<Tensor>, TchError> {
        self.dead(steps)?.map(|dead| dead.f_count_nonzero(None)).transpose()
    }

    /// Number of latents that fired in none of the `steps` steps so far, `[]` i64.
    pub(crate) fn never_fired_count(&self, steps: u64) -> Result<Tensor, TchError> {
        self.silent_steps.f_ge(i64::try_from(steps).unwrap_or(i64::MAX))?.f_count_nonzero(None)
    }

    /// Updates the counts with the latents `[rows, width]` of a step.
    pub(crate) fn follow(&mut self, latents: &Tensor) -> Result<(), TchError> {
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
            assert!(firing.dead(step).unwrap().is_none() && firing.dead_count(step).unwrap().is_none());
            firing.follow(&latents).unwrap();
        }
        let count = |count: Tensor| count.int64_value(&[]);
        let never = |firing: &Firing, steps| count(firing.never_fired_count(steps).unwrap());
        assert_eq!(never(&firing, 3), 2);
        let dead = firing.dead(3).unwrap().unwrap();
        assert_eq!(Vec::<bool>::try_from(dead).unwrap(), [false, true, true]);
        firing.follow(&Tensor::from_slice2(&[[0.0f32, 2.0, 0.0]])).unwrap();
        assert_eq!(Vec::<bool>::try_from(firing.dead(4).unwrap().unwrap()).unwrap(), [false, false, true]);
        assert_eq!(count(firing.dead_count(4).unwrap().unwrap()), 1);
        assert_eq!(never(&firing, 4), 1);
        firing.follow(&Tensor::from_slice2(&[[0.0f32, 0.0, 1.0]])).unwrap();
        assert_eq!(never(&firing, 5), 0, "each has fired once");
    }
}
