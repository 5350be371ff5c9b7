//! Parts of made-up measurements: however they are cut, and in whatever order they come, the results have the same bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hayloft_model::{Fingerprint, Precision};
use hayloft_terminal::Part;
use proptest::collection::vec;
use proptest::prelude::*;

use super::combine::{ReadPart, combine};
use super::error::PartialError;
use super::file::{from_bytes, seal, to_bytes};
use super::measurement::{CacheIdentity, KlProtocol, Measurement, Protocol, SaeIdentity, SectionMeasurement};
use super::{assemble, merge};
use crate::baseline::CleanSource;
use crate::clean_check::CleanCheck;
use crate::compute_effect::Sample;
use crate::conventions::ResultConventions;
use crate::kl::{KlSums, KlWay};
use crate::measures::LatentCounts;
use crate::results::{DEFINITIONS, SaeProvenance};
use crate::scale::ScaleSource;
use crate::section_choice::SectionChoice;
use crate::stored_rounding::StoredRounding;
use crate::subsets::SubsetName;
use crate::sums::Sums;
use crate::tally::SequenceTally;
use crate::terms::RowTerms;
use crate::{Breakdown, SaeFileHash};

/// Draws that need no more than to be different and to have many bits.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 17
    }

    /// Below a number.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 0 to 1.
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

    fn tallies(&mut self, sequences: usize) -> Vec<SequenceTally> {
        let tally = |draws: &mut Self| {
            let mut sums = [0.0; 16].map(|_: f64| draws.share() as f32);
            (sums[0], sums[6]) = (draws.below(9) as f32, draws.below(9) as f32);
            SequenceTally::from(sums)
        };
        (0..sequences).map(|_| tally(self)).collect()
    }
}

fn provenance(name: &str, width: usize) -> SaeProvenance {
    SaeProvenance {
        folder: format!("saes/{name}"),
        format: None,
        architecture: "standard".to_owned(),
        width,
        normalize_activations: "none".to_owned(),
        site: Some("blocks.1.hook_resid_pre".to_owned()),
        model_name: None,
        files: vec![SaeFileHash { file: "w".to_owned(), bytes: 7, blake3: name.repeat(4) }],
    }
}

/// A measurement of a whole cache: so many shards, SAEs and sections, all of what may be measured.
fn whole(seed: u64, shards: usize, saes: usize, rich: bool) -> Measurement {
    let mut draws = Draws(seed);
    let sections = vec![SectionChoice::All, SectionChoice::Only(hayloft_store::Section::Rollout)];
    let sequences: Vec<usize> = (0..shards).map(|_| draws.below(4) as usize).collect();
    let subset = |draws: &mut Draws| match draws.below(3) {
        0 => None,
        1 => Some("web".into()),
        _ => Some(format!("subset \u{e9} {}", draws.below(3)).into()),
    };
    let subsets: Vec<Vec<SubsetName>> =
        sequences.iter().map(|&count| (0..count).map(|_| subset(&mut draws)).collect()).collect();
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
            outlier_norm: rich.then_some(10.1),
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
                sample: rich.then(|| Sample {
                    precision: Precision::Bf16,
                    low: draws.sums(5, true),
                    exact: draws.sums(5, false),
                }),
            });
        }
    }
    let precision = Precision::Bf16;
    Measurement {
        cache: CacheIdentity {
            manifest_blake3: "ab".repeat(32),
            corpus: "made up".to_owned(),
            model: Fingerprint { model_type: "llama".to_owned(), config_blake3: "cd".repeat(32), weights: Vec::new() },
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
                way: KlWay::Bound { top_k: 8 },
                clean_precision: Precision::F32,
                spliced_precision: precision,
            }),
            bootstrap: rich.then_some(100),
            by_subset: rich,
            definitions: DEFINITIONS.to_owned(),
        },
        shards: (0..shards).map(|shard| 3 * shard + 1).collect(),
        clean_check: Some(CleanCheck { tokens: 256, max_difference: 0.1 + 0.2, tolerance: 1e-3 }),
        stored_rounding: Some(StoredRounding {
            codec: hayloft_store::Codec::Int8,
            relative_error: 1.0 / 3.0,
            ce_effect: Some(-0.1),
            loss_tokens: 9,
        }),
        subsets: rich.then_some(subsets),
        saes: identities,
        sections: measured,
    }
}

/// What a part of it would have been, with some of its SAEs.
fn cut(whole: &Measurement, part: Part, saes: std::ops::Range<usize>) -> Measurement {
    let places = part.range(whole.shards.len());
    let first = places.start == 0 && !places.is_empty();
    // One of each for every shard but the first part's, so that every part adds to the sums.
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
        subsets: whole.subsets.as_ref().map(|shards| shards[places.clone()].to_vec()),
        saes: whole.saes[saes.clone()].to_vec(),
        sections: sections.collect(),
    }
}

