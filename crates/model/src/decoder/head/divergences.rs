//! KL divergences of changed runs from the clean run, in the same pieces as losses.

use tch::{Device, Kind, Tensor};

use super::bound::Bound;
use super::divergence::Pair;
use super::{GPU_BYTES, Head, TILE_ROWS, check_count, label_loss};
use crate::error::ModelError;
use crate::tensors::tensor_slice;

/// Known predictions of the clean run at `n` rows.
#[derive(Debug, Clone, Copy)]
pub enum CleanRun<'run> {
    /// `[n, d_model]`: the residual before the final norm. Divergences are exact.
    Residual(&'run Tensor),
    /// Stored logits. Divergences are exact.
    Logits {
        /// `[m, vocab]`, of any floating-point type, on any device.
        logits: &'run Tensor,
        /// `[n]`: their rows to use.
        rows: &'run [i64],
    },
    /// The largest logits only. Divergences are lower bounds.
    Largest {
        /// `[n, k]`: tokens, in any order.
        ids: &'run [u32],
        /// `[n, k]`.
        logits: &'run [f32],
        /// `[n]`: logsumexp over the whole vocabulary.
        logsumexp: &'run [f32],
    },
}

/// Loss and divergence of a changed run at `n` rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Divergences {
    /// `[n]`, nats: loss. NaN where the label is -1.
    pub loss: Vec<f32>,
    /// `[n]`, nats: KL(clean ‖ changed) of the predicted distributions, or a lower bound of it. Rounding may make it
    /// negative, by 1e-7 if exact and 1e-5 if a bound.
    pub kl: Vec<f64>,
}

/// A range of consecutive rows.
#[derive(Clone, Copy)]
struct Piece<'call> {
    start: i64,
    length: i64,
    labels: &'call [i64],
}

impl Piece<'_> {
    fn slice_of<Value>(self, values: &[Value], per_row: usize) -> &[Value] {
        &values[self.start as usize * per_row..(self.start + self.length) as usize * per_row]
    }
}

/// Logits of some rows of the clean run, computed or stored.
enum CleanLogits<'run> {
    Normed(Tensor),
    Kept { logits: &'run Tensor, rows: Tensor },
}

impl CleanLogits<'_> {
    /// Contiguous float32 logits `[n, tokens]` of a range of tokens, on a device.
    fn logits(&self, head: &Head, first: i64, tokens: i64, device: Device) -> Result<Tensor, ModelError> {
        match self {
            Self::Normed(rows) => head.tile_f32(rows, first, tokens),
            Self::Kept { logits, rows } => {
                let tile = logits.f_narrow(1, first, tokens)?.f_index_select(0, rows)?;
                Ok(tile.f_to_device(device)?.f_to_kind(Kind::Float)?)
            }
        }
    }
}

impl Head {
    /// `n` rows of the clean run, rows `[n, d_model]` of each changed run, labels `[n]` → one entry per changed run.
    pub(in crate::decoder) fn divergences(
        &self,
        clean: CleanRun<'_>,
        changed: &[Tensor],
        labels: &[i64],
    ) -> Result<Vec<Divergences>, ModelError> {
        let Some(first) = changed.first() else { return Ok(Vec::new()) };
        let (count, device) = (labels.len() as i64, first.device());
        self.check_labels(labels)?;
        for rows in changed {
            check_count("rows of a changed run", rows.size()[0] as usize, count)?;
        }
        self.check_clean(clean, count)?;
        // A GPU holds the logits of both runs and intermediate results.
        let most = if device == Device::Cpu { TILE_ROWS } else { GPU_BYTES as i64 / (16 * self.vocab_size()) };
        let most = most.max(1);
        let mut all = vec![Divergences::default(); changed.len()];
        for start in (0..count).step_by(most as usize) {
            let length = most.min(count - start);
            let piece = Piece { start, length, labels: &labels[start as usize..(start + length) as usize] };
            let norm = |rows: &Tensor| self.norm.forward(&rows.f_narrow(0, start, length)?);
            let changed: Vec<Tensor> = changed.iter().map(norm).collect::<Result<_, _>>()?;
            let clean_logits = match clean {
                CleanRun::Residual(rows) => CleanLogits::Normed(norm(rows)?),
                CleanRun::Logits { logits, rows } => {
                    let rows = Tensor::f_from_slice(piece.slice_of(rows, 1))?.f_to_device(logits.device())?;
                    CleanLogits::Kept { logits, rows }
                }
                CleanRun::Largest { ids, logits, logsumexp } => {
                    self.bounds(&changed, piece, (ids, logits, logsumexp), &mut all)?;
                    continue;
                }
            };
            if device == Device::Cpu {
                self.exact_on_cpu(&clean_logits, &changed, piece, &mut all)?;
            } else {
                self.exact_on_gpu(&clean_logits, &changed, piece, &mut all)?;
            }
        }
        Ok(all)
    }

