"""Would `planes` be smaller with each dimension's typical exponent subtracted first?

    python scripts/benchmark/exponent_offsets.py CACHE [CACHE ...]

For the first 4,096 rows of each site, as stored and, if stored as float32, also rounded to bfloat16: bits an exponent byte takes
as it is and less its dimension's median, by entropy (the bound of an ideal coder of single bytes) and by ZSTD level 1 in pages of
256 KiB (the median of each dimension is from the same rows, and its cost not counted), and the reduction of the file's size.
Needs pyarrow and numpy.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples"))
from read_cache import read_activations

ROWS = 4096
PAGE_BYTES = 256 << 10


def entropy(page):
    counts = np.bincount(page.ravel(), minlength=256)
    shares = counts[counts > 0] / page.size
    return -(shares * np.log2(shares)).sum()


def pages(exponents):
    rows = max(1, PAGE_BYTES // exponents.shape[1])
    return [exponents[start : start + rows] for start in range(0, len(exponents), rows)]


def bits_by_entropy(exponents):
    return sum(entropy(page) * page.size for page in pages(exponents)) / exponents.size


def bits_by_zstd(exponents):
    codec = pa.Codec("zstd", 1)
    return sum(len(codec.compress(page.tobytes())) for page in pages(exponents)) * 8 / exponents.size


def versions(words, dtype):
    """The rows' exponent bytes and the number of other bits of an element, for each dtype."""
    if dtype == "f32":
        yield "f32", (words << 1 >> 24).astype(np.uint8), 24
        words, dtype = (words + 0x7FFF + (words >> 16 & 1) >> 16).astype(np.uint16), "bf16"
    yield dtype, (np.left_shift(words, 1) >> 8).astype(np.uint8), 8


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    for cache in map(Path, sys.argv[1:]):
        manifest = json.loads((cache / "manifest.json").read_text())
        for site in manifest["sites"]:
            shard = cache / manifest["shards"][0]["path"]
            values = read_activations(shard / f"{site['name']}.parquet")[:ROWS]
            words = values.view(f"u{values.itemsize}")
            for dtype, exponents, rest in versions(words, manifest["dtype"]):
                offsets = np.rint(np.median(exponents, axis=0)).astype(np.uint8)
                shifted = exponents - offsets + np.uint8(128)
                figures = []
                for name, bits in (("entropy", bits_by_entropy), ("zstd", bits_by_zstd)):
                    before, after = bits(exponents), bits(shifted)
                    gain = 1 - (after + rest) / (before + rest)
                    figures.append(f"{name} {before:.3f} -> {after:.3f} bits, file {gain:+.2%} smaller")
                print(f"{cache.name} {site['name']} {dtype}, d_model {site['d_model']}: {'; '.join(figures)}")


if __name__ == "__main__":
    main()
