//! Further metrics of latents and reconstructions, beyond the study's columns.

use super::table::{Column, count, figure};
use crate::histograms::LatentSummary;
use crate::results::Results;

/// The columns.
pub(super) const DETAILS: [Column; 7] = [
    ("Cosine", |result| figure(result.columns.cosine_similarity)),
    ("L2 ratio", |result| figure(result.columns.l2_ratio)),
    ("Rel. bias", |result| figure(result.columns.relative_reconstruction_bias)),
    ("L1", |result| figure(result.columns.l1)),
    ("Dead", |result| count(result.latents.dead)),
    ("Dense", |result| count(result.latents.dense)),
    ("Density 1e-8…1", |result| densities(&result.latents)),
];

/// Glyphs of a bar, from empty to full.
const HEIGHTS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Bins per bar: half a decade.
const BINS_PER_BAR: usize = 2;

impl Results {
    /// Renders a table that complements [`Results::table`]: cosine similarity, norm ratio, relative bias, L1, counts of
    /// dead and dense latents, and a histogram of firing densities.
    pub fn details(&self) -> String {
        self.render(&DETAILS)
    }
}

/// A bar for each half decade of firing density; its height is the number of latents.
fn densities(latents: &LatentSummary) -> String {
    let bars: Vec<u64> = latents.log10_density.chunks(BINS_PER_BAR).map(|bins| bins.iter().sum()).collect();
    let largest = bars.iter().copied().max().unwrap_or(0).max(1);
    // Rounded up, so that a single latent is visible.
    let height = |count: u64| (count * (HEIGHTS.len() as u64 - 1)).div_ceil(largest) as usize;
    bars.into_iter().map(|count| HEIGHTS[height(count)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_latent_is_seen_beside_many() {
        let mut log10_density = vec![0; 32];
        log10_density[31] = 1000;
        log10_density[30] = 1000;
        log10_density[29] = 1000;
        log10_density[0] = 1;
        let latents = LatentSummary { dead: Some(0), dense: Some(0), log10_density };
        assert_eq!(densities(&latents), "▁·············▄█");
        assert_eq!(densities(&LatentSummary { dead: None, dense: None, log10_density: vec![0; 32] }), "·".repeat(16));
    }
}
