//! Adam (Kingma and Ba 2015), implemented here so that its state can be saved and restored exactly.

use tch::{Kind, TchError, Tensor};

/// Decay rates of the first and second moments, and the epsilon of the quotient: defaults of `PyTorch` and SAELens.
const FIRST: f64 = 0.9;
const SECOND: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Maximum norm of the gradients over all parameters, as in SAELens's `clip_grad_norm_`.
const LARGEST_NORM: f64 = 1.0;

/// Moments of all parameters, in their order.
#[derive(Debug)]
pub(crate) struct Adam {
    pub(crate) moments: Vec<Moments>,
}

/// Running means of a parameter's gradient and of its square, in the parameter's shape.
#[derive(Debug)]
pub(crate) struct Moments {
    pub(crate) first: Tensor,
    pub(crate) second: Tensor,
}

impl Adam {
    /// Creates zero moments.
    pub(crate) fn new(parameters: &[&Tensor]) -> Result<Self, TchError> {
        let zeros = |parameter: &Tensor| parameter.f_zeros_like()?.f_set_requires_grad(false);
        let moments = parameters
            .iter()
            .map(|parameter| Ok(Moments { first: zeros(parameter)?, second: zeros(parameter)? }))
            .collect::<Result<_, TchError>>()?;
        Ok(Self { moments })
    }

    /// Updates parameters in place from their gradients. `step` counts from 1. The caller must disable gradient recording.
    pub(crate) fn step(
        &mut self,
        parameters: &[&Tensor],
        gradients: Vec<Tensor>,
        learning_rate: f64,
        step: u64,
    ) -> Result<(), TchError> {
        let exponent = step as f64;
        let size = learning_rate / (1.0 - FIRST.powf(exponent));
        let root = (1.0 - SECOND.powf(exponent)).sqrt();
        for ((parameter, gradient), moments) in parameters.iter().zip(gradients).zip(&mut self.moments) {
            let _ = moments.first.f_lerp_(&gradient, 1.0 - FIRST)?;
            let _ = moments.second.f_lerp_(&gradient.f_square()?, 1.0 - SECOND)?;
            let divisor = moments.second.f_sqrt()?.f_div_scalar_(root)?.f_add_scalar_(EPSILON)?;
            let change = moments.first.f_div(&divisor)?.f_mul_scalar_(size)?;
            // A shallow clone shares the tensor, so this updates the parameter.
            let _ = parameter.shallow_clone().f_sub_(&change)?;
        }
        Ok(())
    }
}

/// Clips gradients in place to a norm of at most [`LARGEST_NORM`] over all parameters. Returns the norm before clipping,
/// `[]`.
pub(crate) fn clip(gradients: &mut [Tensor]) -> Result<Tensor, TchError> {
    let norms = gradients.iter().map(Tensor::f_norm).collect::<Result<Vec<_>, _>>()?;
    let norm = Tensor::f_stack(&norms, 0)?.f_norm()?;
    let factor = norm.f_add_scalar(1e-6)?.f_reciprocal()?.f_mul_scalar(LARGEST_NORM)?.f_clamp_max(1.0)?;
    for gradient in gradients {
        let _ = gradient.f_mul_(&factor)?;
    }
    norm.f_to_kind(Kind::Float)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Golden values of `torch.optim.Adam` and `torch.nn.utils.clip_grad_norm_`, written by scripts/goldens/training.py.
    #[test]
    fn steps_agree_with_pytorch() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/training/adam.safetensors");
        let golden = Tensor::read_safetensors(path).unwrap();
        let named = |name: String| golden.iter().find(|(own, _)| *own == name).map(|(_, tensor)| tensor.copy());
        let start = |name: &str| named(format!("{name}.start")).unwrap();
        let (matrix, vector) = (start("matrix"), start("vector"));
        let parameters = [&matrix, &vector];
        let mut adam = Adam::new(&parameters).unwrap();
        let mut steps = 0;
        while let Some(gradient) = named(format!("matrix.gradient.{steps}")) {
            let mut gradients = vec![gradient, named(format!("vector.gradient.{steps}")).unwrap()];
            let norm = clip(&mut gradients).unwrap();
            let distance =
                |tensor: &Tensor, name: String| (tensor - named(name).unwrap()).abs().max().double_value(&[]);
            assert!(distance(&norm, format!("norm.{steps}")) < 1e-5);
            steps += 1;
            adam.step(&parameters, gradients, 1e-2, steps).unwrap();
            for (name, parameter) in [("matrix", &matrix), ("vector", &vector)] {
                let far = distance(parameter, format!("{name}.after.{}", steps - 1));
                assert!(far < 1e-6, "{name} after step {steps} is {far:e} away");
            }
        }
        assert!(steps >= 5, "{steps}");
    }
}
