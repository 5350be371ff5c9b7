//! Paths of fields in a JSON object.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::LineProblem;

/// The path of a field: keys of nested objects joined by dots, such as `meta.pile_set_name`.
///
/// ```
/// use hayloft_harvest::FieldPath;
///
/// let path = FieldPath::try_from("meta.text".to_owned()).expect("a path");
/// let line = serde_json::json!({"meta": {"text": "hay"}});
/// assert_eq!(path.text(&line, "text_field").expect("text"), Some("hay"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct FieldPath(String);

impl FieldPath {
    /// Returns the text at this path in `line`; `None` for `null`. `key` is the data manifest's key for this path, for
    /// messages.
    pub fn text<'line>(&self, line: &'line Value, key: &'static str) -> Result<Option<&'line str>, LineProblem> {
        match self.value(line, key)? {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            other => Err(LineProblem::NotText { field: self.0.clone(), got: kind(other), key }),
        }
    }

    /// Returns the token ids at this path in `line`.
    pub(super) fn token_ids(&self, line: &Value, key: &'static str) -> Result<Vec<u32>, LineProblem> {
        let value = self.value(line, key)?;
        let id = |id: &Value| u32::try_from(id.as_u64()?).ok();
        value
            .as_array()
            .and_then(|ids| ids.iter().map(id).collect())
            .ok_or_else(|| LineProblem::NotTokens { field: self.0.clone(), got: kind(value) })
    }

    /// Returns the value at this path; `None` if it is absent.
    pub(super) fn get<'line>(&self, line: &'line Value) -> Option<&'line Value> {
        self.0.split('.').try_fold(line, |value, name| value.get(name))
    }

    /// Returns the path of another field of the same object.
    pub(super) fn sibling(&self, name: &str) -> Self {
        Self(self.0.rsplit_once('.').map_or_else(|| name.to_owned(), |(parent, _)| format!("{parent}.{name}")))
    }

    /// Returns the key of the outermost object; for a table, the column.
    pub(super) fn root(&self) -> &str {
        self.0.split_once('.').map_or(self.0.as_str(), |(root, _)| root)
    }

    pub(super) fn value<'line>(&self, line: &'line Value, key: &'static str) -> Result<&'line Value, LineProblem> {
        if !line.is_object() {
            return Err(LineProblem::NotObject { field: self.0.clone(), got: kind(line) });
        }
        let mut value = line;
        for name in self.0.split('.') {
            value = value.get(name).ok_or_else(|| self.missing(value, key))?;
        }
        Ok(value)
    }

    fn missing(&self, parent: &Value, key: &'static str) -> LineProblem {
        // An object may have any number of fields, with names of any length.
        const SHOWN_FIELDS: usize = 8;
        const SHOWN_CHARACTERS: usize = 40;
        let got = match parent {
            Value::Object(fields) => {
                let mut names: Vec<_> =
                    fields.keys().map(|name| name.chars().take(SHOWN_CHARACTERS).collect()).collect();
                if names.len() > SHOWN_FIELDS {
                    names.truncate(SHOWN_FIELDS);
                    names.push("…".to_owned());
                }
                format!("an object with the fields [{}]", names.join(", "))
            }
            other => kind(other).to_owned(),
        };
        LineProblem::MissingField { field: self.0.clone(), got, key }
    }
}

/// Names the kind of a value, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl TryFrom<String> for FieldPath {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        if path.split('.').any(str::is_empty) {
            return Err(format!("expected names joined by dots, such as \"meta.text\", got {path:?}"));
        }
        Ok(Self(path))
    }
}

impl FieldPath {
    /// Creates the path of a top-level field. `name` has no dots.
    pub(crate) fn known(name: &'static str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> FieldPath {
        FieldPath::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn empty_names_are_refused() {
        for text in ["", ".", "meta.", ".text", "a..b"] {
            assert!(FieldPath::try_from(text.to_owned()).unwrap_err().contains("joined by dots"), "{text}");
        }
    }

    #[test]
    fn a_missing_field_lists_those_there_are() {
        let problem = path("meta.text").text(&json!({"meta": {"a": 1, "b": 2}}), "text_field").unwrap_err();
        let message = problem.to_string();
        assert!(message.contains("\"meta.text\"") && message.contains("[a, b]"), "{message}");
        assert!(message.contains("text_field in the data manifest"), "{message}");
    }

    #[test]
    fn a_list_of_missing_fields_stays_short() {
        let fields: serde_json::Map<_, _> = (0..1000).map(|n| (format!("{n:0100}"), Value::Null)).collect();
        let problem = path("text").text(&Value::Object(fields), "text_field").unwrap_err();
        assert!(problem.to_string().len() < 1000);
    }

    #[test]
    fn a_value_that_is_no_object_or_no_text_is_named() {
        for (line, words) in [
            (json!([1]), "an array"),
            (json!("text"), "a string"),
            (json!({"text": 3}), "a number"),
            (json!({"text": {"a": 1}}), "an object"),
        ] {
            let message = path("text").text(&line, "text_field").unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
        assert_eq!(path("text").text(&json!({"text": null}), "text_field").unwrap(), None);
    }
}
