#!/usr/bin/env python3
"""Files of made-up latents: small ones with hostile texts, ids alone, and an SAE of 131,072 latents.

    made_up_latents.py FOLDER      writes small/, ids/, large/, explanations.jsonl, and the names of both small SAEs

The columns are those of docs/latents.md, also those that only some passes write, by pyarrow's writer with its own
settings.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 7
NASTY = "</script><script>window.broken = 1</script>\u2028"
NASTY_IMAGE = "<img src=x onerror='window.broken = 1'>"
SMALL, LARGE, WINDOW = 40, 131_072, 17
SECTIONS = ("user_prompt", "rollout")


def lists(values: pa.Array, lengths: np.ndarray) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()), values)


def structs(lengths: np.ndarray, **fields: pa.Array) -> pa.Array:
    return lists(pa.StructArray.from_arrays(list(fields.values()), list(fields)), lengths)


def groups(random, name: str, names: tuple, firings: np.ndarray, tokens: int) -> pa.Array:
    """Firings spread over groups of equal size."""
    kind = pa.uint32() if name == "turn" else pa.string()
    shares = random.dirichlet(np.ones(len(names)), len(firings))
    own = np.minimum((shares * firings[:, None]).astype(np.uint64), tokens // len(names))
    flat = own.reshape(-1)
    lengths = np.full(len(firings), len(names))
    return structs(
        lengths,
        **{
            name: pa.array(list(names) * len(firings), kind),
            "tokens": pa.array(np.full(flat.size, tokens // len(names)), pa.uint64()),
            "firings": pa.array(flat, pa.uint64()),
            "density": pa.array(flat / (tokens // len(names))),
        },
    )


def latents(random, sae: str, width: int, subsets: tuple, texts: np.ndarray) -> pa.Table:
    tokens = 1_000_000
    firings = np.minimum(10 ** random.uniform(0, 5, width), tokens).astype(np.uint64)
    firings[3] = 0
    fires = firings > 0
    largest = random.uniform(1, 20, width).astype(np.float32)
    bins = np.arange(12)
    begin = np.float32(2.0) ** (bins / 2 - 4).astype(np.float32)
    counts = random.integers(1, 1000, (width, 12)).astype(np.uint64)
    lengths = np.where(fires, 12, 0)
    used = np.repeat(fires, 12)
    five = np.full(width, 5)
    others = random.integers(0, width, 5 * width)
    effects = {
        "token": pa.array(random.integers(0, len(texts), 5 * width), pa.uint32()),
        "effect": pa.array(random.uniform(0, 3, 5 * width), pa.float32()),
        "text": pa.array(texts[random.integers(0, len(texts), 5 * width)]),
    }
    columns = {
        "sae": pa.array([sae] * width),
        "latent": pa.array(np.arange(width), pa.uint32()),
        "tokens": pa.array(np.full(width, tokens), pa.uint64()),
        "firings": pa.array(firings),
        "density": pa.array(firings / tokens),
        "mean": pa.array(largest / 3, pa.float64(), mask=~fires),
        "max": pa.array(largest, mask=~fires),
    }
    for name, share in {"p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99}.items():
        columns[name] = pa.array(largest * share, pa.float64(), mask=~fires)
    columns["histogram"] = structs(
        lengths,
        **{
            "from": pa.array(np.tile(begin, width)[used]),
            "to": pa.array(np.tile(np.append(begin[1:], begin[-1] * 1.4), width)[used].astype(np.float32)),
            "count": pa.array(counts.reshape(-1)[used]),
        },
    )
    columns["sections"] = groups(random, "section", SECTIONS, firings, tokens)
    columns["subsets"] = groups(random, "subset", subsets, firings, tokens)
    columns["turns"] = groups(random, "turn", (0, 1), firings, tokens)
    columns["nearest"] = structs(
        five,
        latent=pa.array(others, pa.uint32()),
        cosine=pa.array(random.uniform(0, 1, 5 * width), pa.float32()),
    )
    columns["cofiring"] = structs(
        five,
        latent=pa.array(others, pa.uint32()),
        together=pa.array(np.full(5 * width, 10), pa.uint64()),
        jaccard=pa.array(random.uniform(0, 1, 5 * width)),
    )
    columns["logits_raised"] = structs(five, **effects)
    columns["logits_lowered"] = structs(five, **effects)
    columns["ablation"] = pa.StructArray.from_arrays(
        [pa.array(firings), pa.array(random.normal(0, 0.1, width))], ["tokens", "ce_delta"], mask=pa.array(~fires)
    )
    return pa.table(columns)


def examples(random, sae: str, width: int, each: int, subsets: tuple, texts: np.ndarray | None) -> pa.Table:
    """Top and sampled examples, so many of either kind, of all latents but the one that never fires."""
    own = np.delete(np.arange(width), 3)
    rows = len(own) * 2 * each
    vocabulary = len(texts) if texts is not None else 5000
    tokens = random.integers(0, vocabulary, (rows, WINDOW))
    # A latent fires at one token more often than at others.
    tokens[:, WINDOW // 2] = (np.repeat(own, 2 * each) * 7 + (random.random(rows) < 0.3)) % vocabulary
    fires = random.random((rows, WINDOW)) < 0.08
    activations = np.where(fires, random.random((rows, WINDOW)) * 2, 0).astype(np.float32)
    activations[:, WINDOW // 2] = 3
    # At some first tokens the SAE was not run.
    unread = np.zeros((rows, WINDOW), bool)
    unread[:, 0] = random.random(rows) < 0.05
    lengths = np.full(rows, WINDOW)
    columns = {
        "sae": pa.array([sae] * rows),
        "latent": pa.array(np.repeat(own, 2 * each), pa.uint32()),
        "kind": pa.array((["top"] * each + ["sampled"] * each) * len(own)),
        "rank": pa.array(np.tile(np.arange(each), 2 * len(own)), pa.uint32()),
        "activation": pa.array(activations[:, WINDOW // 2]),
        "sequence": pa.array(random.integers(0, 9999, rows), pa.uint64()),
        "position": pa.array(np.full(rows, 20), pa.uint32()),
        "token": pa.array(tokens[:, WINDOW // 2], pa.uint32()),
        "section": pa.array([SECTIONS[1]] * rows),
        "document": pa.array(random.integers(0, 999, rows), pa.uint64()),
        "subset": pa.array([subsets[0]] * rows),
        "turn": pa.array(np.zeros(rows), pa.uint32()),
        "first_position": pa.array(np.full(rows, 20 - WINDOW // 2), pa.uint32()),
        "tokens": lists(pa.array(tokens.reshape(-1), pa.uint32()), lengths),
        "activations": lists(pa.array(activations.reshape(-1), mask=unread.reshape(-1)), lengths),
    }
    if texts is not None:
        columns["texts"] = lists(pa.array(texts).take(pa.array(tokens.reshape(-1))), lengths)
    return pa.table(columns)


def write(folder: Path, tables: list[tuple[pa.Table, pa.Table]]) -> None:
    folder.mkdir()
    for name, parts in zip(("latents", "examples"), zip(*tables)):
        pq.write_table(pa.concat_tables(parts), folder / f"{name}.parquet", compression="zstd", row_group_size=8192)


def main() -> None:
    folder = Path(sys.argv[1])
    random = np.random.default_rng(SEED)
    nasty = np.array(["Ġthe", "Ċ", NASTY, NASTY_IMAGE, "Ġhay", "Ã©", "<b>bold</b>"])
    subsets = (NASTY_IMAGE, "Pile-CC", None)
    names = [f"{NASTY}nasty", "plain"]
    small = []
    for name in names:
        table = latents(random, name, SMALL, subsets, nasty)
        small.append((table, examples(random, name, SMALL, 3, subsets, nasty)))
    write(folder / "small", small)
    lines = [
        {"sae": names[0], "latent": 5, "explanation": f"hay {NASTY}{NASTY_IMAGE}", "author": NASTY, "score": 0.5},
        {"sae": "plain", "latent": 7, "explanation": "barns"},
    ]
    (folder / "explanations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "compare").write_text("=".join(names))
    bare = latents(random, "ids", SMALL, subsets, nasty)
    bare = bare.drop_columns(["mean", "nearest", "logits_raised", "logits_lowered", "ablation"])
    write(folder / "ids", [(bare, examples(random, "ids", SMALL, 2, subsets, None))])
    words = np.array([f"Ġword{number}" if number % 3 else f"part{number}" for number in range(50_000)])
    large = latents(random, "large", LARGE, ("a", "b"), words), examples(random, "large", LARGE, 5, ("a", "b"), words)
    write(folder / "large", [large])


if __name__ == "__main__":
    main()
