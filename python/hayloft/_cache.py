"""A cache, its tables and its sequences."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hayloft import _formats, _hayloft
from hayloft._activations import Activations
from hayloft._aligned import AlignedBatches
from hayloft._errors import Error, OutOfRange


def open(
    place: "str | os.PathLike",
    *,
    tokenizer: "str | os.PathLike | None" = None,
    format: "str | None" = None,
    cache_folder: "str | os.PathLike | None" = None,
    cache_limit: "int | str | None" = None,
    instance_credentials: bool = False,
) -> "Cache":
    """Opens a cache for reading: a folder, or a location such as ``s3://bucket/pile``.

    The cache is a snapshot of its manifest; shards that are written later are seen after opening it again.
    ``tokenizer`` is the folder of the model's tokenizer, for :meth:`Cache.text`. ``format`` is ``"torch"`` or
    ``"numpy"``.

    Files of a location are kept in ``cache_folder`` (by default ``$HAYLOFT_CACHE``, else ``hayloft`` in the user's
    cache folder), of at most ``cache_limit`` (50GB). Credentials come from the environment, and from the machine only
    with ``instance_credentials``.
    """
    settings = {
        "cache_folder": cache_folder and os.fspath(cache_folder),
        "cache_limit": None if cache_limit is None else str(cache_limit),
        "instance_credentials": instance_credentials,
    }
    return Cache(
        os.fspath(place), tokenizer and os.fspath(tokenizer), format and _formats.check_format(format), settings
    )


class Cache:
    """A cache opened by :func:`open`. ``cache[site]`` is the :class:`Activations` of a site."""

    def __init__(self, place: str, tokenizer: "str | None", format: "str | None", settings: dict) -> None:
        self._place, self._tokenizer, self._format, self._settings = place, tokenizer, format, settings
        self._process = os.getpid()
        self._cache = _hayloft.Cache(place, **settings)
        self._summary = Summary(json.loads(self._cache.summary()))
        self._decoder = None

    @property
    def place(self) -> str:
        """The folder or location that was opened."""
        return self._place

    @property
    def manifest_blake3(self) -> str:
        """The BLAKE3 of ``manifest.json``, in hexadecimal digits, which results record as their source."""
        return self._cache.manifest_blake3

    @property
    def sites(self) -> "list[str]":
        """The names of the sites."""
        return [site["name"] for site in self._summary["sites"]]

    @property
    def sections(self) -> "dict[str, int]":
        """The number of tokens of each section."""
        return dict(self._summary["held"]["sections"])

    @property
    def subsets(self) -> "dict[str, int]":
        """The number of tokens of each subset."""
        return dict(self._summary["held"]["subsets"])

    @property
    def model(self) -> dict:
        """The record of the model: type, hashes, width, number of blocks."""
        return self._summary["model"]

    @property
    def data(self) -> dict:
        """The record of the corpus: name, tokenizer, files, packing."""
        return self._summary["corpus"]

    @property
    def tokens(self) -> "Table":
        """A row for each token: sequence, position, token, section, document, subset, turn, and where predictions are
        kept loss (of the next token, in nats), logsumexp, entropy, top_ids and top_logits; and
        ``residual_norm.SITE``."""
        return Table(self._cache.tokens)

    @property
    def sequences(self) -> "Table":
        """A row for each sequence: sequence, document, subset, first_row, length."""
        return Table(self._cache.sequences)

    def summary(self) -> "Summary":
        """The manifest in one screen: a dict with everything that ``store inspect --json`` has."""
        return self._summary

    def __len__(self) -> int:
        """The number of tokens, which is that of rows of each site."""
        return self._summary["held"]["tokens"]

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and self._cache.site(name) is not None
        except Error:
            return False

    def __iter__(self):
        return iter(self.sites)

    def __getitem__(self, name: str) -> Activations:
        """The activations of a site. The residual stream has several names: ``blocks.15.hook_resid_post`` is
        ``blocks.16.hook_resid_pre``, and so is ``model.layers.15``, the output of that layer."""
        return Activations(self, self._cache.site(name), self._format)

    def batches(self, batch_size: int, *, sites: "str | Iterable[str] | None" = None, **settings) -> AlignedBatches:
        """Batches of several sites at once: dicts of ``[batch_size, d_model]`` by the names given, in the same order.

        ``sites`` are all sites by default. The other arguments are those of :meth:`Activations.batches`.
        """
        names = self.sites if sites is None else [sites] if isinstance(sites, str) else sites
        return AlignedBatches({name: self[name] for name in names}, batch_size, **settings)

    def __repr__(self) -> str:
        return f"<hayloft.Cache {self._place}: {len(self)} tokens, {', '.join(self.sites)}>"

    def sequence(self, number: int) -> "Sequence":
        """The sequence with this number, unique in the cache: see :attr:`sequences`."""
        found = None if number < 0 else self._cache.sequence(number)
        if found is None:
            held = self._summary["held"]["sequences"]
            raise OutOfRange(f"{self._place}: expected a sequence of the cache, which has {held}, got {number}")
        tokens, losses, turns = found["tokens"], found["losses"], found["turns"]
        return Sequence(
            cache=self,
            number=number,
            rows=range(found["first_row"], found["first_row"] + len(tokens)),
            document=found["document"],
            subset=found["subset"],
            tokens=np.array(tokens, dtype=np.uint32),
            sections=found["sections"],
            turns=None if turns is None else np.array(turns, dtype=np.uint32),
            losses=None if losses is None else np.array(losses, dtype=np.float32),
        )

    def text(self, number: int, *, tokenizer: "str | os.PathLike | None" = None, check: bool = True) -> str:
        """The text of a sequence, special tokens included.

        Needs the package ``tokenizers`` and the folder of the model's tokenizer, here or in :func:`open`. Raises
        :class:`Error` if its ``tokenizer.json`` is not the one that the cache was made with. Files beside it that
        change its tokens are not applied; a cache made with such files is decoded with ``check=False``.
        """
        folder = tokenizer or self._tokenizer
        if folder is None:
            raise Error(
                "text: expected the folder of the model's tokenizer, got none. Name it: open(place, tokenizer=FOLDER)"
            )
        return self._tokenizer_of(Path(folder), check).decode(
            self.sequence(number).tokens.tolist(), skip_special_tokens=False
        )

    def _tokenizer_of(self, folder: Path, check: bool):
        if self._decoder is not None and self._decoder[0] == (folder, check):
            return self._decoder[1]
        try:
            import tokenizers
        except ImportError:
            missing = "text: expected the package tokenizers, got none. Install it (pip install tokenizers)"
            raise Error(missing, "missing_package") from None
        path = folder / "tokenizer.json"
        try:
            text = path.read_bytes()
        except OSError as error:
            raise Error(f"{path}: cannot read: {error.strerror}", "io") from None
        expected, got = self.data["tokenizer"]["blake3"], _hayloft.blake3_hex(text)
        if check and expected != got:
            advice = "Give the tokenizer that the cache was made with, or check=False where only files beside it differ"
            raise Error(f"{path}: expected BLAKE3 {expected} as the cache records, got {got}. {advice}", "conflict")
        self._decoder = (folder, check), tokenizers.Tokenizer.from_str(text.decode())
        return self._decoder[1]

    @property
    def closed(self) -> bool:
        """Whether the cache was closed."""
        return self._cache.closed

    def close(self) -> None:
        """Closes the cache: reading raises :class:`Error` from now on. Arrays that were read stay."""
        self._cache.close()

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self):
        return _same, (self._place, self._tokenizer, self._format, self._settings, self.manifest_blake3)


def _same(place: str, tokenizer: "str | None", format: "str | None", settings: dict, manifest_blake3: str) -> Cache:
    """Opens a cache again in another process."""
    cache = Cache(place, tokenizer, format, settings)
    if cache.manifest_blake3 != manifest_blake3:
        got = f"another, of BLAKE3 {cache.manifest_blake3}"
        expected = f"expected the manifest of BLAKE3 {manifest_blake3} that it had when it was opened"
        raise Error(f"{place}: {expected}, got {got}. Open the cache again", "conflict")
    return cache


@dataclass(frozen=True)
class Sequence:
    """One sequence of a cache. Arrays have an element for each token."""

    cache: Cache
    number: int
    rows: range
    """The numbers of its rows in the cache."""
    document: int
    """The document of its first token."""
    subset: "str | None"
    tokens: np.ndarray
    """Token ids, uint32."""
    sections: "list[str]"
    turns: "np.ndarray | None"
    """Turns, uint32; None without conversations of several turns."""
    losses: "np.ndarray | None"
    """Cross-entropy of the next token in nats, float32, NaN for the last token; None without predictions."""

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, site: str):
        """The activations of a site, ``[tokens, d_model]``, verified."""
        return self.cache[site][self.rows.start : self.rows.stop]

    def text(self, **settings) -> str:
        """The text: see :meth:`Cache.text`."""
        return self.cache.text(self.number, **settings)


class Table:
    """A table of a cache, read when it is taken: by any library that takes Arrow streams, such as
    ``pyarrow.table(table)``, ``polars.DataFrame(table)`` and ``duckdb``, or by the methods below."""

    def __init__(self, table) -> None:
        self._table = table

    @property
    def column_names(self) -> "list[str]":
        """The names of the columns."""
        return self._table.columns

    def select(self, columns: "list[str]") -> "Table":
        """The table with these columns alone."""
        return Table(self._table.select(list(columns)))

    def __getitem__(self, column: str) -> np.ndarray:
        """A column as a numpy array. Needs pyarrow."""
        return self.select([column]).arrow()[column].to_numpy(zero_copy_only=False)

    def arrow(self):
        """The table as a ``pyarrow.Table``."""
        return _import("pyarrow").table(self._table)

    def pandas(self):
        """The table as a ``pandas.DataFrame``. Needs pyarrow too."""
        _import("pandas")
        return self.arrow().to_pandas()

    def polars(self):
        """The table as a ``polars.DataFrame``."""
        return _import("polars").DataFrame(self._table)

    def __arrow_c_schema__(self):
        return self._table.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"<hayloft.Table {', '.join(self.column_names)}>"


def _import(name: str):
    try:
        return __import__(name)
    except ImportError:
        missing = f"table: expected the package {name}, got none. Install it (pip install {name})"
        raise Error(missing, "missing_package") from None


class Summary(dict):
    """The manifest of a cache as a dict; printed, its main figures."""

    def __str__(self) -> str:
        held, model, data = self["held"], self["model"], self["corpus"]
        lines = [
            f"folder    {self['folder']}",
            f"model     {model['model_type']}, {model['n_blocks']} blocks, d_model {model['d_model']}",
            f"data      {data['name']}, {data['packing']}, context {data['context_length']}",
            f"tokens    {held['tokens']} in {held['sequences']} sequences",
            f"shards    {self['whole_shards']} of {self['planned_shards']}",
            f"stored    {self['dtype']}, {self['codec']}, {self['bytes']} bytes",
            f"sections  {', '.join(f'{name} {tokens}' for name, tokens in held['sections'].items())}",
        ]
        lines += [
            f"site      {site['name']}: {site['rows']} rows, mean norm {site['mean_norm']}" for site in self["sites"]
        ]
        return "\n".join(lines)
