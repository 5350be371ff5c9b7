"""Instruction–response pairs in Alpaca's schema, made from the documents and split like them.

Writes demo/instructions/train.jsonl.zst and demo/instructions/heldout.jsonl.
"""

import json
import random
from collections import Counter, defaultdict

import questions
import texts
import zstandard
from layout import INSTRUCTIONS, SEED

TRAIN_ROWS, HELD_OUT_ROWS = 12_000, 150
WITH_INPUT = 1 / 3
A_SUBSET_AT_MOST = 0.25  # of the rows; WordNet alone could supply them all


def choose(split: str, count: int) -> list[questions.Row]:
    """Rows of the split: a third with an input, no subset over its share, no instruction twice."""
    generator = random.Random(f"{SEED} {split}")
    found: dict[bool, list[tuple[str, questions.Row]]] = defaultdict(list)
    for document in texts.read(split):
        for row in questions.rows(document):
            found[bool(row["input"])].append((document.subset, row))
    chosen: list[questions.Row] = []
    for with_input, wanted in ((True, round(count * WITH_INPUT)), (False, count - round(count * WITH_INPUT))):
        candidates, taken, seen = found[with_input], Counter(), set()
        generator.shuffle(candidates)
        for subset, row in candidates:
            asked = (row["instruction"], row["input"])
            if sum(taken.values()) == wanted:
                break
            if asked not in seen and taken[subset] < wanted * A_SUBSET_AT_MOST:
                seen.add(asked)
                taken[subset] += 1
                chosen.append(row)
        print(f"{split}, {'with' if with_input else 'without'} input: {dict(taken)}")
    generator.shuffle(chosen)
    return chosen


def main() -> None:
    INSTRUCTIONS.mkdir(parents=True, exist_ok=True)
    lines = {
        split: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in choose(split, count)).encode()
        for split, count in (("train", TRAIN_ROWS), ("heldout", HELD_OUT_ROWS))
    }
    (INSTRUCTIONS / "train.jsonl.zst").write_bytes(zstandard.ZstdCompressor(level=19).compress(lines["train"]))
    (INSTRUCTIONS / "heldout.jsonl").write_bytes(lines["heldout"])


if __name__ == "__main__":
    main()
