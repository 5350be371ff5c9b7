"""The caches that trainers of crosscoders take: ``ActivationCache`` and ``PairedActivationCache``, by their methods.

These are the classes of ``dictionary_learning/cache.py`` in the forks of dictionary_learning that train crosscoders,
such as science-of-finetuning/crosscoder_learning, over a site of a cache instead of memory maps. They have what the
trainers, and torch's Subset, ConcatDataset and DataLoader around them, call and read. Code that asks for those classes
by ``isinstance`` does not take them.
"""

import functools
import math

import numpy as np

from hayloft._activations import Activations
from hayloft._aligned import AlignedBatches
from hayloft._errors import Error
from hayloft._formats import import_torch

torch = import_torch()
STATISTICS_BATCH = 65536
"""Rows that are read at a time for mean and standard deviation."""


class RunningStatistics:
    """Number, mean and sum of squared deviations of rows, ``[d_model]`` in float64, which :meth:`merge` adds up."""

    def __init__(self, d_model: int) -> None:
        self.count = torch.tensor(0)
        self.mean = torch.zeros(d_model, dtype=torch.float64)
        self.M2 = torch.zeros(d_model, dtype=torch.float64)

    @property
    def n(self) -> int:
        """The number of rows."""
        return int(self.count)

    def update(self, rows: "torch.Tensor") -> None:
        """Adds rows ``[rows, d_model]``."""
        added = RunningStatistics(rows.shape[1])
        rows = rows.double()
        added.count = torch.tensor(len(rows))
        added.mean = rows.mean(0)
        added.M2 = (rows - added.mean).square().sum(0)
        self.merge(added)

    def merge(self, other: "RunningStatistics") -> None:
        """Adds the rows of another: Chan, Golub and LeVeque 1979."""
        count = self.count + other.count
        if count > 0:
            distance = other.mean - self.mean
            self.mean = self.mean + distance * other.count / count
            self.M2 = self.M2 + other.M2 + distance.square() * self.count * other.count / count
        self.count = count

    def var(self, unbiased: bool = True) -> "torch.Tensor":
        """The variance, NaN of fewer rows than it needs."""
        divisor = self.n - int(unbiased)
        return self.M2 / divisor if divisor > 0 else torch.full_like(self.M2, math.nan)

    def std(self, unbiased: bool = True) -> "torch.Tensor":
        """The standard deviation."""
        return self.var(unbiased).sqrt()


class ActivationCache(torch.utils.data.Dataset):
    """One site of a cache: ``cache[i]`` is ``[d_model]``, ``cache[a:b]`` is ``[rows, d_model]``, as ``dtype``."""

    def __init__(self, acts: Activations, dtype: "torch.dtype" = torch.float32) -> None:
        self.acts, self.dtype = acts.with_format("torch"), dtype

    def __len__(self) -> int:
        return len(self.acts)

    def __getitem__(self, index) -> "torch.Tensor":
        return self.acts[index].to(self.dtype)

    def __getitems__(self, indices) -> "list[torch.Tensor]":
        return list(self[[int(index) for index in indices]])

    @property
    def config(self) -> dict:
        """What is read of the file ``config.json`` of a cache; and which cache it is."""
        return {
            "total_size": len(self),
            "d_model": self.acts.d_model,
            "shard_size": math.ceil(len(self) / max(self.acts.cache.summary()["whole_shards"], 1)),
            "shuffle_shards": False,
            "store_tokens": True,
            "store_sequence_ranges": True,
            "cache": self.acts.cache.manifest_blake3,
            "site": self.acts.name,
        }

    @functools.cached_property
    def tokens(self) -> "torch.Tensor":
        """``[rows]``, int64. Needs pyarrow."""
        return torch.from_numpy(self.acts.cache.tokens["token"].astype(np.int64))

    @functools.cached_property
    def sequence_ranges(self) -> "torch.Tensor":
        """``[sequences + 1]``, int64: the first row of each sequence, and the number of rows. Needs pyarrow."""
        first = np.sort(self.acts.cache.sequences["first_row"].astype(np.int64))
        return torch.from_numpy(np.append(first, len(self)))

    @property
    def running_stats(self) -> RunningStatistics:
        """The statistics of all finite rows, for the caller to change. The first use reads all rows."""
        copy = RunningStatistics(self.acts.d_model)
        copy.merge(self._statistics)
        return copy

    @functools.cached_property
    def _statistics(self) -> RunningStatistics:
        statistics = RunningStatistics(self.acts.d_model)
        for rows in self.acts.batches(STATISTICS_BATCH):
            statistics.update(rows)
        return statistics

    @property
    def mean(self) -> "torch.Tensor":
        """``[d_model]``, as ``dtype``, of the finite rows."""
        return self._statistics.mean.to(self.dtype)

    @property
    def std(self) -> "torch.Tensor":
        """``[d_model]``, as ``dtype``, of the finite rows, unbiased."""
        return self._statistics.std().to(self.dtype)


