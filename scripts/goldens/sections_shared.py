"""Goldens of scripts/check-shared-data: what sections.py makes, of data that may not be passed on with the project.

Writes to tests/fixtures/sections/ what says nothing of that data but lengths, hashes and how made-up instructions are rendered:

- `rollouts-mistral.json`: tokens and sections of the study's Mistral conversations on Alpaca.
- `template-gemma.json`: what `apply_chat_template` of transformers makes of Gemma's chat template.

Run by scripts/goldens/run, last, with the versions in requirements.txt. Ends with 1 where the data is absent.
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
