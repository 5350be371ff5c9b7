"""The caches for crosscoders: what the public trainers, and torch's data sets around them, ask of theirs."""

import json

import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset

import hayloft as hl
from hayloft.trainers.crosscoder import ActivationCache, PairedActivationCache
from trainer_parts.common import BATCH, BUFFER, D_MODEL, SITE, SITES, check, refusal


def run(caches):
    first, second = (caches.harvested(model)[SITE] for model in ("base", "chat"))
    left, right = first.numpy(), second.numpy()
    pair, both = PairedActivationCache(first, second), np.stack([left, right], 1)
    differ = not np.array_equal(left, right)
    check(len(pair) == len(both) == 65536 and differ, f"a pair of {len(pair)} rows of two models")
    rows_by_number(pair, both)
    tables(pair, first.cache.tokens.arrow())
    statistics(pair, both)
    loaders(pair, both)
    batches(pair, both, first)
    narrow = ActivationCache(caches.harvested("base", "bf16")[SITE])
    check(narrow[0].dtype == torch.float32, "rows of a bfloat16 cache are float32")
    other = caches.folder / "part"
    caches.run("store", "select", caches.harvested("base", sites=SITES).place, "--out", other, "--shards", "0..1")
    told = refusal(PairedActivationCache, first, hl.open(other)[SITE])
    check("as many rows" in told, f"another number of rows is refused: {told}")


def equal(tensor, array):
    return tuple(tensor.shape) == array.shape and np.array_equal(tensor.numpy(), array)


def close(tensor, array):
    return np.allclose(tensor.double().numpy(), array, rtol=1e-5, atol=1e-6)


def rows_by_number(pair, both):
    items = [(5, 5), (-1, -1), (torch.tensor(70), 70), (slice(3, 9), slice(3, 9)), (slice(0, 40000, 999),) * 2]
    are_equal = all(equal(pair[given], both[of]) for given, of in items)
    check(are_equal, "rows by number, scalar tensor and slice: [2, d] and [rows, 2, d]")
    are_equal = all(equal(pair.activation_cache_2[given], both[of, 1]) for given, of in items)
    check(are_equal, "the same of one cache: [d] and [rows, d]")


def tables(pair, table):
    tokens, starts = table["token"].to_numpy(), np.flatnonzero(table["position"].to_numpy() == 0)
    check(equal(pair.tokens, np.stack([tokens, tokens])), "tokens [2, rows]")
    ranges = np.append(starts, len(tokens))
    check(equal(pair.sequence_ranges, ranges), f"the first rows of {len(starts)} sequences, and the end")
    config = json.loads(json.dumps(pair.activation_cache_1.config))
    read = {name: config[name] for name in ("total_size", "d_model", "shuffle_shards", "shard_size")}
    expected = {"total_size": len(tokens), "d_model": D_MODEL, "shuffle_shards": False, "shard_size": 16384}
    check(read == expected, f"config {read}")


def statistics(pair, both):
    """A normaliser of several caches merges their statistics, and takes the population's deviation."""
    merged = pair.activation_cache_1.running_stats
    merged.merge(pair.activation_cache_2.running_stats)
    wide = both.astype(np.float64)
    rows = wide.reshape(-1, D_MODEL)
    are_close = close(merged.mean, rows.mean(0)) and close(merged.std(unbiased=False), rows.std(0))
    check(merged.n == len(rows) and are_close, "merged statistics are those of numpy in float64")
    check(pair.activation_cache_1.running_stats.n == len(pair), "merging changes no cache")
    are_close = close(pair.mean, wide.mean(0)) and close(pair.std, wide.std(0, ddof=1))
    check(are_close, "mean and std [2, d] are those of numpy in float64")


def loaders(pair, both):
    """Parts of two data sets, in another order, in a loader with workers and without."""
    half = len(pair) // 2
    dataset = ConcatDataset([Subset(pair, torch.arange(0, half)), Subset(pair, torch.arange(half, len(pair)))])
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:1000]
    loader = DataLoader(Subset(dataset, order), batch_size=500, num_workers=2, multiprocessing_context="spawn")
    are_equal = dataset[0].shape == (2, D_MODEL) and equal(torch.cat(list(loader)), both[order])
    check(are_equal, "a DataLoader with two workers over a ConcatDataset of Subsets")
    loader = DataLoader(Subset(pair, order), batch_size=500)
    check(equal(torch.cat(list(loader)), both[order]), "a DataLoader over a Subset, which reads a batch at once")


def batches(pair, both, first):
    choice = {"shuffle": 4, "buffer_rows": BUFFER, "exclude": "bos"}
    data = pair.batches(BATCH, **choice)
    numbers = np.concatenate([rows for _, rows in first.batches(BATCH, with_rows=True, **choice)])
    are_equal = all(equal(torch.cat(list(data)), both[numbers]) for _ in range(2))
    told = f"{len(data)} batches [{BATCH}, 2, d] in the order of one site, the same each time that they are iterated"
    check(len(data) == -(-len(numbers) // BATCH) and are_equal, told)
    json.dumps(data.config)
    pairs = list(pair.batches(BATCH, with_rows=True, **choice))
    are_those = np.array_equal(torch.cat([rows for _, rows in pairs]), numbers)
    check(are_those and all(equal(rows, both[of]) for rows, of in pairs), "the same with row numbers")
