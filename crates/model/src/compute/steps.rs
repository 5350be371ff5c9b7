//! Division of a batch of sequences into steps.

use std::ops::Range;

use tch::Device;

/// Padded rows of a step on a CPU: enough for full matrix-product speed, few enough for the activations of a block to stay
/// in cache between kernels.
const CPU_ROWS: usize = 1024;

/// Divides sequences of these lengths into steps of whole sequences, in order.
///
/// Steps depend only on lengths and on the kind of device, not on memory or the number of threads. On a GPU all sequences
/// form one step. On a CPU a step has at least one sequence; a step of several has at most 1024 rows, padding included.
pub fn steps(lengths: &[usize], device: Device) -> Vec<Range<usize>> {
    let most_rows = if device == Device::Cpu { CPU_ROWS } else { usize::MAX };
    let mut steps = Vec::new();
    let (mut first, mut longest) = (0, 0);
    for (sequence, &length) in lengths.iter().enumerate() {
        let padded = (sequence + 1 - first).saturating_mul(length.max(longest));
        if sequence > first && padded > most_rows {
            steps.push(first..sequence);
            (first, longest) = (sequence, 0);
        }
        longest = length.max(longest);
    }
    if first < lengths.len() {
        steps.push(first..lengths.len());
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_hold_whole_sequences_and_few_rows() {
        let lengths = [512, 512, 512, 300, 300, 300, 300, 2048, 1];
        let steps = steps(&lengths, Device::Cpu);
        assert_eq!(steps, [0..2, 2..4, 4..7, 7..8, 8..9]);
    }

    #[test]
    fn a_gpu_takes_all_at_once_and_nothing_is_no_step() {
        let whole = steps(&[2048; 64], Device::Cuda(0));
        assert_eq!((whole.len(), &whole[0]), (1, &(0..64)));
        assert!(steps(&[], Device::Cpu).is_empty());
    }
}
