//! Synthetic measurements that fill every field with numbers of many significant bits.

use hayloft_results::{
    BySubset, CleanCheck, CleanSource, ComputeSample, DEFINITIONS, KlMethod, KlSums, LatentCounts, ModelProvenance,
    ResultConventions, RowTerms, SaeProvenance, SequenceSums, StoredRounding, SubsetSums, Sums,
};
use hayloft_rows::{OutlierNorm, RowChoice, ScaleSource, SectionChoice};
use hayloft_runtime::{Dtype, FileHash, Part};

use crate::parts::{CacheIdentity, KlProtocol, Measurement, Protocol, SaeIdentity, SectionMeasurement};

/// A small random number generator: values need only differ and have many significant bits.
pub(super) struct Draws(pub(super) u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 17
    }

    /// An integer below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number from 0 to 1.
    fn share(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 47) as f64
    }

    fn sums(&mut self, rows: u64, with_kl: bool) -> Sums {
        let mut sums = Sums::default();
        for position in 0..rows as usize {
            let terms = RowTerms {
                latents: self.below(40) as i64,
                l1: self.share() as f32,
                squared_error: self.share() as f32,
                squared_deviation: (0.1 + self.share()) as f32,
                target_square: self.share() as f32,
                reconstruction_square: self.share() as f32,
                product: self.share() as f32,
            };
            sums.add_activation(&terms);
            sums.positions.add_activation(position, &terms);
            sums.add_sae_losses(&[position], &[self.share() as f32]);
            sums.positions.clean_loss.add(position.min(20), self.share());
            sums.positions.zero_loss.add(position.min(20), 3.0 + self.share());
            sums.norms.add(1e3 * self.share());
        }
        sums.clean_loss = rows as f64 * self.share();
        sums.zero_loss = rows as f64 * (3.0 + self.share());
        sums.outlier_rows = self.below(5);
        if with_kl {
            sums.kl = Some(KlSums { tokens: rows, kl: self.share(), kl_ablated: 2.0 * self.share() });
        }
        sums
    }

    /// Sums of a few subsets, which need not occur in every shard.
    fn subsets(&mut self) -> BySubset<SubsetSums> {
        let mut subsets = BySubset::default();
        for _ in 0..self.below(5) {
            let (number, rows) = (self.below(4), self.below(9));
            let name = (number > 0).then(|| format!("subset \u{e9} {number}"));
            *subsets.entry(name.as_deref()) = SubsetSums { sequences: rows, sums: self.sums(rows, false) };
        }
        subsets
    }

    fn tallies(&mut self, sequences: usize) -> Vec<SequenceSums> {
        let tally = |draws: &mut Self| {
            let mut sums = [0.0; 16].map(|_: f64| draws.share() as f32);
            (sums[0], sums[6]) = (draws.below(9) as f32, draws.below(9) as f32);
            SequenceSums::from(sums)
        };
        (0..sequences).map(|_| tally(self)).collect()
    }
}

fn provenance(name: &str, width: usize) -> SaeProvenance {
    SaeProvenance {
        folder: format!("saes/{name}"),
        format: "saelens".to_owned(),
        architecture: "standard".to_owned(),
        width,
        normalize_activations: "none".to_owned(),
        site: Some("blocks.1.hook_resid_pre".to_owned()),
        model_name: None,
        files: vec![FileHash { file: "w".to_owned(), bytes: 7, blake3: name.repeat(4) }],
        training: None,
    }
}