class PairedActivationCache(torch.utils.data.Dataset):
    """Two models' activations of the same tokens, as ``dtype``: ``pair[i]`` is ``[2, d_model]``, and ``pair[a:b]``
    ``[rows, 2, d_model]``.

    ``first`` and ``second`` are sites of two caches, of the same width. Raises :class:`Error` if their rows are not of
    the same tokens. Needs pyarrow.
    """

    def __init__(self, first: Activations, second: Activations, dtype: "torch.dtype" = torch.float32) -> None:
        self.activation_cache_1, self.activation_cache_2 = ActivationCache(first, dtype), ActivationCache(second, dtype)
        shapes = [cache.acts.shape for cache in self._caches]
        if shapes[0] != shapes[1]:
            got = f"{shapes[0]} and {shapes[1]}"
            raise Error(f"pair: expected as many rows of the same width in both caches, got {got}", "conflict")
        differ = (self.activation_cache_1.tokens != self.activation_cache_2.tokens).nonzero()
        if len(differ) > 0:
            row = int(differ[0])
            tokens = " and ".join(str(int(cache.tokens[row])) for cache in self._caches)
            advice = "Harvest both models with one plan of sequences"
            raise Error(
                f"pair: expected the same tokens in both caches, got {tokens} at row {row}. {advice}", "conflict"
            )

    @property
    def _caches(self) -> "tuple[ActivationCache, ActivationCache]":
        return self.activation_cache_1, self.activation_cache_2

    def _stack(self, name: str) -> "torch.Tensor":
        return torch.stack([getattr(cache, name) for cache in self._caches])

    def __len__(self) -> int:
        return len(self.activation_cache_1)

    def __getitem__(self, index) -> "torch.Tensor":
        return torch.stack([cache[index] for cache in self._caches], dim=-2)

    def __getitems__(self, indices) -> "list[torch.Tensor]":
        return list(self[[int(index) for index in indices]])

    @property
    def tokens(self) -> "torch.Tensor":
        """``[2, rows]``, int64."""
        return self._stack("tokens")

    @property
    def sequence_ranges(self) -> "torch.Tensor":
        """``[sequences + 1]``, int64: see :attr:`ActivationCache.sequence_ranges`."""
        return self.activation_cache_1.sequence_ranges

    @property
    def mean(self) -> "torch.Tensor":
        """``[2, d_model]``."""
        return self._stack("mean")

    @property
    def std(self) -> "torch.Tensor":
        """``[2, d_model]``."""
        return self._stack("std")

    def batches(self, batch_size: int, **settings) -> "PairedBatches":
        """Batches ``[batch_size, 2, d_model]`` for ``trainSAE(data=...)``, with the settings of
        :meth:`Activations.batches`. They read row groups in turn; a shuffled DataLoader reads rows by number."""
        return PairedBatches(self, batch_size, settings)


class PairedBatches:
    """Batches ``[batch, 2, d_model]`` of a pair, from the beginning each time that they are iterated."""

    def __init__(self, pair: PairedActivationCache, batch_size: int, settings: dict) -> None:
        self._pair, self._batch_size, self._settings = pair, batch_size, settings
        self._length = self._open()

    def _open(self) -> AlignedBatches:
        acts = {str(number): cache.acts for number, cache in enumerate(self._pair._caches)}
        return AlignedBatches(acts, self._batch_size, **self._settings)

    @property
    def config(self) -> dict:
        """What ``trainSAE`` saves beside a crosscoder: the caches and the settings."""
        configs = {f"activation_cache_{number}": cache.config for number, cache in enumerate(self._pair._caches, 1)}
        return {**configs, "batch_size": self._batch_size, **self._settings}

    def __len__(self) -> int:
        """The number of batches in all."""
        return len(self._length)

    def __iter__(self):
        with_rows = self._settings.get("with_rows", False)
        for drawn in self._open():
            batch, rows = drawn if with_rows else (drawn, None)
            stacked = torch.stack(list(batch.values()), dim=1).to(self._pair.activation_cache_1.dtype)
            yield (stacked, rows) if with_rows else stacked
