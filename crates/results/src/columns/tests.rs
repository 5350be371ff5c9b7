//! Formulas against values by hand; the list against its documents.

use super::*;
use crate::sums::row_terms::RowTerms;

#[test]
fn columns_agree_with_values_by_hand() {
    // Three tokens: errors 1, 2, 6; deviations 4, 8, 8; latents 2, 3, 5 with sums 1, 2, 6; norms of x 2, 2, 3, of r
    // 1, 2, 3; products 1, 3, 6. Two losses.
    let mut sums = Sums { clean_loss: 2.0, zero_loss: 12.0, outlier_rows: 1, ..Sums::default() };
    for (latents, squared_error, squared_deviation, [target_square, reconstruction_square, product]) in
        [(2, 1.0, 4.0, [4.0, 1.0, 1.0]), (3, 2.0, 8.0, [4.0, 4.0, 3.0]), (5, 6.0, 8.0, [9.0, 9.0, 6.0])]
    {
        let l1 = squared_error;
        let terms =
            RowTerms { latents, l1, squared_error, squared_deviation, target_square, reconstruction_square, product };
        sums.add_activation(&terms);
    }
    sums.add_sae_losses(&[0, 1], &[1.5, 2.5]);
    let expected = Columns {
        l0: Some(10.0 / 3.0),
        ce_recovered: Some(0.8),
        ce_clean: Some(1.0),
        ce_sae: Some(2.0),
        ce_delta: Some(1.0),
        ce_zero: Some(6.0),
        explained_variance: Some((0.75 + 0.75 + 0.25) / 3.0),
        explained_variance_pooled: Some(1.0 - 9.0 / 20.0),
        mse: Some(3.0),
        mse_raw: Some(0.75),
        loss_tokens: 2,
        activation_rows: 3,
        outlier_rows: 1,
        cosine_similarity: Some((0.5 + 0.75 + 6.0 / 9.0) / 3.0),
        l2_ratio: Some((0.5 + 1.0 + 1.0) / 3.0),
        l1: Some(3.0),
        relative_reconstruction_bias: Some(1.4),
    };
    assert_eq!(Columns::of(&sums, 2.0), expected);
    let fields = serde_json::to_value(expected).unwrap();
    assert!(fields.as_object().unwrap().keys().eq(Columns::names()), "the list and the fields have one order");
}

#[test]
fn a_gap_too_small_to_divide_by_counts_as_one() {
    assert!((recovered(1.0, 1.5, 1.00009) + 0.49991).abs() < 1e-12);
    assert!((recovered(1.0, 1.5, 1.0002) + 2499.0).abs() < 1e-6);
    assert!((recovered(1.0, 1.5, 0.99991) + 0.50009).abs() < 1e-12, "a negative gap is small by its size");
}

#[test]
fn means_over_nothing_are_undefined() {
    let columns = Columns::of(&Sums::default(), 1.0);
    assert_eq!((columns.l0, columns.ce_clean, columns.ce_recovered, columns.mse), (None, None, None, None));
    assert_eq!((columns.explained_variance, columns.explained_variance_pooled), (None, None));
    assert_eq!((columns.cosine_similarity, columns.l2_ratio, columns.l1), (None, None, None));
    assert_eq!(columns.relative_reconstruction_bias, None);
}

#[test]
fn a_run_in_which_nothing_was_spliced_has_no_losses_of_its_own() {
    let losses = Sums { loss_tokens: 2, clean_loss: 2.0, sae_loss: 2.0, zero_loss: 12.0, ..Sums::default() };
    let columns = Columns::of(&Sums { outlier_rows: 3, ..losses.clone() }, 1.0);
    assert_eq!((columns.ce_sae, columns.ce_delta, columns.ce_recovered), (None, None, None));
    assert_eq!((columns.ce_clean, columns.ce_zero, columns.loss_tokens), (Some(1.0), Some(6.0), 2));
    let columns = Columns::of(&Sums { activation_rows: 1, outlier_rows: 2, ..losses }, 1.0);
    assert_eq!((columns.ce_sae, columns.ce_recovered), (Some(1.0), Some(1.0)), "one row spliced is spliced");
}

#[test]
fn a_reconstruction_that_is_zero_has_no_relative_bias() {
    let mut sums = Sums::default();
    sums.add_activation(&RowTerms { target_square: 4.0, squared_error: 4.0, ..RowTerms::default() });
    let columns = Columns::of(&sums, 1.0);
    assert_eq!((columns.cosine_similarity, columns.l2_ratio), (Some(0.0), Some(0.0)));
    assert_eq!(columns.relative_reconstruction_bias, None);
}

#[test]
fn explained_variance_may_be_hugely_negative() {
    let mut sums = Sums::default();
    let terms = RowTerms { squared_error: 2663.0, squared_deviation: 1.0, ..RowTerms::default() };
    sums.add_activation(&terms);
    assert_eq!(Columns::of(&sums, 1.0).explained_variance, Some(-2662.0));
}

/// A test can only be right about the documentation if the documentation is printed from the list.
#[test]
fn the_documentation_has_the_table_of_the_list() {
    let documentation = include_str!("../../RESULTS.md");
    let table = Column::documentation();
    assert!(documentation.contains(&table), "RESULTS.md: expected under Columns:\n\n{table}");
}
