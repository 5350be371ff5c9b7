#!/usr/bin/env python3
"""Prints three latents with the contexts of their largest activations.

    demo/smollm2/latents.py DIR      DIR: the output of `evaluate latents --tokenizer`

Of the latents that fire at 0.05% to 1% of tokens, those whose ten largest activations are at eight or more different tokens (so
that none marks a single token), and of these the three whose maximum is the largest multiple of their median.
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq
from tokenizers import decoders

DENSITY = 0.0005, 0.01
TOP, DIFFERENT, SHOWN, LATENTS = 10, 8, 4, 3
BEFORE, AFTER = 48, 24  # characters of a context
LATENT_COLUMNS = ["latent", "density", "max", "p50"]
EXAMPLE_COLUMNS = ["latent", "rank", "token", "activation", "subset", "position", "first_position", "texts"]


def context(example: dict) -> str:
    """One line, with the token at which the latent fires in brackets."""
    at = example["position"] - example["first_position"]
    decoder = decoders.ByteLevel()
    before, token, after = (
        decoder.decode(part).replace("\n", "⏎").replace("\t", " ")
        for part in (example["texts"][:at], example["texts"][at : at + 1], example["texts"][at + 1 :])
    )
    return f"{before[-BEFORE:]:>{BEFORE}}[{token}]{after[:AFTER]}"


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__.strip())
    folder = Path(sys.argv[1])
    low, high = DENSITY
    latents = {
        row["latent"]: row
        for row in pq.read_table(folder / "latents.parquet", columns=LATENT_COLUMNS).to_pylist()
        if row["density"] is not None and low <= row["density"] <= high
    }
    kept = [("kind", "=", "top"), ("rank", "<", TOP)]
    top: dict[int, list[dict]] = {}
    for row in pq.read_table(folder / "examples.parquet", columns=EXAMPLE_COLUMNS, filters=kept).to_pylist():
        top.setdefault(row["latent"], []).append(row)
    chosen = [number for number in latents if len({row["token"] for row in top[number]}) >= DIFFERENT]
    chosen.sort(key=lambda number: -latents[number]["max"] / latents[number]["p50"])
    for number in chosen[:LATENTS]:
        row = latents[number]
        print(f"\nlatent {number}: at {row['density']:.2%} of tokens, median {row['p50']:.1f}, largest {row['max']:.1f}")
        for example in top[number][:SHOWN]:
            print(f"  {example['activation']:5.1f}  {example['subset'] or '':<11} {context(example)}")


if __name__ == "__main__":
    main()
