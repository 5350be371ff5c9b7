//! The file format of parts.

use std::path::Path;

use hayloft_results::{BySubset, SubsetSums};
use proptest::collection::vec;
use proptest::prelude::*;

use super::made_up::{cut, whole};
use super::part;
use crate::parts::combine::{ReadPart, combine};
use crate::parts::error::PartialError;
use crate::parts::file::{from_bytes, to_bytes};
use crate::parts::measurement::Measurement;
use crate::parts::sealed::seal;
use crate::parts::{PartialResults, assemble, merge};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Reading arbitrary bytes, sealed or not, ends in an error or in a measurement that yields results.
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
                drop(assemble(combined).table(80));
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

/// Reads a file with an altered header, sealed again so that only the checks can detect it.
fn forged(from: &str, to: &str) -> String {
    forged_of(&whole(5, 2, 1, true), from, to)
}

fn forged_of(measurement: &Measurement, from: &str, to: &str) -> String {
    let bytes = to_bytes(measurement, part("0/1")).unwrap();
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

/// The error of reading a file of an altered measurement.
fn spoilt(spoil: &dyn Fn(&mut Measurement)) -> String {
    let mut whole = whole(5, 1, 1, true);
    spoil(&mut whole);
    let bytes = to_bytes(&whole, part("0/1")).unwrap();
    from_bytes(Path::new("spoilt"), &bytes).unwrap_err().to_string()
}

#[test]
fn subsets_that_no_run_sums_up_are_refused() {
    for spoil in [
        &(|own: &mut Measurement| own.protocol.by_subset = false) as &dyn Fn(&mut Measurement),
        &|own| own.sections[1].subsets = None,
        &|own| own.sections[0].subsets.as_mut().unwrap().clear(),
        &|own| own.sections[0].subsets.as_mut().unwrap().push(BySubset::default()),
    ] {
        let message = spoilt(spoil);
        assert!(message.contains("spoilt") && message.contains("subsets that do not go"), "{message}");
    }
    let mut whole = whole(5, 1, 1, true);
    let subsets = &mut whole.sections[0].subsets.as_mut().unwrap()[0];
    *subsets = BySubset::default();
    for name in ["law", "web"] {
        subsets.entry(Some(name)).sequences = 1;
    }
    for other in [r#"["zoo","#, r#"["web","#] {
        let message = forged_of(&whole, r#"["law","#, other);
        assert!(message.contains("forged") && message.contains("subsets that are out of order"), "{message}");
    }
}

#[test]
fn counts_that_could_not_be_added_up_are_refused() {
    fn subset(own: &mut Measurement) -> &mut SubsetSums {
        own.sections[0].subsets.as_mut().unwrap()[0].entry(Some("web"))
    }
    for spoil in [
        &(|own: &mut Measurement| own.sections[0].shards[0].latents = u64::MAX) as &dyn Fn(&mut Measurement),
        &|own| own.sections[0].latents.firings[0] = u64::MAX,
        &|own| own.sections[0].shards[0].norms.first_bin = i32::MAX,
        &|own| {
            let norms = &mut own.sections[0].shards[0].norms;
            (norms.first_bin, norms.counts) = (250, vec![1; 300]);
        },
        &|own| own.sections[0].shards[0].norms.counts = vec![u64::MAX],
        &|own| own.sections[0].shards[0].positions.sae_loss.add(64, 1.0),
        &|own| own.sections[0].sample.as_mut().unwrap().low.loss_tokens = u64::MAX,
        &|own| own.cache.tokens = u64::MAX,
        &|own| subset(own).sequences = u64::MAX,
        &|own| subset(own).sums.loss_tokens = u64::MAX,
        &|own| subset(own).sums.positions.sae_loss.add(64, 1.0),
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
        let own = PartialResults::new(part(text), cut(&whole, part(text), 0..1));
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
