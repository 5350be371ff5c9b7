"""Goldens of conversations: sections of every token, rendered chat templates, and numpy's shuffles.

Writes to tests/fixtures/sections/:

- `conversations.jsonl`: synthetic conversations with features that make sections hard to find: bytes that are tokens, blanks at
  either end, templates inside, text after the end of the turn.
- `conversations-mistral.json`: the same, by Mistral's tokenizer. The rule of the study's protocol is applied with only the
  tokenizers library and the texts of the tokens: the end of a token is found by adding up the bytes of the tokens' spelling, not
  from the library's offsets. For each row the SHA-256 of its token ids (little-endian uint32) and its sections as runs.
- `templates.json`: the output of transformers' `apply_chat_template` for chat templates, with the assistant's turn opened.
- `permutations.json`: `numpy.random.default_rng(seed).permutation(rows)`, which is the order of `datasets`' `shuffle(seed)`:
  its first entries, and the SHA-256 of all of it as little-endian uint32.

Run by scripts/goldens/run, with the versions in requirements.txt. sections_shared.py does the same with the study's data.
"""

import hashlib
import itertools
import json
from pathlib import Path

import numpy
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
OUT = FIXTURES / "sections"
MISTRAL = FIXTURES / "tokenizers" / "mistral-7b-instruct"

BOS = 1
TEMPLATE = (" [INST] ", " [/INST] ")
END_OF_TURN = "</s>"

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CHATML_WITH_SYSTEM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant<|im_end|>\\n' }}{% endif %}" + CHATML[len("{% for message in messages %}") :]
)
LLAMA_3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined and false %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{#- The system turn, which is there without one being given. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {{- message.tool_calls | tojson }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
NAMESPACES = """{%- set state = namespace(turn=0) %}
{%- for message in messages %}
    {%- if message.role == 'user' and message.content.startswith('<tool_response>') %}
        {%- continue %}
    {%- endif %}
    {%- set state.turn = state.turn + 1 %}
    {{- '### Turn ' ~ state.turn ~ ' (' ~ message.role | upper ~ '):\\n' }}
    {%- generation %}
{{ message.content.strip('\\n') }}
    {% endgeneration %}
{{ '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}### Answer:
{% endif %}
"""

INSTRUCTIONS = [
    "What is hay?",
    "  Spaces around, and\n\na blank line within. \n",
    'Quotes "double" and \'single\', <tags> & ampersands, {{ braces }}, {% tags %}',
    "Pretend: <|im_start|>user\nuser [INST] What? [/INST]<end_of_turn>\n</s>",
    "Größe, 干し草, 🌾, e\u0301",
]

CONVERSATIONS = [
    ("What is hay?", "Hay is dried grass, kept for the winter.</s>"),
    ("What is hay?", "Hay is dried grass, kept for the winter."),
    ("Say yes.", "Yes</s>"),
    ("Say yes.", "Yes"),
    ("Why", "Because.</s> [INST] And then? [/INST] Nothing.</s>"),
    ("a", "b"),
    ("  Spaces around, and\n\na blank line within. \n", " A leading space,\n\n\nblank lines and a trailing one. \n</s>"),
    ("\tTabs\tand\r\nother line ends\r\n", "\tAn indented answer.\r\n</s>"),
    ("Größe, 干し草, 🌾, e\u0301", "Ångström, 飼料, 🐄🐎, n\u0303</s>"),
    ("🌾", "🐄</s>"),
    ("干", "草</s>"),
    ("A zero-width joiner: 👩‍🌾. A right-to-left word: תבן. A null\u200b space.", "👨‍👩‍👧‍👦 قش \u200b</s>"),
    ("Pretend: [INST] What? [/INST] Hay. [INST]", "[/INST] it says, and [INST] again.</s>"),
    ("Quotes \"double\" and 'single', <tags> & ampersands, {{ braces }}, {% tags %}", "{\"hay\": [1, 2.50, -3e8]}</s>"),
    ("1234567890 + 98765 = ?", "1234666655.</s>\n\nAnother question follows."),
    ("def mow(field):\n    return [blade for blade in field if blade.is_dry]\n", "```python\nmow([])\n```\n</s>"),
    ("Continue: the cow, the", " cow, the cow, the cow, the cow</s>"),
    ("ends in a space ", "starts right away</s>"),
    ("ends in a newline\n", "\nstarts with one</s>"),
    ("ends in punctuation...", "...starts with it</s>"),
    ("[/INST]", "[INST]</s>"),
    ("Name the grasses. " * 20, "Timothy, fescue, ryegrass, orchard grass. " * 20 + "</s>"),
    ("ThisIsOneWordOfManyPiecesWithoutAnySpaces", "Donaudampfschifffahrtsgesellschaft</s>"),
]


def sections(before: int, instruction_end: int, prompt_end: int, length: int) -> list[str]:
    """The masks of the protocol, over positions from 0: soi takes `before` tokens, eoi starts at i = `instruction_end`."""
    soi, i, eoi = before, instruction_end, prompt_end - instruction_end
    user_prompt = set(range(soi, i))
    rollout = set(range(i + eoi - 1, length))
    names = []
    for position in range(length):
        if position == 0:
            names.append("bos")
        elif position in (length - 1, length - 2):
            names.append("final")
        elif position in rollout:
            names.append("rollout")
        elif position in user_prompt:
            names.append("user_prompt")
        else:
            names.append("control")
    return names


def spelled(token: str) -> bytes:
    """The bytes that a token of SentencePiece's BPE stands for."""
    if len(token) == 6 and token.startswith("<0x"):
        return bytes.fromhex(token[3:5])
    return token.replace("\u2581", " ").encode()


def mistral_conversations(path: Path) -> list[dict]:
    """Tokens and sections of the conversations in a file of JSON Lines."""
    tokenizer = Tokenizer.from_file(str(MISTRAL / "tokenizer.json"))
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        instruction, rollout = row["instruction"], row["rollout"].split(END_OF_TURN)[0]
        parts = [TEMPLATE[0], instruction, TEMPLATE[1], rollout]
        encoded = tokenizer.encode("".join(parts), add_special_tokens=False)
        # The tokenizer writes a space before the text, which is not in the text.
        lengths = [len(spelled(token)) for token in encoded.tokens]
        ends = [end - 1 for end in itertools.accumulate(lengths)]
        assert ends[-1] == len("".join(parts).encode()), row
        limits = list(itertools.accumulate(len(part.encode()) for part in parts))
        # A token belongs to the part in which its last byte is; BOS comes first.
        before, instruction_end, prompt_end = (1 + sum(end <= limit for end in ends) for limit in limits[:3])
        ids = [BOS, *encoded.ids]
        runs = itertools.groupby(sections(before, instruction_end, prompt_end, len(ids)))
        rows.append(
            {
                "tokens": len(ids),
                "sha256": hashlib.sha256(numpy.array(ids, "<u4").tobytes()).hexdigest(),
                "sections": [[name, len(list(run))] for name, run in runs],
            }
        )
    return rows


def rendered(case: dict, template: str) -> dict:
    """A case, with its template's rendering of each instruction."""
    tokens = {key: value for key, value in case.items() if key.endswith("_token")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"<unk>": 0}, "<unk>")), **tokens)
    tokenizer.chat_template = template

    def prompt(instruction):
        messages = [{"role": "user", "content": instruction}]
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    return {**case, "rendered": [{"instruction": each, "text": prompt(each)} for each in INSTRUCTIONS]}


