#!/usr/bin/env python3
"""A reader of caches on examples/read_cache.py and pyarrow. It verifies no checksums. README.md says what it prints.

python store/conformance/read_with_pyarrow.py CACHE
"""

import hashlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples"))
from read_cache import read_activations  # noqa: E402

TOKENS = ["sequence", "position", "token", "section", "document", "subset"]


def finite(values):
    return [value if value is not None and math.isfinite(value) else None for value in values]


def rows(path, dtype, codec):
    values = read_activations(path)
    if codec == "int8":
        dtype, values = "f32", np.where(np.isnan(values), np.float32(np.nan), values)
    sha256 = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    return {"dtype": dtype, "shape": list(values.shape), "sha256": sha256}


def predictions(table, kept):
    made = {name: finite(table[name]) for name in ("loss", "logsumexp", "entropy")}
    if kept["top_k"]:
        made["top_ids"] = [np.frombuffer(value, "<u4").tolist() for value in table["top_ids"]]
        made["top_logits"] = [finite(np.frombuffer(value, "<f4").tolist()) for value in table["top_logits"]]
    return made


def shard(folder, index):
    settings = json.loads((folder / "shard.json").read_text())["settings"]
    table = pq.read_table(folder / "tokens.parquet", partitioning=None).to_pydict()
    kept, stored = settings["predictions"], (settings["dtype"], settings["codec"])
    return settings, {
        "index": index,
        "sequences": pq.read_table(folder / "sequences.parquet", partitioning=None).to_pylist(),
        "tokens": {name: table[name] for name in TOKENS},
        "predictions": predictions(table, kept) if kept else None,
        "residual_norms": {site: finite(table[f"residual_norm.{site}"]) for site in settings["sites"]},
        "activations": {site: rows(folder / f"{site}.parquet", *stored) for site in settings["sites"]},
        "logits": rows(folder / "logits.parquet", *stored) if kept and kept["full_logits"] else None,
    }


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: read_with_pyarrow.py CACHE")
    cache = Path(sys.argv[1])
    manifest = json.loads((cache / "manifest.json").read_text())
    shards = [shard(cache / entry["path"], entry["index"]) for entry in manifest["shards"]]
    head = {"format": manifest["format"], "corpus": manifest["corpus"], "settings": shards[0][0]}
    print(json.dumps(head | {"shards": [contents for _, contents in shards]}))


if __name__ == "__main__":
    main()
