//! What every codec says of itself and does.

use std::io;
use std::ops::RangeInclusive;

use hayloft_runtime::Dtype;

use crate::codec::encoded::{Buffers, Column, EncodedRowGroup, RowGroup};
use crate::codec::pages::Block;
use crate::error::Result;

/// A codec: its name, its columns, and how it encodes and decodes.
pub(crate) trait Scheme: Send + Sync {
    /// Its name in files and on the command line.
    fn name(&self) -> &'static str;

    /// The compression levels that `NAME:LEVEL` may ask for; none if it has none.
    fn levels(&self) -> Option<RangeInclusive<i32>> {
        None
    }

    /// The columns that store rows of `d_model` elements.
    fn columns(&self, dtype: Dtype, d_model: usize) -> Vec<Column>;

    /// The dtype of the decoded words, for words written as `dtype`.
    fn read_dtype(&self, dtype: Dtype) -> Dtype {
        dtype
    }

    /// Whether decoded words differ from those given. Then [`EncodedRowGroup::rounding`] is set.
    fn is_lossy(&self) -> bool {
        false
    }

    /// Whether its only column holds the words as they are, so that they can be read in the file.
    fn is_plain(&self) -> bool {
        false
    }

    /// Encodes a row group on all threads. The bytes must not depend on the number of threads.
    fn encode(&self, group: &RowGroup<'_>, buffers: &mut Buffers) -> io::Result<EncodedRowGroup>;

    /// Decodes a block into `words`, which has exactly its size in [`Self::read_dtype`]. Must compare the checksum of
    /// each column.
    fn decode(&self, block: &Block<'_>, words: &mut [u8]) -> Result<()>;
}
