"""Batches of several sites, or of one site of several caches: the same tokens in the same order."""

import numpy as np

from hayloft._activations import BUFFER_BYTES, Activations
from hayloft._errors import Error


class AlignedBatches:
    """An iterator over dicts of batches ``[batch, d_model]``: row i of each is of the same token.

    ``acts`` has a name for each :class:`Activations`. They are sites of one cache, or of caches of the same tokens and
    shards. ``settings`` are those of :meth:`Activations.batches`; ``buffer_rows`` is by default what 1 GiB holds of all
    sites together. With ``with_rows`` it gives pairs of a dict and the row numbers.

    Each site's batches are drawn in the same order, and their row numbers are compared. Raises :class:`Error` where
    they differ: if the caches have other shards, or if other rows count at one site than at another. Rows that are not
    finite and ``outlier_norm`` are judged at each site by itself; sections and excluded tokens are the same for all.
    """

    def __init__(
        self,
        acts: "dict[str, Activations]",
        batch_size: int,
        *,
        buffer_rows: "int | None" = None,
        with_rows: bool = False,
        **settings,
    ) -> None:
        if not acts:
            raise Error("batches: expected at least one site, got none")
        if buffer_rows is None:
            buffer_rows = max(BUFFER_BYTES // sum(site.row_bytes for site in acts.values()), 1)
        self._with_rows = with_rows
        self._batches = {
            name: site.batches(batch_size, buffer_rows=buffer_rows, with_rows=True, **settings)
            for name, site in acts.items()
        }
        self._first = next(iter(self._batches.values()))
        for name, batches in self._batches.items():
            if batches.rows != self.rows:
                raise self._differ(name, f"{self.rows} rows", f"{batches.rows}")

    def _differ(self, name: str, expected: str, got: str) -> Error:
        advice = (
            "Take caches of the same tokens and shards, and leave outlier_norm out: take with_rows=True, and keep the"
            " rows of acts.mask(outlier_norm=...). Rows that are not finite at some sites only cannot be aligned"
        )
        first = next(iter(self._batches))
        message = f"batches: expected the same rows to count at {name} as at {first}, {expected}, got {got}. {advice}"
        return Error(message, "conflict")

    @property
    def rows(self) -> int:
        """The number of rows that count, over the whole cache."""
        return self._first.rows

    @property
    def taken(self) -> int:
        """The number of batches taken."""
        return self._first.taken

    @property
    def mixing(self) -> "dict | None":
        """How well batches are mixed: see :attr:`Batches.mixing`."""
        return self._first.mixing

    def __len__(self) -> int:
        """The number of batches in all."""
        return len(self._first)

    def __length_hint__(self) -> int:
        return self._first.__length_hint__()

    def __iter__(self) -> "AlignedBatches":
        return self

    def __next__(self):
        drawn = {name: next(batches) for name, batches in self._batches.items()}
        rows = next(iter(drawn.values()))[1]
        for name, (_, numbers) in drawn.items():
            if not np.array_equal(numbers, rows):
                raise self._differ(name, "in the same order", "another order")
        batch = {name: values for name, (values, _) in drawn.items()}
        return (batch, rows) if self._with_rows else batch

    def state_dict(self) -> dict:
        """What decides all later batches: the :meth:`Batches.state_dict` of each name."""
        return {name: batches.state_dict() for name, batches in self._batches.items()}

    def load_state_dict(self, state: dict) -> None:
        """Goes on after the batch at which ``state_dict`` was called: see :meth:`Batches.load_state_dict`."""
        if not isinstance(state, dict) or set(state) != set(self._batches):
            raise Error(f"state: expected one of state_dict() with the names {', '.join(self._batches)}, got another")
        for name, batches in self._batches.items():
            batches.load_state_dict(state[name])
