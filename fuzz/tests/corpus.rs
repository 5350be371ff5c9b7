//! Every input of the corpus again: seeds read whole, crashes stay fixed.

use hayloft_fuzz::{TARGETS, corpus, guarded};

/// Files that real writers made are named after their format; those that broke a reader, after what they broke.
fn is_crash(name: &str) -> bool {
    name.starts_with("crash-")
}

/// One test for all: the memory that an input may take is counted over the whole process.
#[test]
fn every_seed_reads_whole_and_nothing_crashes() {
    let corpus = corpus().unwrap();
    for target in TARGETS {
        let seeds = corpus.iter().filter(|file| file.target.name == target.name);
        let seeds = seeds.filter(|file| !is_crash(file.path.file_name().unwrap().to_str().unwrap()));
        assert!(seeds.count() > 0, "{} has no seed", target.name);
    }
    for file in corpus {
        let path = file.path.display();
        let name = file.path.file_name().unwrap().to_str().unwrap();
        eprintln!("{path}");
        // Once more, so that what a target makes for itself at first is not counted.
        let _ = guarded(file.target, &file.bytes);
        let outcome = guarded(file.target, &file.bytes).unwrap_or_else(|failure| panic!("{path}: {failure:?}"));
        if !is_crash(name) {
            assert_eq!(outcome, Ok(()), "{path}");
        }
    }
}
