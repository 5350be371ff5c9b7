//! The training step.

use hayloft_results::TrainingRecord;
use tch::{Device, Kind, TchError, Tensor};

use crate::model::{Forward, Input, Model};
use crate::optimiser::adam::{Adam, clip};
use crate::optimiser::firing::Firing;
use crate::optimiser::schedule::Schedule;

/// A model with its optimiser state.
#[derive(Debug)]
pub(crate) struct Trainer {
    pub(crate) model: Box<dyn Model>,
    pub(crate) adam: Adam,
    pub(crate) firing: Firing,
    pub(crate) schedule: Schedule,
    /// Completed steps.
    pub(crate) step: u64,
}

/// The outcome of a step.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) loss: f64,
    /// Norm of the gradients before clipping.
    pub(crate) gradient_norm: f64,
    /// The record, if requested.
    pub(crate) record: Option<TrainingRecord>,
}

impl Step {
    /// Whether loss and gradient norm are finite.
    pub(crate) fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.gradient_norm.is_finite()
    }
}

impl Trainer {
    pub(crate) fn new(
        model: Box<dyn Model>,
        schedule: Schedule,
        dead_after: u64,
        device: Device,
    ) -> Result<Self, TchError> {
        let adam = Adam::new(&tensors(model.as_ref()))?;
        let firing = Firing::new(model.width(), dead_after, device)?;
        Ok(Self { model, adam, firing, schedule, step: 0 })
    }

    /// Trains on scaled rows `[rows, d_model]` float32.
    pub(crate) fn step(&mut self, x: &Tensor, wants_record: bool) -> Result<Step, TchError> {
        let learning_rate = self.schedule.learning_rate(self.step);
        let dead = self.firing.dead(self.step)?;
        {
            let _no_grad = hayloft_model::no_grad();
            self.model.constrain()?;
        }
        let input = Input { x, dead: dead.as_ref(), coefficient: self.schedule.coefficient(self.step) };
        let forward = self.model.forward(&input)?;
        let loss = forward.loss()?;
        let mut gradients = Tensor::f_run_backward(&[&loss], &tensors(self.model.as_ref()), false, false)?;

        let _no_grad = hayloft_model::no_grad();
        self.firing.follow(&forward.latents)?;
        self.model.follow(&forward.latents)?;
        let norm = clip(&mut gradients)?;
        self.step += 1;
        self.adam.step(&tensors(self.model.as_ref()), gradients, learning_rate, self.step)?;
        let record = if wants_record { Some(self.record(x, &forward, &loss, learning_rate)?) } else { None };
        let numbers = numbers(&[&loss, &norm])?;
        Ok(Step { loss: numbers[0], gradient_norm: numbers[1], record })
    }

    fn record(
        &self,
        x: &Tensor,
        forward: &Forward,
        loss: &Tensor,
        learning_rate: f64,
    ) -> Result<TrainingRecord, TchError> {
        let squares =
            |difference: Tensor| difference.f_square()?.f_sum_dim_intlist([-1i64].as_slice(), false, Kind::Float);
        let errors = squares(x.f_sub(&forward.reconstruction)?)?;
        let deviations = squares(x.f_sub(&x.f_mean_dim([0i64].as_slice(), true, Kind::Float)?)?)?;
        let unexplained = errors.f_div(&deviations)?.f_mean(Kind::Float)?;
        let fired = forward.latents.f_count_nonzero(None)?.f_to_kind(Kind::Float)?;
        let none = unexplained.f_zeros_like()?;
        let sparsity = forward.sparsity_loss.as_ref();
        let auxiliary = forward.auxiliary_loss.as_ref();
        let never_fired = self.firing.never_fired_count(self.step)?;
        let dead = self.firing.dead_count(self.step)?;
        let all = [
            loss,
            &forward.reconstruction_loss,
            sparsity.unwrap_or(&none),
            auxiliary.unwrap_or(&none),
            &fired,
            &unexplained,
            &never_fired,
            dead.as_ref().unwrap_or(&none),
        ];
        let numbers = numbers(&all)?;
        let width = self.model.width() as f64;
        Ok(TrainingRecord {
            step: self.step,
            tokens: self.step * x.size()[0] as u64,
            learning_rate,
            loss: numbers[0],
            reconstruction_loss: numbers[1],
            sparsity_loss: sparsity.map(|_| numbers[2]),
            auxiliary_loss: auxiliary.map(|_| numbers[3]),
            l0: numbers[4] / x.size()[0] as f64,
            explained_variance: 1.0 - numbers[5],
            dead_fraction: dead.as_ref().map(|_| numbers[7] / width),
            never_fired_fraction: numbers[6] / width,
            held_out: None,
        })
    }
}

/// The trained tensors of a model.
pub(crate) fn tensors(model: &dyn Model) -> Vec<&Tensor> {
    model.parameters().into_iter().map(|(_, tensor)| tensor).collect()
}

/// Copies scalars to the host in one transfer.
fn numbers(scalars: &[&Tensor]) -> Result<Vec<f64>, TchError> {
    let detached: Vec<Tensor> = scalars.iter().map(|scalar| scalar.f_detach()).collect::<Result<_, _>>()?;
    Vec::try_from(Tensor::f_stack(&detached, 0)?.f_to_kind(Kind::Double)?.f_to_device(Device::Cpu)?)
}
