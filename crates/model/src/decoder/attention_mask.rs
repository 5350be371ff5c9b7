//! What the queries of a batch may see: the keys of the batch, or those of a cache.

use std::collections::HashMap;

use hayloft_checkpoint::DecoderSpec;
use tch::{Device, Kind, Tensor};

use super::cache::{BlockCache, KeyValueCache};
use crate::error::ModelError;
use crate::residual::Positions;

/// The keys that a block's queries attend to.
pub(super) enum AttendedKeys<'forward> {
    /// Those of the batch, whose sequences all start at position 0.
    Batch,
    /// Those of the batch, which are added to a cache.
    Cached(&'forward mut BlockCache, &'forward Extension),
}

/// How a batch is added to a cache; the same at every block.
#[derive(Debug)]
pub(super) struct Extension {
    /// `[batch * pos]` i64: the columns of the new keys, as flat indices over all rows.
    pub(super) places: Tensor,
    /// Masks of the keys already cached. `None` if the cache was empty and the batch starts every sequence; the computation
    /// is then exactly the uncached one.
    pub(super) earlier: Option<Earlier>,
}

/// The masks of a cache.
#[derive(Debug)]
pub(super) struct Earlier {
    /// Columns of the cache in use, the maximum over rows.
    pub(super) columns: i64,
    /// For each window among the model's blocks, `[batch, 1, group * pos, columns]` in the activations' type: 0 where a
    /// query may see a key, minus infinity elsewhere. The queries of the `group` heads that share a key head are rows of one
    /// matrix, so that keys are never repeated.
    masks: HashMap<Option<usize>, Tensor>,
}

impl Extension {
    /// Adds `length` columns to each row of a cache.
    pub(super) fn new(
        spec: &DecoderSpec,
        cache: &KeyValueCache,
        length: usize,
        options: (Kind, Device),
    ) -> Result<Self, ModelError> {
        let starts = cache.lengths();
        let rows = 0..starts.len();
        let place = |row: usize| (0..length).map(move |column| (row * cache.capacity() + starts[row] + column) as i64);
        let places: Vec<i64> = rows.flat_map(place).collect();
        let places = Tensor::f_from_slice(&places)?.f_to_device(options.1)?;
        let longest = starts.iter().copied().max().unwrap_or(0);
        let earlier = if longest == 0 { None } else { Some(Earlier::new(spec, starts, length, options)?) };
        Ok(Self { places, earlier })
    }
}

impl Earlier {
    fn new(
        spec: &DecoderSpec,
        starts: &[usize],
        length: usize,
        (kind, device): (Kind, Device),
    ) -> Result<Self, ModelError> {
        let columns = (starts.iter().copied().max().unwrap_or(0) + length) as i64;
        let queries = Positions::from_each(starts, length).as_tensor(Kind::Int64, device)?;
        // [batch, pos, columns]: how many positions a key precedes a query by.
        let distance = queries.f_unsqueeze(-1)?.f_sub(&Tensor::f_arange(columns, (Kind::Int64, device))?)?;
        let group = (spec.attention.n_heads / spec.attention.n_kv_heads) as i64;
        let (batch, length) = (starts.len() as i64, length as i64);
        let mut masks = HashMap::new();
        for window in &spec.windows {
            if masks.contains_key(window) {
                continue;
            }
            let mut hidden = distance.f_lt(0)?;
            if let Some(window) = *window {
                hidden = hidden.f_logical_or(&distance.f_ge(window as i64)?)?;
            }
            let mask = Tensor::f_zeros([batch, length, columns], (kind, device))?;
            let mask = mask.f_masked_fill(&hidden, f64::NEG_INFINITY)?.f_unsqueeze(1)?;
            let mask = mask.f_expand([batch, group, length, columns], false)?;
            masks.insert(*window, mask.f_reshape([batch, 1, group * length, columns])?);
        }
        Ok(Self { columns, masks })
    }

    /// The mask of a block with this window.
    pub(super) fn mask(&self, window: Option<usize>) -> Option<&Tensor> {
        self.masks.get(&window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_sees_what_lies_before_it_and_within_the_window() {
        let spec = hayloft_checkpoint::Checkpoint::read_spec(std::path::Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/decoder/llama2"
        )))
        .unwrap();
        let spec = DecoderSpec { windows: vec![None, Some(2), None], ..spec };
        let earlier = Earlier::new(&spec, &[3, 1], 1, (Kind::Float, Device::Cpu)).unwrap();
        let seen = |window: Option<usize>, row: i64| {
            let mask = earlier.mask(window).unwrap();
            assert_eq!(mask.size(), [2, 1, 2, 4]);
            let seen = mask.get(row).get(0).get(1).eq(0);
            Vec::<bool>::try_from(seen).unwrap()
        };
        assert_eq!(seen(None, 0), [true, true, true, true]);
        assert_eq!(seen(None, 1), [true, true, false, false]);
        assert_eq!(seen(Some(2), 0), [false, false, true, true]);
        assert_eq!(seen(Some(2), 1), [true, true, false, false]);
    }
}
