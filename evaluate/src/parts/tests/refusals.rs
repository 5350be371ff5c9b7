//! Parts that do not belong together.

use hayloft_results::{ModelWeights, SequenceSums};

use super::made_up::whole;
use super::{assert_same, parts, read_part};
use crate::parts::combine::{ReadPart, combine};
use crate::parts::measurement::Measurement;

/// The error of merging parts, which must fail.
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
    // A group of SAEs that lacks one of its parts.
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
        (&|own| own.protocol.conventions.weights = ModelWeights::CentredWriting, "conventions.weights as_stored"),
        (&|own| own.saes[0].scale *= 2.0, "scale is"),
        (&|own| own.saes[0].provenance.files[0].blake3 = "00".to_owned(), "provenance.files"),
    ] {
        let message = spoilt(spoil);
        assert!(message.contains("group-0/part-0-of-2") && message.contains("group-0/part-1-of-2"), "{message}");
        assert!(message.contains(words) && message.contains("got"), "{words}: {message}");
    }
    // An SAE's folder may differ between machines; the one recorded with the lowest shard is reported.
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
    for own in &mut given[2].measurement.sections {
        own.sequences.as_mut().unwrap()[0].push(SequenceSums::default());
    }
    let message = refusal(&given);
    assert!(message.contains("list of sequences in shard 4"), "{message}");
    // SAEs that were spliced together form one group.
    let mut given = parts(&whole, 1, 0..1);
    given.extend(parts(&whole, 1, 1..2));
    for own in &mut given {
        own.measurement.protocol.splice_together = true;
    }
    assert!(refusal(&given).contains("in place at once"), "{}", refusal(&given));
}
