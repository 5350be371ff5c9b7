"""Goldens of the files beside tokenizer.json: the tokens that transformers makes with them.

Writes tests/fixtures/tokenizers/files.json: for each case the tokenizer.json that it is made from (a folder of the fixtures), what
the files beside it hold, and texts with the ids of transformers' AutoTokenizer, without the special tokens that it puts around a
text.

With an argument, a folder of released tokenizer configurations, those are cases too: they are checked, and not written. Each is
laid over the tokenizer of stories260K, whose pipeline transformers takes as it is under the class PreTrainedTokenizerFast.

Run by scripts/goldens/run, with the versions in requirements.txt.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
OUT = FIXTURES / "tokenizers" / "files.json"
STORIES, MISTRAL = "stories260K", "tokenizers/mistral-7b-instruct"
START, END = "<|im_start|>", "<|im_end|>"


def token(text, **flags):
    return {"content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True} | flags


def config(**keys):
    return {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} | keys


BASE = {str(i): token(text) for i, text in enumerate(("<unk>", "<s>", "</s>"))}
CHAT = f"{START}user\nA cat  {END} sat{END}{START}"
CASES = {
    "nothing": (STORIES, {"tokenizer_config.json": config()}),
    "added-tokens-decoder": (STORIES, {"tokenizer_config.json": config(added_tokens_decoder=BASE | {"512": token(START), "513": token(END)})}),
    "out-of-order": (STORIES, {"tokenizer_config.json": config(added_tokens_decoder={"513": token(END), "512": token(START)} | BASE)}),
    "other-ids": (STORIES, {"tokenizer_config.json": config(added_tokens_decoder=BASE | {"700": token(END), "800": token(START)})}),
    "flags": (STORIES, {"tokenizer_config.json": config(added_tokens_decoder=BASE | {"512": token(START, rstrip=True), "513": token(END, lstrip=True, special=False)})}),
    "normalized": (STORIES, {"tokenizer_config.json": config(added_tokens_decoder=BASE | {"512": token("cat", normalized=True, special=False), "513": token(" sat", normalized=True, special=False)})}),
    "single-word": (STORIES, {"tokenizer_config.json": config(added_tokens_decoder=BASE | {"512": token("at", single_word=True, special=False)})}),
    "flags-of-a-known-token": (STORIES, {"tokenizer_config.json": config(added_tokens_decoder=BASE | {"2": token("</s>", rstrip=True, lstrip=True)})}),
    "added-tokens-json": (STORIES, {"tokenizer_config.json": config(eos_token=END, pad_token=START), "added_tokens.json": {START: 512, END: 513}}),
    "added-tokens-json-and-more-special": (STORIES, {"tokenizer_config.json": config(additional_special_tokens=[START, END]), "added_tokens.json": {END: 512, START: 513}}),
    "role-beyond-the-vocabulary": (STORIES, {"tokenizer_config.json": config(pad_token=END)}),
    "role-in-the-vocabulary": (STORIES, {"tokenizer_config.json": config(pad_token="▁cat")}),
    "special-tokens-map": (STORIES, {"tokenizer_config.json": config(), "special_tokens_map.json": {"pad_token": END, "eos_token": token(START, lstrip=True)}}),
    "special-tokens-map-beside-a-decoder": (STORIES, {"tokenizer_config.json": config(added_tokens_decoder=BASE), "special_tokens_map.json": {"pad_token": END}}),
    "more-special-tokens": (STORIES, {"tokenizer_config.json": config(additional_special_tokens=[START, END])}),
    "split-special-tokens": (STORIES, {"tokenizer_config.json": config(split_special_tokens=True)}),
    "mistral": (MISTRAL, {"tokenizer_config.json": config(added_tokens_decoder=BASE | {"32000": token(START), "32001": token(END, special=False)})}),
    "no-prefix-space": (STORIES, {"tokenizer_config.json": config(tokenizer_class="LlamaTokenizer", add_prefix_space=False, legacy=False)}),
}
# Of the classes of Llama, transformers builds the pipeline anew, by `legacy`. The tokens are the same unless a text begins with a
# blank or has special tokens.
LLAMA = {
    f"llama-legacy-{name}": (STORIES, {"tokenizer_config.json": config(tokenizer_class="LlamaTokenizer", **keys)})
    for name, keys in (("absent", {}), ("true", {"legacy": True}), ("false", {"legacy": False}))
}
PLAIN = ["A cat sat. The cat  at", "overheard a cat", "at cat sat"]
TEXTS = [CHAT, "A cat sat. </s> <s>The cat  </s>  at", "overheard a cat", f"{START} {END}", " at cat sat [PAD]"]


def tokens(base, files, texts):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(FIXTURES / base / "tokenizer.json", folder)
        for name, content in files.items():
            (Path(folder) / name).write_text(json.dumps(content))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return [{"text": text, "ids": tokenizer(text, add_special_tokens=False)["input_ids"]} for text in texts]


def released(folder):
    """The configurations of a folder, with texts of the tokens that they name."""
    for path in sorted(Path(folder).iterdir()):
        if not (path / "tokenizer_config.json").is_file():
            continue
        files = {file.name: json.loads(file.read_text()) for file in path.iterdir() if file.name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")}
        files["tokenizer_config.json"] |= {"tokenizer_class": "PreTrainedTokenizerFast"}
        files["tokenizer_config.json"].pop("chat_template", None)
        files["tokenizer_config.json"].pop("auto_map", None)
        named = [token["content"] for token in files["tokenizer_config.json"].get("added_tokens_decoder", {}).values()]
        yield path.name, STORIES, files, TEXTS + [f"A cat{named_token}  sat {named_token} at" for named_token in named]


def main():
    cases = [{"name": name, "base": base, "files": files, "texts": tokens(base, files, TEXTS)} for name, (base, files) in CASES.items()]
    cases += [{"name": name, "base": base, "files": files, "texts": tokens(base, files, PLAIN)} for name, (base, files) in LLAMA.items()]
    OUT.write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{OUT}: {len(cases)} cases")
    if len(sys.argv) > 2:
        more = [{"name": name, "base": base, "files": files, "texts": tokens(base, files, texts)} for name, base, files, texts in released(sys.argv[1])]
        Path(sys.argv[2]).write_text(json.dumps(more, ensure_ascii=False))
        print(f"{sys.argv[2]}: {len(more)} cases")


if __name__ == "__main__":
    main()
