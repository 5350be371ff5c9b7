"""Goldens of conversations of several turns: their tokens, and which of them are whose words, by transformers.

Writes tests/fixtures/sections/turns.json: chat templates, and conversations in the form of datasets; for each conversation the
token ids of `apply_chat_template` up to its last message, and for each role the tokens of its messages: what
`return_assistant_tokens_mask` returns if the template marks the messages of that role. The tokenizer is Mistral's.

Run by scripts/goldens/run, with the versions in requirements.txt.
"""

import json
import shutil
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures"
OUT = FIXTURES / "sections" / "turns.json"
ROLES = ("system", "user", "assistant")

# HERE(role, text) stands for the text of a message.
TEMPLATES = {
    "chatml": "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'system' %}HERE(system, m['content']){% elif m['role'] == 'user' %}HERE(user, m['content']){% else %}HERE(assistant, m['content']){% endif %}</s>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    # The system message is inside the first user turn.
    "inst": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}{% set system = messages[0]['content'] | trim %}{% else %}{% set turns = messages %}{% set system = none %}{% endif %}{% for m in turns %}{% if m['role'] == 'user' %}[INST]{% if loop.first and system is not none %} <<SYS>>\nHERE(system, system)\n<</SYS>>\n\n{% else %} {% endif %}HERE(user, m['content'] | trim) [/INST]\n{% else %}HERE(assistant, m['content'])</s>{% endif %}{% endfor %}",
}

ONE = [("user", "Who are you?"), ("assistant", "A cat, of course.")]
CONVERSATIONS = [
    ONE,
    [("system", "Be brief.")] + ONE + [("user", "And now?"), ("assistant", "A dog.")],
    ONE + [("user", " Say it in two lines.\n"), ("assistant", "I am a cat.\nMiaow!"), ("user", "Um…"), ("assistant", "Ümläut 😀 no?")],
    [("system", "Who are you?"), ("user", "Who are you?"), ("assistant", "Who are you?"), ("user", "Who are you?"), ("assistant", "Who?")],
    [("system", "  Answer with <s> and </s> [INST] alone.  ")] + ONE,
]


def marked(template, role):
    """The template with marks around the messages of a role, or of none."""
    out, rest = "", template
    while "HERE(" in rest:
        before, after = rest.split("HERE(", 1)
        inside, rest = after.split(")", 1)
        whose, text = inside.split(", ", 1)
        begin, end = ("{% generation %}", "{% endgeneration %}") if whose == role else ("", "")
        out += before + begin + "{{ " + text + " }}" + end
    return out + rest


def main():
    with tempfile.TemporaryDirectory() as folder:
        # Under its own class, transformers would build another pipeline than tokenizer.json has.
        shutil.copy(FIXTURES / "tokenizers" / "mistral-7b-instruct" / "tokenizer.json", folder)
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        (Path(folder) / "tokenizer_config.json").write_text(json.dumps(config))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    cases = []
    for name, template in TEMPLATES.items():
        rows = []
        for conversation in CONVERSATIONS:
            messages = [{"role": role, "content": text} for role, text in conversation]
            masks = {}
            for role in ROLES:
                made = tokenizer.apply_chat_template(messages, chat_template=marked(template, role), tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
                masks[role] = made["assistant_masks"]
            length = max(i for i, mine in enumerate(masks["assistant"]) if mine) + 1
            runs = {role: [i for i, mine in enumerate(mask[:length]) if mine] for role, mask in masks.items()}
            rows.append({"messages": messages, "ids": made["input_ids"][:length], "tokens_of": runs})
        cases.append({"name": name, "template": marked(template, None), "rows": rows})
    OUT.write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{OUT}: {sum(len(case['rows']) for case in cases)} conversations")


if __name__ == "__main__":
    main()