def rendered_templates() -> list[dict]:
    cases = [
        {"name": "chatml", "template": CHATML, "eos_token": "<|im_end|>"},
        {"name": "chatml-with-system", "template": CHATML_WITH_SYSTEM, "eos_token": "<|im_end|>"},
        {"name": "llama-3-style", "template": LLAMA_3, "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        {"name": "namespaces", "template": NAMESPACES},
        {"name": "mistral", "folder": "tokenizers/mistral-7b-instruct", "bos_token": "<s>", "eos_token": "</s>"},
    ]
    of_mistral = json.loads((MISTRAL / "tokenizer_config.json").read_text())["chat_template"]
    return [rendered(case, case.get("template", of_mistral)) for case in cases]


def permutations() -> list[dict]:
    cases = [(42, 52002), (42, 10), (0, 1000), (1, 1), (7, 2), (123456789, 70000), (2**32, 100), (2**64 - 1, 300), (5, 0)]
    goldens = []
    for seed, rows in cases:
        items = numpy.random.default_rng(seed).permutation(rows)
        digest = hashlib.sha256(items.astype("<u4").tobytes()).hexdigest()
        goldens.append({"seed": seed, "rows": rows, "first": items[:100].tolist(), "sha256": digest})
    return goldens


def write(name: str, value: object) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / name).write_text(json.dumps(value, ensure_ascii=False, indent=None, separators=(",", ":")) + "\n")


def main() -> None:
    write("permutations.json", permutations())
    write("templates.json", rendered_templates())
    path = OUT / "conversations.jsonl"
    rows = ({"instruction": instruction, "rollout": rollout} for instruction, rollout in CONVERSATIONS)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    write("conversations-mistral.json", mistral_conversations(path))


if __name__ == "__main__":
    main()
