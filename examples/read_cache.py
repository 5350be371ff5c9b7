"""Reads activations from a cache, with pyarrow and numpy alone.

    python examples/read_cache.py CACHE SITE OUT.npy

As a module:

    from read_cache import read_activations, read_site, to_torch

    x = read_site("caches/stories", "blocks.3.hook_resid_pre")    # all shards: numpy, [tokens, d_model]
    t = to_torch(x)                                               # the same memory, bfloat16 where the cache has it
    for path in sorted(Path("caches/stories/shards").glob("*/blocks.3.hook_resid_pre.parquet")):
        x = read_activations(path)                                # a shard at a time

Rows are those of `tokens.parquet` beside each file, in order. The array's dtype is the cache's: float32 or float16. numpy
has no bfloat16, so a bf16 cache is returned as its bits in uint16: `to_torch` makes bfloat16 of them, and without torch
`(x.astype(numpy.uint32) << 16).view(numpy.float32)` is exact. Every codec is read: planes and raw bit for bit as the model
made them, int8 as the float32 numbers that it encodes.

Checksums are not verified: `store verify CACHE` does that, and so do programs that read caches through the store's library.
"""

import sys
from pathlib import Path

# docs/caches.md shows these lines; a test compares them.
import numpy as np, pyarrow.parquet as pq
def read_activations(path):  # of one shard, [rows, d_model]: float32 or float16; bfloat16 as its bits, uint16
    table = pq.read_table(path, partitioning=None)
    value = {b"f32": "<f4", b"f16": "<f2", b"bf16": "<u2"}[table.schema.metadata[b"hayloft.dtype"]]
    column = {name: np.frombuffer(b"".join(table[name].to_pylist()), "u1").reshape(len(table), -1) for name in table.column_names}
    if "exponent" not in column:  # raw has words, int8 has a scale and bytes
        return column["bits"].view(value) if "bits" in column else column["scale"].view("<f4") * column["quantised"].view("i1")
    exponent = column["exponent"][..., None]
    words = np.concatenate([column["mantissa"].reshape(*exponent.shape[:2], -1), exponent], -1).view(value.replace("f", "u"))[..., 0]
    return (words >> 1 | words << (8 * words.itemsize - 1)).view(value)  # planes are rotated left by one bit


def read_site(cache, site):
    """The activations of a site over all whole shards of a cache, in order: `[tokens, d_model]`."""
    # Absolute, because pyarrow takes a relative path with a colon for a URI.
    shards = Path(cache, "shards").resolve()
    paths = sorted(shards.glob(f"[0-9]*/{site}.parquet"), key=lambda path: int(path.parent.name))
    if not paths:
        raise FileNotFoundError(f"{cache} has no activations of {site}: no shards/NNNNN/{site}.parquet in it")
    return np.concatenate([read_activations(path) for path in paths])


def to_torch(values):
    """An array of `read_activations` as a tensor over the same memory; uint16, which is bfloat16's bits, as bfloat16."""
    import torch

    if values.dtype != np.uint16:
        return torch.from_numpy(values)
    return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: python examples/read_cache.py CACHE SITE OUT.npy")
    cache, site, out = sys.argv[1:]
    try:
        np.save(out, read_site(cache, site))
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