/// A measurement of a whole cache with this many shards and SAEs, with every field set.
pub(super) fn whole(seed: u64, shards: usize, saes: usize, rich: bool) -> Measurement {
    let mut draws = Draws(seed);
    let sections = vec![SectionChoice::All, SectionChoice::Only(hayloft_store::Section::Rollout)];
    let sequences: Vec<usize> = (0..shards).map(|_| draws.below(4) as usize).collect();
    let mut identities = Vec::new();
    let mut measured = Vec::new();
    for sae in 0..saes {
        let width = 3 + sae;
        let name = format!("sae-{sae}");
        identities.push(SaeIdentity {
            provenance: provenance(&name, width),
            site: "blocks.1.hook_resid_pre".to_owned(),
            scale: 0.1 + draws.share(),
            scale_source: ScaleSource::Cache,
            scale_rows: rich.then(RowChoice::default),
            outliers: OutlierNorm::Scaled(10.1).resolve(0.3, None).filter(|_| rich),
            spliced_with: Vec::new(),
            name,
        });
        for &section in &sections {
            measured.push(SectionMeasurement {
                sae,
                section,
                shards: (0..shards)
                    .map(|_| {
                        let rows = draws.below(30);
                        draws.sums(rows, rich)
                    })
                    .collect(),
                latents: LatentCounts {
                    rows: 1 << 40,
                    firings: (0..width).map(|_| 16 + draws.below(1 << 40)).collect(),
                },
                sequences: rich.then(|| sequences.iter().map(|&count| draws.tallies(count)).collect()),
                subsets: rich.then(|| (0..shards).map(|_| draws.subsets()).collect()),
                sample: rich.then(|| ComputeSample {
                    precision: Dtype::Bf16,
                    low: draws.sums(5, true),
                    exact: draws.sums(5, false),
                }),
            });
        }
    }
    let precision = Dtype::Bf16;
    Measurement {
        cache: CacheIdentity {
            manifest_blake3: "ab".repeat(32),
            corpus: "made up".to_owned(),
            model: ModelProvenance { model_type: "llama".to_owned(), identity_sha256: None },
            tokens: 1 << 20,
            shards: (0..shards).map(|shard| 3 * shard + 1).collect(),
        },
        protocol: Protocol {
            splice_together: false,
            site: Some("blocks.1.hook_resid_pre".to_owned()),
            sections,
            outlier_norm: rich.then(|| "10.1".to_owned()),
            scale: "auto".to_owned(),
            conventions: ResultConventions::default(),
            precision,
            compute: rich.then_some(precision),
            clean_loss_source: Some(CleanSource::Cache),
            kl: rich.then_some(KlProtocol {
                method: KlMethod::Bound { top_k: 8 },
                clean_precision: Dtype::F32,
                spliced_precision: precision,
            }),
            bootstrap: rich.then_some(100),
            by_subset: rich,
            definitions: DEFINITIONS.to_owned(),
        },
        shards: (0..shards).map(|shard| 3 * shard + 1).collect(),
        clean_check: Some(CleanCheck { tokens: 256, max_difference: 0.1 + 0.2, tolerance: 1e-3 }),
        stored_rounding: Some(StoredRounding {
            codec: hayloft_store::Codec::INT8,
            relative_error: 1.0 / 3.0,
            ce_effect: Some(-0.1),
            loss_tokens: 9,
        }),
        saes: identities,
        sections: measured,
    }
}

/// The measurement that a part with some of the SAEs would have made.
pub(super) fn cut(whole: &Measurement, part: Part, saes: std::ops::Range<usize>) -> Measurement {
    let places = part.range(whole.shards.len());
    let first = places.start == 0 && !places.is_empty();
    // One of each for every shard outside the first part, so that every part adds to the sums.
    let others = (whole.shards.len() - places.len()) as u64;
    let of_part = |total: u64| if first { total - others } else { places.len() as u64 };
    let sections = whole.sections.iter().filter(|own| saes.contains(&own.sae)).map(|own| SectionMeasurement {
        sae: own.sae - saes.start,
        section: own.section,
        shards: own.shards[places.clone()].to_vec(),
        latents: LatentCounts {
            rows: of_part(own.latents.rows),
            firings: own.latents.firings.iter().map(|&total| of_part(total)).collect(),
        },
        sequences: own.sequences.as_ref().map(|shards| shards[places.clone()].to_vec()),
        subsets: own.subsets.as_ref().map(|shards| shards[places.clone()].to_vec()),
        sample: own.sample.clone().filter(|_| first),
    });
    Measurement {
        cache: whole.cache.clone(),
        protocol: whole.protocol.clone(),
        shards: whole.shards[places.clone()].to_vec(),
        clean_check: whole
            .clean_check
            .map(|check| CleanCheck { max_difference: if first { check.max_difference } else { 0.0 }, ..check }),
        stored_rounding: whole.stored_rounding.filter(|_| first),
        saes: whole.saes[saes.clone()].to_vec(),
        sections: sections.collect(),
    }
}
