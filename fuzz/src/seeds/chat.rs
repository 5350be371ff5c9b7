//! Chat templates of the kinds that released models have.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::Seed;

/// ChatML, as small models have it.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + \
                      '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' \
                      }}{% endif %}";

/// With what else templates use: a namespace, a macro, loop variables, filters, methods of Python, generation tags.
const RICH: &str = r"{{- bos_token }}
{%- macro turn(role, text) %}[{{ role | upper }}]{{ text }}[/{{ role }}]{% endmacro %}
{%- set ns = namespace(seen=0, names=[]) %}
{%- if messages[0]['role'] == 'system' %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate') }}
    {%- endif %}
    {%- set ns.seen = ns.seen + 1 %}
    {%- if message.role == 'assistant' %}
        {%- generation %}{{ turn(message.role, message.content | trim) }}{% endgeneration %}{{ eos_token }}
    {%- else %}
        {{- turn(message.role, message.content.strip()) }}
    {%- endif %}
    {%- if tools is not none %}{{ tools | tojson(indent=2) }}{% endif %}
    {%- if 'x' in message.content.split(' ') and not loop.last %}{% break %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '[ASSISTANT]' ~ {'n': ns.seen, 'l': [1, 2.5, none]} | tojson }}{% endif %}";

/// Writes what names the special tokens.
pub(crate) fn write_special_tokens(folder: &Path) {
    let tokens = json!({ "bos_token": { "content": "<s>" }, "eos_token": "</s>" });
    fs::write(folder.join("special_tokens_map.json"), tokens.to_string()).expect("a file");
}

pub(super) fn seeds() -> Vec<Seed> {
    let config = json!({
        "bos_token": "<s>", "eos_token": { "content": "</s>", "lstrip": false }, "model_max_length": 512,
        "added_tokens_decoder": { "1": { "content": "<s>", "special": true } }, "chat_template": CHATML,
    });
    let named = json!({
        "bos_token": null,
        "chat_template": [{ "name": "tool_use", "template": "{{ tools }}" }, { "name": "default", "template": RICH }],
    });
    let pretty = |value| serde_json::to_vec_pretty(value).expect("JSON");
    vec![
        ("chat_template", "chatml".to_owned(), CHATML.as_bytes().to_vec()),
        ("chat_template", "rich".to_owned(), RICH.as_bytes().to_vec()),
        ("tokenizer_config", "one-template".to_owned(), pretty(&config)),
        ("tokenizer_config", "named-templates".to_owned(), pretty(&named)),
    ]
}