    fn check_clean(&self, clean: CleanRun<'_>, count: i64) -> Result<(), ModelError> {
        match clean {
            CleanRun::Residual(rows) => check_count("rows of the clean run", rows.size()[0] as usize, count),
            CleanRun::Logits { logits, rows } => {
                let (shape, vocab_size) = (logits.size(), self.vocab_size());
                if shape.len() != 2 || shape[1] != vocab_size {
                    let problem = format!("logits: expected [rows, {vocab_size}], got {shape:?}");
                    return Err(ModelError::Input { problem });
                }
                check_count("rows of logits", rows.len(), count)
            }
            CleanRun::Largest { ids, logits, logsumexp } => {
                check_count("logsumexp", logsumexp.len(), count)?;
                let same = ids.len() == logits.len() && (count == 0 || ids.len() as i64 % count == 0);
                if same && ids.iter().all(|&id| i64::from(id) < self.vocab_size()) {
                    return Ok(());
                }
                let problem = format!(
                    "largest logits: expected as many for each of {count} rows, of tokens below {}, got {} of {} tokens",
                    self.vocab_size(),
                    logits.len(),
                    ids.len()
                );
                Err(ModelError::Input { problem })
            }
        }
    }

    /// Runs over tiles of the vocabulary. Each tile of the clean run is computed once for all changed runs.
    fn exact_on_cpu(
        &self,
        clean_logits: &CleanLogits<'_>,
        changed: &[Tensor],
        piece: Piece<'_>,
        all: &mut [Divergences],
    ) -> Result<(), ModelError> {
        let empty: Vec<Pair> = piece.labels.iter().map(|&label| Pair::new(label)).collect();
        let mut pairs = vec![empty; changed.len()];
        for (first, tokens) in self.tiles() {
            let clean = clean_logits.logits(self, first, tokens, Device::Cpu)?;
            let clean = tensor_slice::floats(&clean)?;
            for (rows, pairs) in changed.iter().zip(&mut pairs) {
                let tile = self.tile_f32(rows, first, tokens)?;
                let logits = tensor_slice::floats(&tile)?;
                pulp::Arch::new().dispatch(|| {
                    let rows = clean.chunks_exact(tokens as usize).zip(logits.chunks_exact(tokens as usize));
                    for (pair, (clean, changed)) in pairs.iter_mut().zip(rows) {
                        pair.add(first as usize, clean, changed);
                    }
                });
            }
        }
        for (pairs, into) in pairs.iter().zip(all) {
            into.loss.extend(pairs.iter().map(Pair::loss));
            into.kl.extend(pairs.iter().map(Pair::kl));
        }
        Ok(())
    }

    /// Computes the whole vocabulary at once with LibTorch's kernels, by the formula of [`Pair`].
    fn exact_on_gpu(
        &self,
        clean_logits: &CleanLogits<'_>,
        changed: &[Tensor],
        piece: Piece<'_>,
        all: &mut [Divergences],
    ) -> Result<(), ModelError> {
        let device = self.unembedding.device();
        let below = |logits: &Tensor| logits.f_sub(&logits.f_amax([-1i64].as_slice(), true)?);
        let sum = |values: &Tensor| values.f_sum_dim_intlist([-1i64].as_slice(), false, Kind::Double);
        let clean = below(&clean_logits.logits(self, 0, self.vocab_size(), device)?)?;
        let p = clean.f_exp()?;
        let normaliser = sum(&p)?;
        let ruled_out = p.f_eq(0.0)?;
        let labels = Tensor::f_from_slice(piece.labels)?.f_to_device(device)?;
        for (rows, into) in changed.iter().zip(all) {
            let logits = self.tile_f32(rows, 0, self.vocab_size())?;
            let loss = label_loss(&logits, &labels, &logits.f_logsumexp(-1, false)?)?;
            into.loss.extend(Vec::<f32>::try_from(loss)?);
            let changed = below(&logits)?;
            let changed_normaliser = sum(&changed.f_exp()?)?;
            let weighted = p.f_mul(&clean.f_sub(&changed)?)?.f_masked_fill(&ruled_out, 0.0)?;
            let ratio = changed_normaliser.f_div(&normaliser)?.f_log()?;
            into.kl.extend(Vec::<f64>::try_from(sum(&weighted)?.f_div(&normaliser)?.f_add(&ratio)?)?);
        }
        Ok(())
    }

