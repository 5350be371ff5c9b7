"""A demo's caches as pyarrow reads them, and its results beside those of transformers and SAELens. A module without a main."""

from pathlib import Path

import pyarrow.parquet as pq
import torch
from evaluation import COLUMNS

COUNTS = ["loss_tokens", "activation_rows", "outlier_rows"]
TOLERANCE = 2e-4
TOLERANCE_L0 = 2e-3


def read_cache(cache: Path, column: str = "section") -> "tuple[list[torch.Tensor], list[list]]":
    """Tokens [pos], and a column of the table of tokens [pos], of each sequence, in the cache's order."""
    sequences, values = [], []
    for shard in sorted(Path(cache, "shards").glob("[0-9]*"), key=lambda path: int(path.name)):
        tokens = pq.read_table(shard / "tokens.parquet", columns=["token", column]).to_pydict()
        for row in pq.read_table(shard / "sequences.parquet").to_pylist():
            own = slice(row["first_row"], row["first_row"] + row["length"])
            sequences.append(torch.tensor(tokens["token"][own]))
            values.append(tokens[column][own])
    return sequences, values


def tolerance(column: str) -> float:
    if column in COUNTS:
        return 0
    return TOLERANCE_L0 if column == "l0" else TOLERANCE


def compare(name: str, result: dict, expected: dict) -> "tuple[int, float]":
    """Prints every cell of a result beside the expected one. Returns how many are beyond tolerance, and the largest difference of
    those that are neither counts nor L0."""
    cells, beyond, widest = [], 0, 0.0
    for column in COLUMNS + COUNTS:
        difference = abs(result[column] - expected[column])
        far = not difference <= tolerance(column)
        beyond += far
        widest = max(widest, 0 if column in COUNTS or column == "l0" else difference)
        cells.append(f"{column} {result[column]:.6g} (oracle {expected[column]:.6g}{', BEYOND' if far else ''})")
    print(f"{name}: " + "  ".join(cells), flush=True)
    return beyond, widest
