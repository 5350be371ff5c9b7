"""Goldens of the Pile protocol's packing: SAELens's packing of small documents.

Writes tests/fixtures/packing.json: a list of cases, each with `name`, `bos`, `context_length`, `documents` (tokens, without the
BOS that packing adds) and `contexts`, the output of `concat_and_batch_sequences` with BOS as `begin_batch_token_id` and as
`sequence_separator_token_id`. An incomplete context at the end is dropped.

Run by scripts/goldens/run, with the versions in requirements.txt. A second run gives the same bytes.
"""

import json
from pathlib import Path

import torch
from sae_lens.tokenization_and_batching import concat_and_batch_sequences

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "fixtures" / "packing.json"
BOS = 1

# name, context length, documents
CASES = [
    ("nothing", 4, []),
    ("too short for one context", 8, [[10, 11], [20]]),
    ("a document over several contexts", 4, [[10, 11, 12], [20, 21, 22, 23, 24, 25, 26], [30]]),
    ("documents end with their contexts, nothing remains", 4, [[10, 11, 12], [20, 21, 22], [30, 31, 32, 33, 34, 35]]),
    ("the separator is a context's last token", 5, [[10, 11, 12], [20, 21], [30, 31, 32, 33, 34]]),
    ("one token is left after the separator", 5, [[10, 11], [20, 21, 22, 23, 24]]),
    ("documents begin with BOS already", 5, [[1, 10, 11], [1, 20, 21, 22, 23], [1, 30]]),
    ("a document with BOS already takes a context's last place", 4, [[10, 11], [1, 20, 21, 22]]),
    ("a document goes on with its own BOS", 5, [[10, 11, 12, 13, 1, 14, 15, 16]]),
    ("documents that are BOS alone", 4, [[1], [1], [10], [1], [20, 21]]),
    ("documents of one token", 4, [[10], [20], [30], [40], [50]]),
    ("the shortest context", 2, [[10, 11], [20], [1, 30]]),
]


def pack(context_length: int, documents: list[list[int]]) -> list[list[int]]:
    tokens = (torch.tensor(document) for document in documents)
    contexts = concat_and_batch_sequences(
        tokens, context_length, begin_batch_token_id=BOS, sequence_separator_token_id=BOS
    )
    return [context.tolist() for context in contexts]


def main() -> None:
    cases = [
        {"name": name, "bos": BOS, "context_length": length, "documents": documents, "contexts": pack(length, documents)}
        for name, length, documents in CASES
    ]
    OUT.write_text("[\n" + ",\n".join(f" {json.dumps(case)}" for case in cases) + "\n]\n")
    print(f"packing              {len(cases)} cases in {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
