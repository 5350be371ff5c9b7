//! What the commands that make caches say in the same words.

use std::path::Path;

use hayloft_store::maintain::{Files, Placed};

use super::numbers::{bytes, counted, grouped};

/// How files are to get into a cache.
pub(super) fn files(copy: bool) -> Files {
    if copy { Files::Copy } else { Files::LinkOrCopy }
}

/// How they got there.
pub(super) fn in_words(placed: &Placed) -> String {
    let of = |files: u64, size: u64| format!("{} ({})", counted(files, "file"), bytes(size));
    match (placed.linked_files, placed.copied_files) {
        (_, 0) => format!("{} linked", of(placed.linked_files, placed.linked_bytes)),
        (0, _) => format!("{} copied", of(placed.copied_files, placed.copied_bytes)),
        _ => format!(
            "{} linked, {} copied",
            of(placed.linked_files, placed.linked_bytes),
            of(placed.copied_files, placed.copied_bytes)
        ),
    }
}

/// A cache that has been added to, and how its files got there.
pub(super) fn cache_in_words(cache: &Path, shards: usize, planned: usize, tokens: u64, placed: &Placed) -> String {
    format!(
        "{}: {} of {} planned, {} tokens; {}",
        cache.display(),
        counted(shards as u64, "shard"),
        grouped(planned as u64),
        grouped(tokens),
        in_words(placed),
    )
}

/// Numbers of shards, those that follow one another as ranges: `0-3, 7`.
pub(super) fn shards_in_words(shards: &[usize]) -> String {
    let in_words = |run: &[usize]| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run.iter().map(usize::to_string).collect(),
    };
    shards.chunk_by(|one, next| one + 1 == *next).map(in_words).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_told_as_ranges() {
        assert_eq!(shards_in_words(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
        assert_eq!(shards_in_words(&[]), "");
    }

    #[test]
    fn links_and_copies_are_told_apart() {
        let both = Placed { linked_files: 1, linked_bytes: 2048, copied_files: 2, copied_bytes: 10 };
        assert_eq!(in_words(&both), "1 file (2.00 KiB) linked, 2 files (10 B) copied");
        assert_eq!(in_words(&Placed { copied_files: 0, ..both }), "1 file (2.00 KiB) linked");
    }
}
