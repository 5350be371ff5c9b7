//! Parses the wanted fields of a JSON object.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::lines::utf8;
use super::{FieldPath, LineProblem};

/// Parses an object of JSON, as Python's `json` reads it. Top-level fields other than those of `fields` are null: of
/// them, only where they end is read.
///
/// `NaN`, `Infinity` and `-Infinity` are null, and half a surrogate pair is U+FFFD.
pub(super) fn parse(bytes: &[u8], fields: &[FieldPath]) -> Result<Value, LineProblem> {
    let text = strict(utf8(bytes)?);
    let mut parser = serde_json::Deserializer::from_str(&text);
    let parsed = Wanted(fields).deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    parsed.map_err(|error| {
        // The parser counts lines within the given text.
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default().to_owned();
        LineProblem::NotJson { column: error.column(), reason }
    })
}

/// Returns the text with what Python writes beyond JSON replaced.
fn strict(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if !["NaN", "Infinity", "\\ud", "\\uD"].iter().any(|sign| text.contains(sign)) {
        return Cow::Borrowed(text);
    }
    let mut strict = String::with_capacity(text.len());
    let (mut at, mut copied, mut within_text) = (0, 0, false);
    while let Some(byte) = bytes.get(at) {
        let (length, replacement) = match byte {
            b'\\' if within_text => escape(&bytes[at..]),
            _ if within_text && *byte != b'"' => (1, None),
            b'"' => {
                within_text = !within_text;
                (1, None)
            }
            _ => match ["NaN", "Infinity", "-Infinity"].iter().find(|name| bytes[at..].starts_with(name.as_bytes())) {
                Some(name) => (name.len(), Some("null")),
                None => (1, None),
            },
        };
        if let Some(replacement) = replacement {
            strict.push_str(&text[copied..at]);
            strict.push_str(replacement);
            copied = at + length;
        }
        at += length;
    }
    strict.push_str(&text[copied..]);
    Cow::Owned(strict)
}

/// Returns the length of an escape sequence, and what replaces half a surrogate pair.
fn escape(bytes: &[u8]) -> (usize, Option<&'static str>) {
    /// `\uXXXX`.
    const CODE_BYTES: usize = 6;
    let code = |at: usize| {
        let digits = bytes.get(at..at + CODE_BYTES)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    match (code(0), code(CODE_BYTES)) {
        (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => (2 * CODE_BYTES, None),
        (Some(0xd800..0xe000), _) => (CODE_BYTES, Some("\\ufffd")),
        (Some(_), _) => (CODE_BYTES, None),
        // The next character may have several bytes; its first one is no quote.
        (None, _) => (2.min(bytes.len()), None),
    }
}

/// Parses a value whose fields, if it is an object, are null unless they are wanted.
struct Wanted<'fields>(&'fields [FieldPath]);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = if self.0.iter().any(|field| field.root() == key) {
                map.next_value()?
            } else {
                map.next_value::<IgnoredAny>()?;
                Value::Null
            };
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }

    // What is no object is refused by the field that is looked for in it.

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(Vec::new()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(line: &str) -> Value {
        parse(line.as_bytes(), &[FieldPath::known("text")]).unwrap()["text"].clone()
    }

    #[test]
    fn other_fields_are_not_parsed() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for other in ["NaN", "-Infinity", "[Infinity, {\"text\": NaN}]", "1e999", r#""a \ud83d cut emoji""#, &deep] {
            assert_eq!(text(&format!(r#"{{"other": {other}, "text": "hay", "more": {other}}}"#)), "hay", "{other}");
        }
    }

    #[test]
    fn python_writes_what_json_does_not_know() {
        for (written, read) in [
            (r#""NaN \\ud83d Infinity""#, json!("NaN \\ud83d Infinity")),
            (r#""\ud83d\ude00 \uD83D \ude00 \ud83d\u0041""#, json!("😀 \u{fffd} \u{fffd} \u{fffd}A")),
            (r#""\"\ud83d""#, json!("\"\u{fffd}")),
            ("NaN", Value::Null),
            ("[1, NaN, -Infinity]", json!([1, null, null])),
        ] {
            assert_eq!(text(&format!("{{\"text\": {written}}}")), read, "{written}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for line in [r#"{"text": Nan}"#, r#"{"text": "\u12"}"#, r#"{"a": }"#, r#"{"text": "hay"} x"#, "{\"text\": \"\\"]
        {
            let problem = parse(line.as_bytes(), &[FieldPath::known("text")]).unwrap_err();
            assert!(matches!(problem, LineProblem::NotJson { .. }), "{line}");
        }
    }
}
