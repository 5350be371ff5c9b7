//! Reads rows that are token ids already.

use serde_json::Value;

use super::rows::{Content, Row};
use super::{DataError, FieldPath, LineProblem};

/// Returns the field of the attention mask beside a field of token ids.
pub(super) fn mask_field(field: &FieldPath) -> FieldPath {
    field.sibling("attention_mask")
}

/// Returns the token ids of a row, without the padding at either end that an attention mask beside them shows.
pub(super) fn token_ids(row: &Row<'_>, field: &FieldPath) -> Result<Vec<u32>, DataError> {
    let Content::Fields(fields) = &row.content else {
        let (field, got) = (field.to_string(), "a text file");
        return Err(row.wrong(LineProblem::NotTokens { field, got }));
    };
    let ids = field.token_ids(fields, "tokens_field").map_err(|problem| row.wrong(problem))?;
    let mask = mask_field(field);
    match mask.get(fields) {
        None | Some(Value::Null) => Ok(ids),
        Some(value) => within_mask(ids, value, &mask).map_err(|problem| row.wrong(problem)),
    }
}

fn within_mask(mut ids: Vec<u32>, mask: &Value, field: &FieldPath) -> Result<Vec<u32>, LineProblem> {
    let wrong =
        |expected: String, got: &str| LineProblem::Mask { field: field.to_string(), expected, got: got.to_owned() };
    let attended = |value: &Value| match value {
        Value::Bool(attended) => Some(*attended),
        other => other.as_u64().filter(|value| *value < 2).map(|value| value == 1),
    };
    let mask: Option<Vec<bool>> = mask.as_array().and_then(|mask| mask.iter().map(attended).collect());
    let mask = mask.ok_or_else(|| wrong("a list of 0 and 1".to_owned(), "something else"))?;
    if mask.len() != ids.len() {
        return Err(wrong(format!("{} values, one for each token id", ids.len()), &mask.len().to_string()));
    }
    let start = mask.iter().take_while(|attended| !**attended).count();
    let end = mask.len() - mask[start..].iter().rev().take_while(|attended| !**attended).count();
    if mask[start..end].contains(&false) {
        return Err(wrong("0 at either end alone, for padding".to_owned(), "0 between tokens"));
    }
    ids.truncate(end);
    Ok(ids.split_off(start))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn padding_at_either_end_is_no_token() {
        let field = FieldPath::known("attention_mask");
        let masked = |mask: Value| within_mask(vec![5, 6, 7, 8], &mask, &field);
        assert_eq!(masked(json!([1, 1, 1, 1])).unwrap(), [5, 6, 7, 8]);
        assert_eq!(masked(json!([0, 0, 1, 0])).unwrap(), [7]);
        assert_eq!(masked(json!([true, true, false, false])).unwrap(), [5, 6]);
        assert!(masked(json!([0, 0, 0, 0])).unwrap().is_empty());
        for (mask, words) in
            [(json!([1, 0, 1, 1]), "0 between"), (json!([1, 1]), "4 values"), (json!([1, 2, 1, 1]), "0 and 1")]
        {
            let message = masked(mask).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