fn part(text: &str) -> Part {
    text.parse().unwrap()
}

/// A part through the bytes of its file.
fn read_part(whole: &Measurement, text: &str, saes: std::ops::Range<usize>) -> ReadPart {
    let part = part(text);
    let path = PathBuf::from(format!("group-{}/part-{}-of-{}.safetensors", saes.start, part.index(), part.of()));
    let bytes = to_bytes(&cut(whole, part, saes), part).unwrap();
    let (read, measurement) = from_bytes(&path, &bytes).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read, part);
    ReadPart { path, part, measurement }
}

fn parts(whole: &Measurement, of: usize, saes: std::ops::Range<usize>) -> Vec<ReadPart> {
    (0..of).map(|index| read_part(whole, &format!("{index}/{of}"), saes.clone())).collect()
}

/// Everything that is written and printed of a measurement, by name.
fn shown(measurement: Measurement) -> BTreeMap<String, Vec<u8>> {
    let results = assemble(measurement);
    let folder = tempfile::tempdir().unwrap();
    results.write(folder.path()).unwrap();
    let mut shown: BTreeMap<String, Vec<u8>> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    let printed = [
        results.json().unwrap(),
        results.table(),
        results.details(),
        results.breakdown(Breakdown::Subset),
        results.breakdown(Breakdown::Position),
        format!("{:?}", results.clean_check),
    ];
    shown.insert("printed".to_owned(), printed.join("\n").into_bytes());
    shown
}