    /// Lower bounds from the largest logits of the clean run and its logsumexp.
    fn bounds(
        &self,
        changed: &[Tensor],
        piece: Piece<'_>,
        (ids, largest, logsumexp): (&[u32], &[f32], &[f32]),
        all: &mut [Divergences],
    ) -> Result<(), ModelError> {
        let k = ids.len() / logsumexp.len();
        let (ids, largest, logsumexp) =
            (piece.slice_of(ids, k), piece.slice_of(largest, k), piece.slice_of(logsumexp, 1));
        let bound = |row: usize| {
            let own = row * k..(row + 1) * k;
            Bound::new(piece.labels[row], &ids[own.clone()], &largest[own], logsumexp[row])
        };
        let empty: Vec<Bound> = (0..piece.length as usize).map(bound).collect();
        for (rows, into) in changed.iter().zip(all) {
            let mut bounds = empty.clone();
            for (first, tokens) in self.tiles() {
                let tile = self.tile_f32(rows, first, tokens)?.f_to_device(Device::Cpu)?;
                let logits = tensor_slice::floats(&tile)?;
                pulp::Arch::new().dispatch(|| {
                    for (bound, logits) in bounds.iter_mut().zip(logits.chunks_exact(tokens as usize)) {
                        bound.add(first as usize, logits);
                    }
                });
            }
            into.loss.extend(bounds.iter().map(Bound::loss));
            into.kl.extend(bounds.iter().map(Bound::kl));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::decoder::Decoder;
    use crate::decoder::Portion;
    use crate::no_grad;
    use hayloft_checkpoint::Checkpoint;
    use hayloft_runtime::Dtype;

    const ROWS: i64 = 700; // more than one piece

    fn decoder() -> Decoder {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tiny-llama");
        let checkpoint = Checkpoint::open(&folder).unwrap();
        Decoder::load(&checkpoint, Portion::From(3), Dtype::F32, Device::Cpu).unwrap()
    }

    /// Rows of the clean run and of two changed runs.
    fn rows() -> (Tensor, [Tensor; 2]) {
        let wave = |step: i64| (Tensor::arange(ROWS * 32, (Kind::Float, Device::Cpu)) * step).sin().view([ROWS, 32]);
        let clean = wave(7);
        let changed = [&clean + 0.05 * wave(11), &clean - 0.5 * wave(13)];
        (clean, changed)
    }

    fn labels() -> Vec<i64> {
        (0..ROWS).map(|row| if row % 10 == 9 { -1 } else { row % 320 }).collect()
    }

    fn by_definition(head: &Head, clean: &Tensor, changed: &Tensor) -> Vec<f64> {
        let log = |rows: &Tensor| head.logits(rows).unwrap().to_kind(Kind::Double).log_softmax(-1, Kind::Double);
        let (p, q) = (log(clean), log(changed));
        (p.exp() * (&p - &q)).sum_dim_intlist([-1i64].as_slice(), false, Kind::Double).try_into().unwrap()
    }

    fn assert_near(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6 + 1e-5 * expected, "{got}, expected {expected}");
        }
    }

