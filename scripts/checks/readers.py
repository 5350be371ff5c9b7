#!/usr/bin/env python3
"""Harvests one model with each codec and dtype, and opens every file of the caches and of `evaluate latents` with
pyarrow, DuckDB and Polars.

Proves: caches and files of latents open in pyarrow, DuckDB and Polars, with the same rows and values
Needs: readers environment, LibTorch
Takes: a minute

  scripts/check readers [--programs DIR]     built programs [default: builds them in debug]

Passes if all three give the same rows and values, if examples/read_cache.py gives the residuals entering block 0 bit for bit as the
rows of the checkpoint's embedding and the same bits from every lossless codec, and if the manifest's means are those of the rows.
"""

import json
import sys
import tempfile
from pathlib import Path

import environment
import programs

ROOT = Path(__file__).resolve().parents[2]
environment.enter("readers")
sys.path.append(str(ROOT / "examples"))

import duckdb  # noqa: E402
import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from read_cache import read_site  # noqa: E402

MODEL = ROOT / "tests/fixtures/tiny-llama"
DTYPES, CODECS = ["f32", "bf16", "f16"], ["planes", "planes:9", "raw", "int8"]
# Small shards and row groups, so that there are several to join.
CUTTING = ["--shard-tokens", 2048, "--row-group-rows", 512]
SITES = ["blocks.0.hook_resid_pre", "blocks.1.hook_resid_pre"]
failures = []


def check(holds, message):
    if not holds:
        failures.append(message)
        print(f"FAILED {message}", file=sys.stderr)


def by_pyarrow(path):
    return pq.read_table(path, partitioning=None).to_pydict()


def by_duckdb(path):
    relation = duckdb.sql("select * from read_parquet(?)", params=[str(path)])
    return dict(zip(relation.columns, map(list, zip(*relation.fetchall()))))


def by_polars(path):
    return pl.read_parquet(path).to_dict(as_series=False)


def same(left, right):
    """Equal, column by column and value by value; a NaN equals itself."""
    equal = lambda a, b: a == b or (a != a and b != b)
    return left.keys() == right.keys() and all(
        len(left[name]) == len(right[name]) and all(map(equal, left[name], right[name])) for name in left
    )


def embedding(weights, dtype):
    """The checkpoint's float32 embedding [vocab, d_model] in the dtype, rounded to nearest even; bf16 as its bits."""
    start = 8 + int.from_bytes(weights[:8], "little")
    entry = json.loads(weights[8:start])["model.embed_tokens.weight"]
    begin, end = (start + offset for offset in entry["data_offsets"])
    values = np.frombuffer(weights[begin:end], "<f4").reshape(entry["shape"])
    if dtype == "bf16":
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return values if dtype == "f32" else values.astype(np.float16)


def widened(values):
    return (values.astype(np.uint32) << 16).view(np.float32) if values.dtype == np.uint16 else values.astype(np.float32)


def bits(values):
    return values.view(f"u{values.itemsize}")


def check_readers(path):
    """Reads a file with every reader; returns pyarrow's columns."""
    expected = by_pyarrow(path)
    for name, reader in [("DuckDB", by_duckdb), ("Polars", by_polars)]:
        check(same(expected, reader(path)), f"{path}: {name} and pyarrow read different values")
    return expected


def check_files(cache):
    """Reads every file of a cache with every reader; returns the number of files and of values compared."""
    paths = sorted(cache.rglob("*.parquet"))
    manifest = json.loads((cache / "manifest.json").read_text())
    rows = {path: 0 for path in paths}
    for shard in manifest["shards"]:
        for file in shard["files"][1:]:
            table = "sequences" if file["path"] == "sequences.parquet" else "tokens"
            rows[cache / shard["path"] / file["path"]] = shard["counts"][table]
    values = 0
    for path in paths:
        expected = check_readers(path)
        values += sum(len(column) for column in expected.values())
        counts = {len(column) for column in expected.values()}
        check(len(counts) == 1 and (not rows[path] or counts == {rows[path]}), f"{path}: rows {counts}")
    # All shards at once, by a pattern.
    counted = duckdb.sql(f"select count(*) from read_parquet('{cache}/shards/*/tokens.parquet')").fetchall()[0][0]
    check(counted == manifest["held"]["tokens"], f"{cache}: DuckDB counts {counted} tokens over all shards")
    return len(paths), values


def check_means(cache):
    """Compares the manifest's sums with the decoded rows, in float64."""
    manifest = json.loads((cache / "manifest.json").read_text())
    shards = [cache / shard["path"] for shard in manifest["shards"]]
    for site in manifest["sites"]:
        x = widened(read_site(cache, site["name"])).astype(np.float64)
        norms = np.linalg.norm(x, axis=1)
        tables = [pq.read_table(shard / "tokens.parquet") for shard in shards]
        stored = np.concatenate([table[f"residual_norm.{site['name']}"].to_numpy() for table in tables])
        check(x.shape == (site["rows"], site["d_model"]), f"{cache}: {site['name']} is {x.shape}")
        check(np.isclose(norms.mean(), site["mean_norm"], rtol=1e-12), f"{cache}: mean norm of {site['name']}")
        check(np.allclose(x.mean(axis=0), site["mean"], rtol=1e-11, atol=1e-13), f"{cache}: mean of {site['name']}")
        check(np.array_equal(norms.astype(np.float32), stored), f"{cache}: norms of {site['name']}")


