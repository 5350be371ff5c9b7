//! Reads lists of messages, in the forms that datasets have.

use serde_json::{Map, Value};

use super::field_path::kind;
use super::{FieldPath, LineProblem};
use crate::chat::{Message, Role};

/// The keys of a message's role and text: those of `messages`, and those of `ShareGPT`'s `conversations`.
const FORMS: [(&str, &str); 2] = [("role", "content"), ("from", "value")];

/// Keys that a chat template writes into the prompt, and that are not read.
const UNREAD: [&str; 6] = ["tool_calls", "function_call", "tool_call_id", "reasoning_content", "reasoning", "thinking"];

/// A field beside the messages that chat templates write into the prompt.
pub(super) const TOOLS: &str = "tools";

/// Checks that there are no tools beside a field of messages.
pub(super) fn check_tools(field: &FieldPath, fields: &Value) -> Result<(), LineProblem> {
    let tools = field.sibling(TOOLS);
    match tools.get(fields) {
        Some(value) if !is_nothing(value) => Err(LineProblem::Tools { field: tools.to_string() }),
        _ => Ok(()),
    }
}

/// Returns the messages in a list of `{"role", "content"}` or `{"from", "value"}`. `key` is the data manifest's key for
/// the field.
pub(super) fn messages(field: &FieldPath, value: &Value, key: &'static str) -> Result<Vec<Message>, LineProblem> {
    let not_messages = |got: &str| LineProblem::NotMessages { field: field.to_string(), got: got.to_owned(), key };
    let list = value.as_array().ok_or_else(|| not_messages(kind(value)))?;
    if list.is_empty() {
        return Err(not_messages("an empty list"));
    }
    let read = |(number, value): (usize, &Value)| {
        message(value).map_err(|problem| LineProblem::Message { field: field.to_string(), number, problem })
    };
    list.iter().enumerate().map(read).collect()
}

fn message(value: &Value) -> Result<Message, String> {
    let fields = value.as_object().ok_or_else(|| format!("expected an object, got {}", kind(value)))?;
    let unread = |key: &&&str| fields.get(**key).is_some_and(|value| !is_nothing(value));
    if let Some(key) = UNREAD.iter().find(unread) {
        return Err(format!(
            "expected role and text alone, got {key} too, which belongs to the prompt and is not read"
        ));
    }
    let form = FORMS.into_iter().find(|(role, _)| fields.contains_key(*role));
    let (role, content) = form.ok_or_else(|| {
        let names: Vec<&str> = fields.keys().map(String::as_str).take(8).collect();
        format!("expected role and content, or from and value, got [{}]", names.join(", "))
    })?;
    Ok(Message { role: Role::of(text(fields, role)?)?, content: text(fields, content)?.to_owned() })
}

fn text<'value>(fields: &'value Map<String, Value>, key: &str) -> Result<&'value str, String> {
    let value = fields.get(key).ok_or_else(|| format!("expected {key}, got none"))?;
    value.as_str().ok_or_else(|| format!("expected text as {key}, got {}", kind(value)))
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Vec<Message>, String> {
        messages(&FieldPath::known("messages"), value, "chat.messages_field").map_err(|problem| problem.to_string())
    }

    #[test]
    fn both_forms_are_read() {
        let expected = [
            Message::new(Role::System, "Be brief."),
            Message::new(Role::User, "Who?"),
            Message::new(Role::Assistant, ""),
        ];
        let chatml = json!([
            {"role": "system", "content": "Be brief.", "tool_calls": null},
            {"role": "user", "content": "Who?", "name": "x"},
            {"role": "assistant", "content": "", "tool_calls": []},
        ]);
        let sharegpt = json!([
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "Who?", "weight": 0},
            {"from": "gpt", "value": ""},
        ]);
        assert_eq!(read(&chatml).unwrap(), expected);
        assert_eq!(read(&sharegpt).unwrap(), expected);
    }

    #[test]
    fn other_lists_are_refused_with_the_message() {
        for (value, words) in [
            (json!("Who?"), "got a string"),
            (json!([]), "got an empty list"),
            (json!(["Who?"]), "message 0 (counted from 0): expected an object"),
            (json!([{"text": "Who?"}]), "got [text]"),
            (json!([{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]), "message 1"),
            (json!([{"role": "asistant", "content": "a"}]), "Did you mean assistant?"),
            (json!([{"role": "user", "content": [{"type": "text"}]}]), "expected text as content, got an array"),
            (json!([{"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]}]), "tool_calls"),
        ] {
            let message = read(&value).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
