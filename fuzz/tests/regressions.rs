//! Each bug that fuzzing or reading found, by name, with what is said now in its place.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use hayloft_fuzz::{corpus_folder, guarded, target};

/// The input of this name must be refused in these words.
#[track_caller]
fn refused(input: &str, words: &str) {
    let target = target(input.split_once('/').unwrap().0).unwrap();
    let bytes = fs::read(corpus_folder().join(input)).unwrap();
    let outcome = guarded(target, &bytes).unwrap_or_else(|failure| panic!("{input}: {failure:?}"));
    let said = outcome.expect_err(input);
    assert!(said.contains(words), "{input}: {said}");
}

#[test]
fn a_column_with_a_negative_start_is_refused() {
    refused("sequences/crash-negative-column-start", "expected a column within the file");
    refused("parquet/crash-negative-column-start", "expected a column within the file");
}

#[test]
fn a_page_that_refers_to_no_dictionary_is_refused() {
    refused("sequences/crash-page-without-its-dictionary", "expected a dictionary before the page");
    refused("rollouts/crash-page-without-its-dictionary", "expected a dictionary before the page");
    refused("predictions/crash-fixed-width-page-without-its-dictionary", "expected a dictionary before the page");
}

#[test]
fn a_page_of_no_values_that_has_bytes_is_refused() {
    refused("tokens/crash-page-of-no-values", "bytes that no writer of Parquet writes");
    refused("rollouts/crash-page-of-no-values", "bytes that no writer of Parquet writes");
}

#[test]
fn a_dictionary_that_claims_more_values_than_it_has_is_refused() {
    refused("tokens/crash-dictionary-of-two-to-the-thirty", "expected a dictionary of");
}

#[test]
fn a_schema_as_deep_as_the_stack_is_refused() {
    for target in ["activations", "parquet", "sequences"] {
        refused(&format!("{target}/crash-schema-as-deep-as-the-stack"), "expected columns at most 32 deep");
    }
}

#[test]
fn a_field_with_more_children_than_the_schema_has_fields_is_refused() {
    for target in ["activations", "parquet"] {
        refused(
            &format!("{target}/crash-schema-with-half-a-billion-children"),
            "expected fields with 3 children in all, got 500000002",
        );
    }
}

#[test]
fn sizes_that_overflow_are_summed_up_and_found_wrong() {
    refused("manifest/crash-bytes-that-overflow", "expected 18446744073709551615 bytes");
    refused("manifest/crash-group-tokens-that-overflow", "expected 5 sequences and 18446744073709551615 tokens");
    refused("manifest/crash-rows-that-overflow", "damaged: expected the statistics of the shards");
    refused("shard/crash-bytes-that-overflow", "missing field");
    refused("shard/crash-rows-that-overflow", "expected sequences over 18446744073709551615 rows");
}

#[test]
fn a_width_that_no_memory_holds_is_refused() {
    refused("manifest/crash-width-beyond-memory", "expected 1 to 16777216, got 1152921504606846976");
    refused("shard/crash-width-beyond-memory", "expected 1 to 16777216, got 1152921504606846976");
}

#[test]
fn a_template_longer_than_its_columns_are_counted_is_refused() {
    refused("chat_template/crash-column-beyond-16-bits", "60000");
}

#[test]
fn a_page_header_with_a_list_longer_than_the_file_is_refused() {
    refused("examples/crash-list-of-a-header", "expected the header of a page, got other bytes");
}