def check_rounding(cache, lossless, site):
    """Checks that rows of int8 are within half a scale of the unrounded rows, and that the sums are of the unrounded ones."""
    rounded, given = read_site(cache, site), widened(read_site(lossless, site))
    half = np.abs(given).max(axis=1, keepdims=True) / 127 / 2
    check(rounded.dtype == np.float32 and rounded.shape == given.shape, f"{cache}: {rounded.dtype} {rounded.shape}")
    check((np.abs(rounded - given) <= half * (1 + 1e-5)).all(), f"{cache}: {site} is further off than half a scale")
    means = lambda folder: [
        (record["mean_norm"], record["mean"])
        for record in json.loads((folder / "manifest.json").read_text())["sites"]
        if record["name"] == site
    ]
    check(means(cache) == means(lossless), f"{cache}: the means of {site} are not those of the unrounded values")
    return float(np.abs(rounded - given).max())


def harvest(built, folder):
    """A cache DTYPE-CODEC for each dtype and codec."""
    source = ["--model", MODEL, "--data", ROOT / "data-manifests/tiny-llama.toml"]
    sites = [word for site in SITES for word in ("--site", site)]
    for dtype in DTYPES:
        for codec in CODECS:
            how = ["--codec", codec, "--dtype", dtype, *CUTTING]
            programs.quietly(built / "harvest", "run", *source, *sites, *how, "--out", folder / f"{dtype}-{codec}")


def compare(folder):
    """Compares the readers, and prints a line for each cache."""
    weights = (MODEL / "model.safetensors").read_bytes()
    for dtype in DTYPES:
        rounded = folder / f"{dtype}-int8"
        caches = sorted(cache for cache in folder.glob(f"{dtype}-*") if cache != rounded)
        shards = sorted((caches[0] / "shards").glob("[0-9]*"))
        tokens = np.concatenate([pq.read_table(shard / "tokens.parquet")["token"].to_numpy() for shard in shards])
        first = None
        for cache in caches:
            files, values = check_files(cache)
            check_means(cache)
            below, above = (read_site(cache, site) for site in SITES)
            first = above if first is None else first
            pairs = [("the embedding", embedding(weights, dtype)[tokens], below), (caches[0].name, first, above)]
            equal = sum(int((bits(a) == bits(b)).sum()) if a.shape == b.shape else 0 for _, a, b in pairs)
            for name, a, b in pairs:
                check(
                    a.dtype == b.dtype and a.shape == b.shape and np.array_equal(bits(a), bits(b)),
                    f"{cache.name} and {name} differ: expected {a.dtype} {a.shape}, got {b.dtype} {b.shape}",
                )
            total = sum(a.size for _, a, _ in pairs)
            print(
                f"{cache.name}: {files} files, {values} values alike in pyarrow, DuckDB and Polars; "
                f"{equal} of {total} words equal, over {len(shards)} shards"
            )
        files, values = check_files(rounded)
        furthest = max(check_rounding(rounded, caches[0], site) for site in SITES)
        print(f"{rounded.name}: {files} files, {values} values alike; at most {furthest:.3g} from the unrounded values")


def check_latents(built, folder):
    """Reads the files of `evaluate latents`, whose columns have lists of structures, with every reader."""
    out = folder / "latents"
    words = ["--cache", folder / "f32-raw", "--sae", MODEL / "sae", "--tokenizer", MODEL, "--out", out]
    programs.quietly(built / "evaluate", "latents", *words)
    columns = {name: check_readers(out / f"{name}.parquet") for name in ("latents", "examples")}
    fired = sum(group["firings"] for groups in columns["latents"]["sections"] for group in groups)
    check(fired == sum(columns["latents"]["firings"]) > 0, f"{out}: {fired} firings in all sections")
    longest = max(map(len, columns["examples"]["texts"]))
    latents, examples = (len(own["sae"]) for own in columns.values())
    print(f"latents: {latents} latents, {examples} examples of up to {longest} tokens alike")


def main():
    built = programs.asked(__doc__, *programs.ALL_TARGETS)
    with tempfile.TemporaryDirectory(prefix="hayloft-readers-") as folder:
        harvest(built, Path(folder))
        compare(Path(folder))
        check_latents(built, Path(folder))
    if failures:
        sys.exit(f"{len(failures)} failures")
    print("every file opens in all three readers, with the same values")


if __name__ == "__main__":
    main()
