//! Finds the first field in which two records differ.

use serde::Serialize;
use serde_json::Value;

/// Maximum number of characters shown of a value.
const SHOWN: usize = 200;

/// The name of a field, with its expected and found values as text.
pub(crate) struct Difference {
    pub(crate) field: String,
    pub(crate) expected: String,
    pub(crate) got: String,
}

/// The first difference between two records, in field order; `None` if they are equal.
pub(crate) fn first_difference<R: Serialize>(expected: &R, got: &R) -> Option<Difference> {
    let (expected, got) = (serde_json::to_value(expected).ok()?, serde_json::to_value(got).ok()?);
    between("", &expected, &got)
}

fn between(field: &str, expected: &Value, got: &Value) -> Option<Difference> {
    if expected == got {
        return None;
    }
    if let (Value::Object(expected), Value::Object(got)) = (expected, got) {
        let names = expected.keys().chain(got.keys());
        return names
            .map(|name| {
                let inner = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
                let value = |side: &serde_json::Map<String, Value>| side.get(name).cloned().unwrap_or_default();
                between(&inner, &value(expected), &value(got))
            })
            .find_map(|difference| difference);
    }
    Some(Difference { field: field.to_owned(), expected: in_words(expected), got: in_words(got) })
}

fn in_words(value: &Value) -> String {
    let text = match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() > SHOWN { text.chars().take(SHOWN).chain("…".chars()).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_field_is_named_however_deep_it_lies() {
        let expected = json!({"same": 1, "deep": {"same": 2, "other": [1, 2]}, "last": true});
        let got = json!({"same": 1, "deep": {"same": 2, "other": [1]}, "last": false});
        let difference = first_difference(&expected, &got).unwrap();
        assert_eq!(difference.field, "deep.other");
        assert_eq!((difference.expected.as_str(), difference.got.as_str()), ("[1,2]", "[1]"));
        assert!(first_difference(&expected, &expected).is_none());
        let absent = first_difference(&json!({"a": "b"}), &json!({})).unwrap();
        assert_eq!((absent.field.as_str(), absent.expected.as_str(), absent.got.as_str()), ("a", "b", "none"));
        let long = first_difference(&json!("x".repeat(1000)), &json!("y")).unwrap();
        assert_eq!(long.expected.chars().count(), SHOWN + 1);
    }
}
