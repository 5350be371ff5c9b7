//! The Jinja environment of transformers' chat templates, with resource limits because templates are untrusted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, Error, ErrorKind, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::message::Message;

/// One unit pays for one template instruction, or for 64 bytes of output: at most 128 MiB and one second. The templates
/// of released models take under 10,000 units for one turn.
const FUEL: u64 = 2_000_000;

/// The maximum indent of `tojson`.
const MOST_INDENT: usize = 16;

const NAME: &str = "chat_template";

/// Whether the rendered text opens the assistant's turn at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Open: the model generates from there.
    GenerationPrompt,
    /// Closed: the conversation is complete.
    Closed,
}

/// A parsed chat template.
#[derive(Debug)]
pub(super) struct Jinja {
    environment: Environment<'static>,
    special_tokens: BTreeMap<String, String>,
}

impl Jinja {
    /// Parses a template. `special_tokens` are the variables `bos_token`, `eos_token` and so on.
    pub(super) fn new(text: &str, special_tokens: BTreeMap<String, String>) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_filter("tojson", to_json);
        environment.add_test("iterable", is_iterable);
        environment.add_template_owned(NAME, without_generation_tags(text))?;
        Ok(Self { environment, special_tokens })
    }

    /// Renders a conversation.
    pub(super) fn render(&self, messages: &[Message], ending: Ending) -> Result<String, Error> {
        let add_generation_prompt = ending == Ending::GenerationPrompt;
        // As in transformers, absent values are defined as none.
        let (tools, documents) = (Value::from(()), Value::from(()));
        let turn = |message: &Message| context! { role => message.role.as_str(), content => message.content.as_str() };
        let messages: Vec<Value> = messages.iter().map(turn).collect();
        let turns = context! { messages, add_generation_prompt, tools, documents };
        let tokens = Value::from(Serde(&self.special_tokens));
        self.environment.get_template(NAME)?.render(context! { ..turns, ..tokens })
    }
}

/// Jinja's test: whether Python could iterate over the value. None is not iterable, unlike in minijinja.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Lets a template reject a conversation.
fn raise_exception(message: &str) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("the template raised an exception: {message}")))
}

/// Python's `json.dumps` with `ensure_ascii=False`, which transformers uses in place of Jinja's `tojson`. No character
/// is escaped for HTML.
#[expect(clippy::needless_pass_by_value, reason = "a filter is given its options by value")]
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let mut value = serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("tojson: {error}")))?;
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    if options.get::<Option<bool>>("sort_keys")?.unwrap_or_default() {
        value.sort_all_objects();
    }
    options.assert_all_used()?;
    match indent {
        None => dump(&value, Spaced),
        Some(width) => dump(&value, PrettyFormatter::with_indent(" ".repeat(width.min(MOST_INDENT)).as_bytes())),
    }
}

fn dump(value: &serde_json::Value, formatter: impl Formatter) -> Result<String, Error> {
    let failed = |problem: String| Error::new(ErrorKind::InvalidOperation, format!("tojson: {problem}"));
    let mut bytes = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut bytes, formatter))
        .map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}

/// Python's separators: `", "` and `": "`.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: std::io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: std::io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: std::io::Write + ?Sized>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// Replaces transformers' tags `{% generation %}` and `{% endgeneration %}`, which mark the assistant's text and print
/// nothing, by tags without effect.
fn without_generation_tags(template: &str) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, tag_on)) = rest.split_once("{%") {
        text.push_str(before);
        let Some((tag, after)) = tag_on.split_once("%}") else {
            text.push_str("{%");
            rest = tag_on;
            continue;
        };
        let name = tag.trim_matches(['-', '+']).trim();
        let replaced = match name {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        match replaced {
            // Writing to a `String` cannot fail.
            Some(replacement) => drop(write!(text, "{{%{}%}}", tag.replace(name, replacement))),
            None => drop(write!(text, "{{%{tag}%}}")),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::super::message::Role;
    use super::*;

    fn render(template: &str) -> Result<String, Error> {
        let tokens = [("bos_token".to_owned(), "<s>".to_owned())].into();
        let user = Message::new(Role::User, "Why \"hay\"?\n");
        Jinja::new(template, tokens)?.render(&[user], Ending::GenerationPrompt)
    }

    #[test]
    fn a_template_sees_what_transformers_shows_it() {
        for (template, expected) in [
            ("{{ bos_token }}{{ eos_token }}|{{ messages[0]['role'] }}", "<s>|user"),
            ("{{ messages[0].content | trim }}", "Why \"hay\"?"),
            ("{{ messages[0].content.strip().split(' ')[1] }}", "\"hay\"?"),
            ("{% if add_generation_prompt %}yes{% endif %}", "yes"),
            ("{% if tools is defined and tools is none %}none{% endif %}", "none"),
            (
                "{% if tools is iterable %}none{% endif %}{% if messages is iterable and [] is iterable %}list{% endif %}",
                "list",
            ),
            ("{% if strftime_now is defined %}now{% else %}26 Jul 2024{% endif %}", "26 Jul 2024"),
            ("{% for n in range(9) %}{% if n == 3 %}{% break %}{% endif %}{{ n }}{% endfor %}", "012"),
            ("a\n  {% if true %}\n  b\n  {% endif %}\n", "a\n  b\n"),
            ("{% set ns = namespace(n=1) %}{% set ns.n = 2 %}{{ ns.n }}", "2"),
            ("a {%- generation %} b {% endgeneration -%} c", "a b c"),
            ("{% macro turn(m) %}[{{ m.role }}]{% endmacro %}{{ turn(messages[0]) }}", "[user]"),
        ] {
            assert_eq!(render(template).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn tojson_is_pythons() {
        for (template, expected) in [
            ("{{ {'a': [1, 2.5, none, true], 'b': {}} | tojson }}", r#"{"a": [1, 2.5, null, true], "b": {}}"#),
            ("{{ '<a href=\"é\">&' | tojson }}", r#""<a href=\"é\">&""#),
            (
                "{{ {'b': 1, 'a': [2]} | tojson(indent=2, sort_keys=true) }}",
                "{\n  \"a\": [\n    2\n  ],\n  \"b\": 1\n}",
            ),
            ("{{ messages | tojson }}", r#"[{"role": "user", "content": "Why \"hay\"?\n"}]"#),
        ] {
            assert_eq!(render(template).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn an_exception_is_an_error_with_its_message() {
        let message = render("{{ raise_exception('No system turns!') }}").unwrap_err().to_string();
        assert!(message.contains("No system turns!"), "{message}");
    }

    #[test]
    fn unbounded_templates_are_stopped() {
        for template in [
            "{% for a in range(9999999) %}{% for b in range(9999999) %}{% endfor %}{% endfor %}",
            "{% set ns = namespace(t='hay') %}{% for n in range(99) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
            "{{ 'hay' * 999999999999 }}",
            "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
            "{{ 'hay'.replace('', 'hay' * 99999) * 9999 }}",
        ] {
            render(template).unwrap_err();
        }
        let deep = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
        render(&format!("{{{{ {deep} }}}}")).unwrap_err();
    }

    #[test]
    fn a_template_that_depends_on_the_date_is_refused() {
        render("{{ strftime_now('%d %b %Y') }}").unwrap_err();
    }

    #[test]
    fn other_templates_cannot_be_read() {
        render("{% include '/etc/passwd' %}").unwrap_err();
    }
}