fn assert_same(measurement: &Measurement, parts: &[ReadPart]) {
    let (expected, got) =
        (shown(measurement.clone()), shown(combine(parts.to_vec()).unwrap_or_else(|error| panic!("{error}"))));
    assert_eq!(expected.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    for (name, expected) in expected {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(expected == got[&name], "{name}\n{}\n{}", text(&expected), text(&got[&name]));
    }
}

/// An order of so many things.
fn shuffled<T: Clone>(things: &[T], draws: &mut Draws) -> Vec<T> {
    let mut rest = things.to_vec();
    let mut order = Vec::new();
    while !rest.is_empty() {
        order.push(rest.remove(draws.below(rest.len() as u64) as usize));
    }
    order
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Sums that no two orders of adding would give the same bits of, cut anyhow, in any order.
    #[test]
    fn any_split_in_any_order_gives_the_same_bytes(
        seed in any::<u64>(), shards in 1usize..9, saes in 1usize..4, of in 1usize..12, rich in any::<bool>(),
    ) {
        let whole = whole(seed, shards, saes, rich);
        let mut draws = Draws(!seed);
        assert_same(&whole, &shuffled(&parts(&whole, of, 0..saes), &mut draws));
    }

    /// Each group of SAEs is cut by itself; the order of SAEs is that in which groups are named first.
    #[test]
    fn groups_of_saes_come_in_the_order_of_their_naming(
        seed in any::<u64>(), shards in 1usize..6, split in 1usize..3, counts in (1usize..5, 1usize..5), rich in any::<bool>(),
    ) {
        let whole = whole(seed, shards, 3, rich);
        let mut draws = Draws(!seed);
        let mut given = shuffled(&parts(&whole, counts.0, 0..split), &mut draws);
        let mut more = parts(&whole, counts.1, split..3);
        more = shuffled(&more, &mut draws);
        given.insert(1, more.remove(0));
        given.extend(more);
        assert_same(&whole, &given);
    }

    /// Whatever bytes they are, sealed or not, reading them ends in an error or in a measurement that has results.
    #[test]
    fn no_bytes_are_too_strange(
        seed in any::<u64>(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut_at in any::<prop::sample::Index>(),
    ) {
        let whole = whole(seed, 2, 1, true);
        let mut bytes = to_bytes(&whole, part("0/1")).unwrap();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        seal(&mut bytes);
        if let Ok((part, measurement)) = from_bytes(Path::new("part"), &bytes) {
            let read = ReadPart { path: "part".into(), part, measurement };
            if let Ok(combined) = combine(vec![read]) {
                drop(assemble(combined).table());
            }
        }
        bytes.truncate(cut_at.index(bytes.len()));
        seal(&mut bytes);
        prop_assert!(from_bytes(Path::new("part"), &bytes).is_err());
    }
}

#[test]
fn no_flipped_bit_goes_unseen() {
    let whole = whole(7, 1, 1, true);
    let bytes = to_bytes(&whole, part("0/1")).unwrap();
    assert_eq!(from_bytes(Path::new("part"), &bytes).unwrap().1, whole);
    let mut flipped = bytes.clone();
    for position in 0..bytes.len() {
        for bit in 0..8 {
            flipped[position] ^= 1 << bit;
            let read = from_bytes(Path::new("part"), &flipped);
            assert!(matches!(read, Err(PartialError::Damaged { .. })), "bit {bit} at {position}");
            flipped[position] ^= 1 << bit;
        }
    }
    for length in 0..bytes.len() {
        assert!(from_bytes(Path::new("part"), &bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn what_is_undefined_or_negative_zero_stays_so() {
    let mut whole = whole(3, 2, 1, true);
    let sums = &mut whole.sections[0].shards[0];
    (sums.clean_loss, sums.squared_error, sums.product) = (f64::NAN, f64::INFINITY, -0.0);
    sums.positions.sae_loss.add(3, f64::NEG_INFINITY);
    let tallies = whole.sections[0].sequences.as_mut().unwrap();
    tallies[0].push(SequenceTally::from([f32::NAN; 16]));
    tallies[1].push(SequenceTally::from([f32::INFINITY; 16]));
    let more = |shards: &mut Vec<Vec<SequenceTally>>| {
        for shard in shards {
            shard.push(SequenceTally::default());
        }
    };
    more(whole.sections[1].sequences.as_mut().unwrap());
    for shard in whole.subsets.as_mut().unwrap() {
        shard.push(None);
    }
    whole.settle();
    let parts = parts(&whole, 2, 0..1);
    assert!(parts[0].measurement.sections[0].shards[0].product.is_sign_negative());
    assert_same(&whole, &parts);
}

/// Merging parts that were spoilt must fail; what it says.
fn refusal(parts: &[ReadPart]) -> String {
    combine(parts.to_vec()).unwrap_err().to_string()
}

#[test]
fn missing_and_double_shards_are_named() {
    let whole = whole(1, 6, 2, false);
    let message = refusal(&[read_part(&whole, "0/3", 0..2), read_part(&whole, "2/3", 0..2)]);
    // Shards are numbered 1, 4, 7, 10, …
    assert!(
        message.contains("sae-0") && message.contains("all 6 shards") && message.contains("shards 7, 10"),
        "{message}"
    );
    assert!(message.contains("--part 1/3"), "{message}");
    let message =
        refusal(&[read_part(&whole, "0/2", 0..2), read_part(&whole, "1/3", 0..2), read_part(&whole, "2/3", 0..2)]);
    assert!(
        message.contains("part-0-of-2") && message.contains("part-1-of-3") && message.contains("shards 7,"),
        "{message}"
    );
    // A group of SAEs without one of its parts.
    let mut given = parts(&whole, 2, 0..1);
    given.extend(parts(&whole, 3, 1..2).into_iter().skip(1));
    let message = refusal(&given);
    assert!(
        message.contains("sae-1") && message.contains("shards 1, 4") && message.contains("--part 0/3"),
        "{message}"
    );
}

#[test]
fn what_differs_is_named_with_both_files() {
    let whole = whole(1, 4, 1, true);
    let spoilt = |spoil: &dyn Fn(&mut Measurement)| {
        let mut given = parts(&whole, 2, 0..1);
        spoil(&mut given[1].measurement);
        refusal(&given)
    };
    for (spoil, words) in [
        (
            &(|own: &mut Measurement| own.cache.manifest_blake3 = "ef".repeat(32)) as &dyn Fn(&mut Measurement),
            "manifest_blake3",
        ),
        (&|own| own.protocol.outlier_norm = Some("11".to_owned()), "outlier_norm 10.1"),
        (&|own| own.protocol.bootstrap = Some(2000), "bootstrap 100"),
        (
            &|own| own.protocol.conventions.weights = crate::ModelWeights::CentredWriting,
            "conventions.weights as_stored",
        ),
        (&|own| own.saes[0].scale *= 2.0, "scale is"),
        (&|own| own.saes[0].provenance.files[0].blake3 = "00".to_owned(), "provenance.files"),
    ] {
        let message = spoilt(spoil);
        assert!(message.contains("group-0/part-0-of-2") && message.contains("group-0/part-1-of-2"), "{message}");
        assert!(message.contains(words) && message.contains("got"), "{words}: {message}");
    }
    // Where an SAE lies may differ from machine to machine; that of the lowest shard is told.
    let mut given = parts(&whole, 2, 0..1);
    given[1].measurement.saes[0].provenance.folder = "/elsewhere".to_owned();
    given.reverse();
    assert_same(&whole, &given);
}

#[test]
fn groups_that_do_not_belong_together_are_refused() {
    let whole = whole(1, 2, 2, true);
    let mut given = parts(&whole, 1, 0..1);
    given.extend(parts(&whole, 2, 1..2));
    given[2].measurement.subsets.as_mut().unwrap()[0].push(None);
    for own in &mut given[2].measurement.sections {
        own.sequences.as_mut().unwrap()[0].push(SequenceTally::default());
    }
    let message = refusal(&given);
    assert!(message.contains("list of sequences in shard 4"), "{message}");
    // SAEs that were in place together are one group.
    let mut given = parts(&whole, 1, 0..1);
    given.extend(parts(&whole, 1, 1..2));
    for own in &mut given {
        own.measurement.protocol.splice_together = true;
    }
    assert!(refusal(&given).contains("in place at once"), "{}", refusal(&given));
}

/// A file whose header says something else than a run would; it is sealed, so that only the checks see it.
fn forged(from: &str, to: &str) -> String {
    let bytes = to_bytes(&whole(5, 2, 1, true), part("0/1")).unwrap();
    assert_eq!(from.len(), to.len());
    let text = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let place = text.unwrap_or_else(|| panic!("no {from}"));
    let mut forged = bytes;
    forged[place..place + to.len()].copy_from_slice(to.as_bytes());
    seal(&mut forged);
    from_bytes(Path::new("forged"), &forged).unwrap_err().to_string()
}

#[test]
fn forged_headers_are_refused() {
    for (from, to, words) in [
        ("hayloft_partial_result\":\"1", "hayloft_partial_result\":\"2", "format 1, got 2"),
        (env!("CARGO_PKG_VERSION"), "9.9.9", "hayloft 9.9.9"),
        (r#""name":"sae-0""#, r#""name":"../ae""#, "called"),
        (r#""of":1"#, r#""of":2"#, "other shards"),
        (r#""shards":[1,4]"#, r#""shards":[4,1]"#, "out of order"),
        (r#""bootstrap":100"#, r#""bootstrap":999"#, ""),
        (r#""width":3"#, r#""width":4"#, "firings.0"),
        (r#""by_subset":true,"#, r#""by_subset":null,"#, "invalid type"),
        (r#""section":"rollout""#, r#""section":"control""#, "SAEs and sections"),
    ] {
        if words.is_empty() {
            continue;
        }
        let message = forged(from, to);
        assert!(message.contains("forged") && message.contains(words), "{words}: {message}");
    }
}

#[test]
fn counts_that_could_not_be_added_up_are_refused() {
    let spoilt = |spoil: &dyn Fn(&mut Measurement)| {
        let mut whole = whole(5, 1, 1, true);
        spoil(&mut whole);
        let bytes = to_bytes(&whole, part("0/1")).unwrap();
        from_bytes(Path::new("spoilt"), &bytes).unwrap_err().to_string()
    };
    for spoil in [
        &(|own: &mut Measurement| own.sections[0].shards[0].latents = u64::MAX) as &dyn Fn(&mut Measurement),
        &|own| own.sections[0].latents.firings[0] = u64::MAX,
        &|own| own.sections[0].shards[0].norms.first_bin = i32::MAX,
        &|own| own.sections[0].shards[0].norms.first_bin = 250,
        &|own| own.sections[0].shards[0].norms.counts = vec![u64::MAX],
        &|own| own.sections[0].shards[0].positions.sae_loss.add(64, 1.0),
        &|own| own.sections[0].sample.as_mut().unwrap().low.loss_tokens = u64::MAX,
        &|own| own.cache.tokens = u64::MAX,
    ] {
        let message = spoilt(spoil);
        assert!(
            message.contains("spoilt") && (message.contains("a count of") || message.contains("bins")),
            "{message}"
        );
    }
}

#[test]
fn folders_and_files_are_read_once_and_empty_folders_refused() {
    let whole = whole(9, 3, 1, true);
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for text in ["0/2", "1/2"] {
        let own = super::PartialResults::new(part(text), cut(&whole, part(text), 0..1));
        paths.push(own.write(folder.path()).unwrap());
    }
    std::fs::write(folder.path().join("results.json"), "no part").unwrap();
    let folder = folder.path().to_path_buf();
    let all = merge(&[folder.clone(), paths[0].clone(), folder.join(".").join("part-1-of-2.safetensors")]).unwrap();
    assert_eq!(all.json().unwrap(), assemble(whole).json().unwrap());
    let empty = folder.join("empty");
    std::fs::create_dir(&empty).unwrap();
    for (path, words) in [
        (empty, "part-I-of-N"),
        (folder.join("none"), "cannot read"),
        (folder.join("results.json"), "results.json: expected a whole"),
    ] {
        let message = merge(&[path]).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}