    #[test]
    fn both_kinds_of_device_and_both_sources_agree_with_the_definition() {
        let _guard = no_grad();
        let decoder = decoder();
        let head = decoder.head().unwrap();
        let (clean, changed) = rows();
        let labels = labels();
        let from_residual = head.divergences(CleanRun::Residual(&clean), &changed, &labels).unwrap();
        let logits = head.logits(&clean).unwrap();
        // Stored logits of twice as many rows, in another order.
        let kept = Tensor::cat(&[&logits, &logits.flip([0i64])], 0);
        let rows: Vec<i64> = (0..ROWS).map(|row| if row % 2 == 0 { row } else { 2 * ROWS - 1 - row }).collect();
        let from_logits = head.divergences(CleanRun::Logits { logits: &kept, rows: &rows }, &changed, &labels).unwrap();
        // The GPU code path, on the CPU.
        let piece = Piece { start: 0, length: ROWS, labels: &labels };
        let norm = |rows: &Tensor| head.norm.forward(rows).unwrap();
        let mut by_kernels = vec![Divergences::default(); 2];
        head.exact_on_gpu(&CleanLogits::Normed(norm(&clean)), &changed.each_ref().map(norm), piece, &mut by_kernels)
            .unwrap();
        for (place, changed) in changed.iter().enumerate() {
            let expected = by_definition(head, &clean, changed);
            let losses = head.losses(changed, &labels).unwrap();
            for got in [&from_residual[place], &from_logits[place]] {
                assert_near(&got.kl, &expected);
                assert!(got.loss.iter().zip(&losses).all(|(got, loss)| got.to_bits() == loss.to_bits()));
            }
            assert_near(&by_kernels[place].kl, &expected);
            let near = |(got, loss): (&f32, &f32)| got.is_nan() && loss.is_nan() || (got - loss).abs() < 1e-5;
            assert!(by_kernels[place].loss.iter().zip(&losses).all(near));
        }
    }

    #[test]
    fn bounds_come_from_what_is_kept_of_the_clean_run() {
        let _guard = no_grad();
        let decoder = decoder();
        let head = decoder.head().unwrap();
        let (clean, changed) = rows();
        let labels = labels();
        let exact = head.divergences(CleanRun::Residual(&clean), &changed, &labels).unwrap();
        let bounds = [10, 320].map(|k| {
            let kept = head.predictions(&clean, &labels, k).unwrap();
            let (ids, logits, logsumexp) = (&kept.top_ids, &kept.top_logits, &kept.logsumexp);
            head.divergences(CleanRun::Largest { ids, logits, logsumexp }, &changed, &labels).unwrap()
        });
        for (place, exact) in exact.iter().enumerate() {
            let [few, all] = [&bounds[0][place], &bounds[1][place]];
            assert!(few.kl.iter().zip(&exact.kl).all(|(bound, exact)| *bound < exact + 1e-5 && *bound > -1e-5));
            assert!(all.kl.iter().zip(&exact.kl).all(|(bound, exact)| (bound - exact).abs() < 1e-5));
            assert!(few.loss.iter().zip(&exact.loss).all(|(few, exact)| few.to_bits() == exact.to_bits()));
        }
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        let decoder = decoder();
        let head = decoder.head().unwrap();
        let (clean, changed) = rows();
        let labels = labels();
        let few = clean.narrow(0, 0, 3);
        let narrow = Tensor::zeros([ROWS, 5], (Kind::Float, Device::Cpu));
        let (ids, logits, logsumexp) = (vec![320; ROWS as usize], vec![0.0; ROWS as usize], vec![0.0; ROWS as usize]);
        let rows: Vec<i64> = (0..ROWS).collect();
        for (clean, words) in [
            (CleanRun::Residual(&few), "expected 700 as there are rows, got 3"),
            (CleanRun::Logits { logits: &narrow, rows: &rows }, "expected [rows, 320]"),
            (CleanRun::Logits { logits: &head.logits(&clean).unwrap(), rows: &rows[1..] }, "got 699"),
            (CleanRun::Largest { ids: &ids, logits: &logits, logsumexp: &logsumexp }, "below 320"),
            (CleanRun::Largest { ids: &ids, logits: &logits, logsumexp: &logsumexp[1..] }, "logsumexp: expected 700"),
        ] {
            let message = head.divergences(clean, &changed, &labels).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
        let message = head.divergences(CleanRun::Residual(&clean), &[few], &labels).unwrap_err().to_string();
        assert!(message.contains("changed run"), "{message}");
        assert!(head.divergences(CleanRun::Residual(&clean), &[], &labels).unwrap().is_empty());
    }
}
