"""Goldens of `scripts/check shared-data`: the outputs of sections.py for data that may not be redistributed.

Writes to tests/fixtures/sections/ only lengths, hashes and renderings of synthetic instructions:

- `rollouts-mistral.json`: tokens and sections of the study's Mistral conversations on Alpaca.
- `template-gemma.json`: the output of transformers' `apply_chat_template` for Gemma's chat template.

Run last by scripts/goldens/run, with the versions in requirements.txt. Ends with 1 if the data is absent.
"""

import json
import sys

from sections import ROOT, mistral_conversations, rendered, write

DATA = ROOT.parent / "shared" / "data"
ALPACA = DATA / "alpaca" / "rollouts-mistral.jsonl"
GEMMA = DATA / "tokenizers" / "gemma-2b-it-tokenizer-config" / "tokenizer_config.json"


def main() -> None:
    for path in (ALPACA, GEMMA):
        if not path.is_file():
            sys.exit(f"error: {path}: expected the file, got none. All other goldens are made; these two stay as they are")
    write("rollouts-mistral.json", mistral_conversations(ALPACA))
    template = json.loads(GEMMA.read_text())["chat_template"]
    write("template-gemma.json", rendered({"name": "gemma", "bos_token": "<bos>", "eos_token": "<eos>"}, template))


if __name__ == "__main__":
    main()
