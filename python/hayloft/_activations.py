"""One site of a cache: rows by number, and batches."""

import operator

import numpy as np

from hayloft import _formats
from hayloft._errors import Error, OutOfRange

BUFFER_BYTES = 1 << 30
"""The size of the mixing buffer, unless ``buffer_rows`` is given."""
STATE_VERSION = 1


class Activations:
    """The activations of one site: an array ``[rows, d_model]`` that is read where it is indexed.

    Rows are numbered in the order of the cache; row r is row r of :attr:`Cache.tokens`. ``acts[i]``, ``acts[a:b:s]``,
    ``acts[mask]`` and ``acts[[3, 1, -1]]`` read and verify these rows, and return a torch tensor if torch is
    installed, else a numpy array, in the cache's dtype (bfloat16 stays bfloat16; float32 for the codec int8).
    """

    def __init__(self, cache, site, format: "str | None" = None) -> None:
        self._cache, self._site, self._format = cache, site, format

    @property
    def cache(self):
        """The cache."""
        return self._cache

    @property
    def name(self) -> str:
        """The site's name in the cache, such as ``blocks.16.hook_resid_pre``."""
        return self._site.name

    @property
    def shape(self) -> "tuple[int, int]":
        """``(rows, d_model)``."""
        return self._site.rows, self._site.d_model

    @property
    def ndim(self) -> int:
        return 2

    @property
    def d_model(self) -> int:
        """The number of elements of a row."""
        return self._site.d_model

    @property
    def row_bytes(self) -> int:
        """The bytes of a row in memory."""
        return self._site.d_model * (4 if self._site.dtype == "f32" else 2)

    @property
    def format(self) -> str:
        """``"torch"`` or ``"numpy"``: what indexing and batches return."""
        return self._format or _formats.default_format()

    @property
    def dtype(self):
        """The dtype of rows, of torch or of numpy: see :attr:`format`."""
        kind = _formats.torch_type if self.format == "torch" else _formats.numpy_type
        return kind(self._site.dtype)

    @property
    def mean_norm(self) -> float:
        """Mean Euclidean norm of the finite rows."""
        return self._site.norms[0]

    @property
    def non_finite_rows(self) -> int:
        """The number of rows with a NaN or infinite element."""
        return self._site.norms[1]

    @property
    def scale(self) -> float:
        """``sqrt(d_model) / mean_norm``: SAELens's ``expected_average_only_in``."""
        return self._site.norms[2]

    def with_format(self, format: "str | None") -> "Activations":
        """The same rows as ``"torch"`` or ``"numpy"``; None: torch if it is installed."""
        return Activations(self._cache, self._site, format and _formats.check_format(format))

    def __len__(self) -> int:
        return self._site.rows

    def __repr__(self) -> str:
        rows, d_model = self.shape
        return f"<hayloft.Activations {self.name} [{rows}, {d_model}] {self._site.dtype}>"

    def __iter__(self):
        """Row by row; batches() is faster."""
        for batch in self.batches(4096):
            yield from batch

    def __getitem__(self, index):
        if isinstance(index, tuple):
            if len(index) > 2:
                raise OutOfRange(f"{self.name}: expected at most 2 indices, got {len(index)}")
            if len(index) == 0:
                return self[:]
            rows = self[index[0]]
            is_row = rows.ndim == 1
            return rows if len(index) == 1 else rows[index[1]] if is_row else rows[:, index[1]]
        return self._of_bits(self._read(index))

    def numpy(self, index=slice(None), dtype=None, *, copy: "bool | None" = True) -> np.ndarray:
        """Rows as a numpy array, bfloat16 by ``ml_dtypes``. ``dtype="float32"`` converts, which is exact.

        ``copy=None`` returns a read-only view of the file, verified now, where that is possible: a slice of step 1 whose
        rows lie in one row group of a cache of the codec raw. A view shows later changes of the file, and a file that is
        cut short ends the process. ``copy=False`` raises ValueError where rows must be copied.
        """
        if copy is not True:
            view = self._view(index) if dtype is None else None
            if view is not None:
                return _formats.of_bits(view, self._site.dtype, "numpy")
            if copy is False:
                expected = "expected a slice of one row group, of the codec raw and in its dtype, for copy=False"
                raise ValueError(f"{self.name}: {expected}, got others. Say copy=None to copy where it is needed")
        return self._numpy(self._read(index), dtype)

    def torch(self, index=slice(None)):
        """Rows as a torch tensor."""
        return _formats.of_bits(self._read(index), self._site.dtype, "torch")

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if copy is False:
            raise ValueError("expected to copy, as rows are decoded, got copy=False")
        return self._numpy(self._read(slice(None)), dtype)

    def _numpy(self, bits: np.ndarray, dtype) -> np.ndarray:
        if dtype is not None and np.dtype(dtype) == np.float32:
            return _formats.to_float32(bits, self._site.dtype)
        values = _formats.of_bits(bits, self._site.dtype, "numpy")
        return values if dtype is None else values.astype(dtype)

    def _of_bits(self, bits: np.ndarray):
        return _formats.of_bits(bits, self._site.dtype, self.format)

    def _read(self, index) -> np.ndarray:
        """The words of rows, ``[rows, d_model]`` or ``[d_model]``; bfloat16 as uint16."""
        rows = self._site.rows
        if index is Ellipsis:
            index = slice(None)
        if isinstance(index, slice):
            first, end, step = index.indices(rows)
            if step == 1:
                return np.asarray(self._site.read(first, max(first, end)))
            return self._take(np.arange(first, end, step, dtype=np.int64))
        if not isinstance(index, (bool, np.bool_)):
            try:
                number = operator.index(index)
            except TypeError:
                pass
            else:
                number = self._checked(np.array([number], dtype=object))
                return np.asarray(self._site.read(int(number[0]), int(number[0]) + 1))[0]
        return self._take(self._numbers(index))

    def _view(self, index) -> "np.ndarray | None":
        first, end, step = index.indices(self._site.rows) if isinstance(index, slice) else (0, 0, 1)
        view = self._site.view(first, end) if step == 1 and first < end else None
        return None if view is None else np.asarray(view)

    def _take(self, numbers: np.ndarray) -> np.ndarray:
        return np.asarray(self._site.take(np.ascontiguousarray(numbers, dtype="<i8").tobytes()))

    def _numbers(self, index) -> np.ndarray:
        """Row numbers of a mask or a list."""
        # Of a tensor on a GPU numpy knows nothing.
        given = np.asarray(index.detach().cpu() if hasattr(index, "detach") else index)
        if given.ndim == 1 and given.dtype == bool:
            if len(given) != self._site.rows:
                raise OutOfRange(f"{self.name}: expected a mask of {self._site.rows} rows, got one of {len(given)}")
            return np.flatnonzero(given)
        if given.ndim == 1 and given.size == 0:
            return np.zeros(0, dtype=np.int64)
        if given.ndim != 1 or given.dtype.kind not in "iu":
            got = f"{type(index).__name__} of {given.dtype} with {given.ndim} dimensions"
            raise TypeError(
                f"{self.name}: expected a row number, a slice, a boolean mask or a list of row numbers, got {got}"
            )
        return self._checked(given)

    def _checked(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers from 0, of those that may count from the end."""
        rows = self._site.rows
        outside = (numbers < -rows) | (numbers >= rows)
        if outside.any():
            number = numbers[outside][0]
            raise OutOfRange(f"{self.name}: expected a row number from {-rows} to {rows - 1}, got {number}")
        numbers = numbers.astype(np.int64)
        return np.where(numbers < 0, numbers + rows, numbers)

    def mask(self, *, sections=None, exclude="none", outlier_norm=None, scale: float = 1.0) -> np.ndarray:
        """Which rows count, ``[rows]`` bool, by the rules of :meth:`batches`. Reads tables and no activations."""
        return np.asarray(self._site.mask(_selection(sections, exclude, outlier_norm, scale)))

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: "int | None" = None,
        sections=None,
        exclude="none",
        outlier_norm=None,
        scale: float = 1.0,
        epochs: "int | None" = 1,
        buffer_rows: "int | None" = None,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        with_rows: bool = False,
    ) -> "Batches":
        """Batches ``[batch_size, d_model]`` of the rows that count, in bounded memory.

        ``shuffle`` is a seed: the same seed gives the same batches. Shards are read in random order, eight at a time,
        and rows are drawn from a buffer of ``buffer_rows`` (1 GiB by default); :attr:`Batches.mixing` says how well
        that mixes. Without a seed rows come in the order of the cache.

        ``sections`` is one section or several; ``exclude`` is ``"bos"``, ``"none"`` or a list of token ids;
        ``outlier_norm`` leaves out rows of a larger norm: ``"870raw"``, a multiple of the median such as
        ``"10xmedian"``, or a number, which is a norm of ``scale`` times the row. Rows that are not finite are always
        left out. Batches are not multiplied by ``scale``.

        ``epochs=None`` repeats the rows without end. Of ``world_size`` processes each gets other row groups and
        equally many full batches. ``with_rows`` gives pairs of a batch and its row numbers.
        """
        if shuffle is not None and not 0 <= operator.index(shuffle) < 1 << 64:
            raise Error(f"shuffle: expected a seed from 0 to 2**64 - 1, or None for the cache's order, got {shuffle}")
        if buffer_rows is None:
            buffer_rows = max(BUFFER_BYTES // self.row_bytes, 1)
        settings = {
            "batch": _count("batch_size", batch_size, 1),
            "seed": shuffle,
            "epochs": epochs if epochs is None else _count("epochs", epochs, 0),
            "buffer_rows": _count("buffer_rows", buffer_rows, 1),
            "part": _count("rank", rank, 0),
            "parts": _count("world_size", world_size, 1),
            "drop_last": bool(drop_last),
        }
        return Batches(self, settings, _selection(sections, exclude, outlier_norm, scale), with_rows)

    def dataset(self):
        """A map-style ``torch.utils.data.Dataset`` of the rows; workers read for themselves."""
        from hayloft._datasets import RowDataset

        return RowDataset(self)

    def batch_dataset(self, batch_size: int, **settings):
        """A ``torch.utils.data.IterableDataset`` of :meth:`batches`, for a ``DataLoader`` with ``batch_size=None``.

        Each worker of a loader, and each process of ``rank`` and ``world_size``, gets other row groups.
        """
        from hayloft._datasets import BatchDataset

        return BatchDataset(self, batch_size, settings)

    def __reduce__(self):
        return _again, (self._cache, self.name, self._format)


def _again(cache, name: str, format: "str | None") -> Activations:
    return Activations(cache, cache[name]._site, format)


def _count(name: str, value, least: int) -> int:
    value = operator.index(value)
    if not least <= value < 1 << 48:
        raise Error(f"{name}: expected a number of at least {least}, got {value}")
    return value


def _selection(sections, exclude, outlier_norm, scale: float) -> dict:
    names = [] if sections is None else [sections] if isinstance(sections, str) else list(sections)
    if not isinstance(exclude, str):
        exclude = [] if exclude is None else [operator.index(token) for token in exclude]
    norm = None if outlier_norm is None else str(outlier_norm)
    return {"sections": names, "exclude": exclude, "outlier_norm": norm, "scale": float(scale)}


class Batches:
    """An iterator over batches of a site: see :meth:`Activations.batches`. A thread draws batches ahead."""

    def __init__(self, acts: Activations, settings: dict, selection: dict, with_rows: bool) -> None:
        self._acts, self._settings, self._selection, self._with_rows = acts, settings, selection, with_rows
        self._open(None)

    def _open(self, state) -> None:
        self._batches = self._acts._site.batches(self._selection, self._settings, state)

    @property
    def rows(self) -> int:
        """The number of rows that count, over the whole cache."""
        return self._batches.rows

    @property
    def taken(self) -> int:
        """The number of batches taken."""
        return self._batches.taken

    def __len__(self) -> int:
        """The number of batches in all."""
        if self._batches.batches is None:
            raise TypeError("expected batches with an end, got epochs=None")
        return self._batches.batches

    def __length_hint__(self) -> int:
        return NotImplemented if self._batches.batches is None else max(len(self) - self.taken, 0)

    def __iter__(self) -> "Batches":
        return self

    def __next__(self):
        drawn = self._batches.next()
        if drawn is None:
            raise StopIteration
        words, rows = drawn
        batch = self._acts._of_bits(np.asarray(words))
        if not self._with_rows:
            return batch
        rows = np.asarray(rows)
        return batch, _formats.of_bits(rows, "i64", self._acts.format)

    @property
    def mixing(self) -> "dict | None":
        """How well batches are mixed: ``row_groups`` with rows that count, ``row_groups_per_batch`` so far on
        average, and ``row_groups_per_batch_if_perfect`` of a perfect shuffle of all rows. None before the first
        batch."""
        mixing = self._batches.mixing()
        names = ("row_groups", "row_groups_per_batch", "row_groups_per_batch_if_perfect")
        return mixing and dict(zip(names, mixing))

    def _described(self) -> dict:
        return {
            "cache": self._acts.cache.manifest_blake3,
            "site": self._acts.name,
            **self._settings,
            **self._selection,
        }

    def state_dict(self) -> dict:
        """What decides all later batches, for :meth:`load_state_dict` of batches with the same settings.

        ``waiting`` is an array ``[2 * buffer_rows]`` int64; everything else is JSON.
        """
        state = self._batches.state()
        progress, waiting = (None, b"") if state is None else state
        waiting = np.frombuffer(waiting, dtype="<i8")
        return {"version": STATE_VERSION, "settings": self._described(), "progress": progress, "waiting": waiting}

    def load_state_dict(self, state: dict) -> None:
        """Goes on after the batch at which ``state_dict`` was called. The rows of the buffer are read again.

        Raises :class:`Error` if the state is of another cache, site or setting.
        """
        if not isinstance(state, dict) or state.get("version") != STATE_VERSION:
            raise Error("state: expected one of state_dict() of this version, got another")
        for name, value in self._described().items():
            if state["settings"].get(name) != value:
                got = state["settings"].get(name)
                raise Error(f"state: {name}: expected {value} as these batches have, got {got}", "conflict")
        if state["progress"] is None:
            return self._open(None)
        waiting = np.ascontiguousarray(state["waiting"], dtype="<i8").tobytes()
        return self._open((state["progress"], waiting))
