"""Reads a site's activations out of a cache with pyarrow and numpy alone.

    python scripts/read_cache.py CACHE SITE OUT.npy

Writes the bits of every row in the cache's order, [rows, d_model]: uint32 for an f32 cache, whose floats are
`bits.view(numpy.float32)`; uint16 for f16 (`bits.view(numpy.float16)`) and for bf16, a type that numpy lacks
(`(bits.astype(numpy.uint32) << 16).view(numpy.float32)`).
"""

import sys
from pathlib import Path

# The README shows these lines, and a test holds it to them.
import numpy as np, pyarrow.parquet as pq
def read_activations(path):  # bits of one shard, [rows, d_model]: uint32 for f32, uint16 for bf16 and f16
    table = pq.read_table(path, partitioning=None)
    about, rows = table.schema.metadata, len(table)
    width, raw = 4 if about[b"hayloft.dtype"] == b"f32" else 2, about[b"hayloft.codec"] == b"raw"
    load = lambda name: np.frombuffer(b"".join(table[name].to_pylist()), "u1").reshape(rows, int(about[b"hayloft.d_model"]), -1)
    parts = [load("bits")] if raw else [load("mantissa"), load("exponent")]
    words = np.concatenate(parts, axis=-1).view(f"<u{width}")[..., 0]
    return words if raw else words >> 1 | words << (8 * width - 1)  # planes are rotated left by one bit


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: python scripts/read_cache.py CACHE SITE OUT.npy")
    cache, site, out = sys.argv[1:]
    paths = sorted(Path(cache, "shards").glob(f"[0-9]*/{site}.parquet"), key=lambda path: int(path.parent.name))
    if not paths:
        sys.exit(f"error: {cache} has no activations of {site}: no shards/NNNNN/{site}.parquet in it")
    np.save(out, np.concatenate([read_activations(path) for path in paths]))


if __name__ == "__main__":
    main()
