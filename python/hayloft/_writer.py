"""Caches that are filled from Python, with the activations of anyone's model."""

import itertools
import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hayloft import _formats, _hayloft
from hayloft._errors import Error

SECTIONS = {name: place for place, name in enumerate(_hayloft.sections())}
CELLS = 1 << 16
"""Most cells ``[sequences, longest]`` of a batch, unless a batch has one sequence."""


class Writer:
    """A cache that is being filled: with the activations of any model, batch by batch.

    ::

        with hl.Writer("cache", sequences, sites=["blocks.3.hook_resid_pre"], model="demo/base") as writer:
            for batch in writer.batches(16):                       # what is not written yet
                acts = run(batch.input_ids, batch.attention_mask)  # [sequences, longest, d_model]
                writer.write(batch, {"blocks.3.hook_resid_pre": acts})

    ``sequences`` are token ids: lists or arrays, one for each sequence, or an array ``[sequences, tokens]``; any iterable.
    They are planned first: grouped into shards and row groups, as ``harvest plan`` does. None takes the plan that the
    folder has, from ``harvest plan`` or from an earlier writer.

    A shard appears when all its sequences are written, or not at all. Every file has its hash in the cache. After an
    exception or a kill, ``resume=True`` and the same sequences go on after the shards that are whole; the bytes of the
    cache do not depend on it.

    ``sites`` are names of hook points, such as ``blocks.16.hook_resid_pre``, of the width of the residual stream; as a
    dict, each has its own width. ``model`` is the folder of the checkpoint, which the cache then records by the facts of
    its configuration and the hash of its tensors, so that ``evaluate`` splices into no other. Of another kind of model it
    is a name; activations of a model that is known by its name alone are evaluated without a splice. Such a model needs
    ``d_model``, or widths in ``sites``. ``tokenizer`` is the folder of its tokenizer, if it is not the model's.

    For each sequence, ``sections`` has the section of each token, or of all of them (``"text"``, but ``"bos"`` for the
    tokenizer's BOS), ``documents`` its document's number or that of each token, ``subsets`` the same for the subset's name,
    and ``turns`` the number of each token's turn.

    ``dtype`` is that of stored activations (``"bf16"``, ``"f16"`` or ``"f32"``), ``precision`` that of the forward pass
    (by default the same), and ``codec`` ``"planes"``, ``"planes:LEVEL"``, ``"raw"`` or ``"int8"``. ``predictions`` is
    ``"loss"``, or the number of the largest logits that are kept beside it. ``non_finite="allow"`` takes rows with NaN or
    infinite elements, and counts them.

    Raises :class:`Error`: of kind ``"conflict"`` if the folder has a cache already, or shards of other settings, or if
    another process writes it.
    """

    def __init__(
        self,
        path: "str | os.PathLike",
        sequences: "Iterable | None" = None,
        *,
        sites: "Iterable[str] | Mapping[str, int]",
        model: "str | os.PathLike | None" = None,
        d_model: "int | None" = None,
        tokenizer: "str | os.PathLike | None" = None,
        bos: "int | None" = None,
        sections: "Iterable | str | None" = None,
        documents: "Iterable | None" = None,
        subsets: "Iterable | str | None" = None,
        turns: "Iterable | None" = None,
        dtype: str = "bf16",
        precision: "str | None" = None,
        codec: str = "planes",
        predictions: "str | int | None" = None,
        name: "str | None" = None,
        shard_tokens: int = 65536,
        row_group_rows: int = 4096,
        non_finite: str = "refuse",
        resume: bool = False,
    ) -> None:
        self.path = Path(path)
        if isinstance(sites, str):
            sites = [sites]
        widths = dict(sites) if isinstance(sites, Mapping) else dict.fromkeys(sites)
        checkpoint = None if model is None or not Path(model).is_dir() else Path(model)
        if checkpoint is None and isinstance(model, os.PathLike):
            raise Error(f"{model}: expected the folder of a checkpoint, got none. Give a name of it as str", "not_found")
        if checkpoint is None and d_model is None:
            known = set(widths.values())
            if len(known) != 1 or None in known:
                expected = "expected the folder of a checkpoint in model, or the width of the residual stream in d_model"
                raise Error(f"{self.path}: {expected}, got neither")
            (d_model,) = known
        if non_finite not in ("refuse", "allow"):
            raise Error(f"non_finite: expected refuse or allow, got {non_finite!r}")
        self._top_k = _top_k(predictions)
        given = {
            "checkpoint": checkpoint,
            "model_type": None if checkpoint is not None or model is None else str(model),
            "d_model": d_model,
            "tokenizer": tokenizer,
            "sites": widths,
            "dtype": dtype,
            "precision": precision or dtype,
            "codec": codec,
            "top_k": self._top_k,
            "non_finite": non_finite == "allow",
            "resume": resume,
        }
        settings = _hayloft.WriterSettings(given)
        if sequences is None:
            beside = {"sections": sections, "documents": documents, "subsets": subsets, "turns": turns, "bos": bos}
            extra = [name for name, value in beside.items() if value is not None]
            if extra:
                raise Error(f"{self.path}: expected sequences with {', '.join(extra)}, got none: the plan has its own")
        else:
            planner = _hayloft.Planner(
                self.path, settings, bos=bos, shard_tokens=_size("shard_tokens", shard_tokens),
                row_group_rows=_size("row_group_rows", row_group_rows),
            )  # fmt: skip
            _plan(planner, sequences, sections, documents, subsets, turns, name or self.path.name)
        self._writer = _hayloft.Writer(self.path, settings)

    @property
    def widths(self) -> "dict[str, int]":
        """The sites, and the number of elements of a row of each."""
        return self._writer.widths

    @property
    def shards(self) -> "tuple[int, int]":
        """The number of shards that are whole, and of all that are planned."""
        return self._writer.shards

    def batches(self, batch_size: int = 32, *, cells: int = CELLS) -> "Iterator[Batch]":
        """The sequences that are not written yet, in the order of the cache: those of a batch are of similar length.

        A batch has at most ``batch_size`` sequences and, if it has several, at most ``cells`` tokens with padding. Each
        must be written before the next.
        """
        batch_size, cells = _size("batch_size", batch_size), _size("cells", cells)
        last = None
        while (given := self._writer.next(batch_size, cells)) is not None:
            place = given["shard"], given["first"]
            if place == last:
                raise Error(f"{self.path}: expected write() of a batch before the next batch, got none", "conflict")
            last = place
            yield Batch.of(given)

    def write(self, batch: "Batch", activations: Mapping, *, losses=None, logits=None) -> None:
        """Writes the rows of a batch.

        ``activations`` has for each site an array or tensor ``[sequences, longest, width]``, whose padding is dropped, a
        list of arrays ``[tokens, width]``, or one array ``[all tokens, width]``; of any float dtype, converted to that of
        the cache by rounding to the nearest.

        A cache with predictions takes ``logits``, ``[sequences, longest, vocabulary]``, or, if it keeps losses alone,
        ``losses`` ``[sequences, longest]``: the cross-entropy of the next token in nats. That of a sequence's last token
        is not read. Given losses alone, log-sum-exp and entropy are NaN.

        Raises :class:`Error` if a shape is another, if a row is not finite, or if the batch is not the one that is due;
        then no part of its shard is kept.
        """
        widths = self.widths
        if set(activations) != set(widths):
            got = ", ".join(sorted(activations)) or "none"
            raise Error(f"{self.path}: expected activations of {', '.join(widths)}, got {got}")
        rows = {
            site: _words(_flat(site, activations[site], batch.lengths, (width,)), self._writer.dtype)
            for site, width in widths.items()
        }
        predictions = self._predictions(batch, losses, logits)
        self._writer.write(*batch.place, len(batch), rows, predictions)

    def _predictions(self, batch: "Batch", losses, logits):
        if self._top_k is None:
            if losses is not None or logits is not None:
                raise Error(f"{self.path}: expected no losses and logits, as predictions=None says, got them")
            return None
        if (losses is None) == (logits is None) or (logits is None and self._top_k):
            expected = "logits" if self._top_k else "either losses or logits"
            raise Error(f"{self.path}: expected {expected} of each batch, as predictions says, got others")
        if logits is None:
            loss = _float32(_flat("losses", losses, batch.lengths, ()))
            unknown = np.full(len(loss), np.nan, np.float32)
            columns = [loss, unknown, unknown, np.zeros(0, np.uint32), np.zeros(0, np.float32)]
        else:
            columns = _of_logits(_flat("logits", logits, batch.lengths, (None,)), batch.flat_tokens, self._top_k)
        columns[0] = columns[0].copy()
        columns[0][np.cumsum(batch.lengths) - 1] = np.nan
        return tuple(column.tobytes() for column in columns)

    def finish(self) -> dict:
        """Ends the cache and returns ``shards``, ``planned_shards`` and ``tokens``.

        Raises :class:`Error` if sequences are not written yet; the cache then has the shards that are whole.
        """
        whole, planned = self.shards
        ended = self.close()
        if whole < planned:
            expected = f"expected {planned} shards, got {whole}: batches() has more"
            raise Error(f"{self.path}: {expected}. Go on with resume=True, or end with close()", "conflict")
        return ended

    def close(self) -> dict:
        """Ends writing with the shards that are whole, which a reader finds from now on. Returns what :meth:`finish`
        does."""
        whole, planned, tokens = self._writer.close()
        return {"shards": whole, "planned_shards": planned, "tokens": tokens}

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.close()


@dataclass(frozen=True)
class Batch:
    """Sequences to run the model on, the longest first."""

    sequences: "tuple[int, ...]"
    """Their numbers in the cache."""
    lengths: np.ndarray
    """Their numbers of tokens, int64."""
    flat_tokens: np.ndarray
    """All tokens, one sequence after another, uint32."""
    flat_sections: np.ndarray
    """Sections of all tokens, as places in ``hayloft.sections()``, uint8."""
    place: "tuple[int, int]"
    """The shard, and the number of the first sequence in it."""

    @classmethod
    def of(cls, given: dict) -> "Batch":
        return cls(
            sequences=tuple(given["sequences"]),
            lengths=np.array(given["lengths"], np.int64),
            flat_tokens=np.frombuffer(given["tokens"], "<u4"),
            flat_sections=np.frombuffer(given["sections"], np.uint8),
            place=(given["shard"], given["first"]),
        )

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def tokens(self) -> "list[np.ndarray]":
        """The tokens of each sequence, uint32."""
        return np.split(self.flat_tokens, np.cumsum(self.lengths)[:-1])

    @property
    def sections(self) -> "list[list[str]]":
        """The section of each token of each sequence."""
        names = list(SECTIONS)
        parts = np.split(self.flat_sections, np.cumsum(self.lengths)[:-1])
        return [[names[place] for place in part] for part in parts]

    def padded(self, pad_id: int = 0) -> np.ndarray:
        """The tokens with padding at the end of each sequence, ``[sequences, longest]`` int64."""
        ids = np.full((len(self), int(self.lengths.max())), pad_id, np.int64)
        for row, tokens in zip(ids, self.tokens):
            row[: len(tokens)] = tokens
        return ids

    @property
    def input_ids(self):
        """The tokens, padded with token 0 at the end: ``[sequences, longest]`` int64, of torch if it is installed."""
        return _formats.of_bits(self.padded(), "i64", _formats.default_format())

    @property
    def attention_mask(self):
        """1 where :attr:`input_ids` has a token, 0 where it has padding: the same shape and type."""
        mask = (np.arange(int(self.lengths.max())) < self.lengths[:, None]).astype(np.int64)
        return _formats.of_bits(mask, "i64", _formats.default_format())


def _size(name: str, value) -> int:
    value = operator.index(value)
    if not 1 <= value < 1 << 31:
        raise Error(f"{name}: expected a number of at least 1, got {value}")
    return value


def _top_k(predictions: "str | int | None") -> "int | None":
    if predictions is None or predictions == "loss":
        return None if predictions is None else 0
    if isinstance(predictions, int) and not isinstance(predictions, bool) and predictions > 0:
        return predictions
    raise Error(f"predictions: expected None, 'loss' or a number of logits above 0, got {predictions!r}")


def _plan(planner, sequences, sections, documents, subsets, turns, name: str) -> None:
    """Gives the planner all sequences, and what goes with each."""
    bos, ends = planner.bos, object()
    beside = {
        key: itertools.repeat(values) if isinstance(values, str) or values is None else iter(values)
        for key, values in [("sections", sections), ("documents", documents), ("subsets", subsets), ("turns", turns)]
    }
    seen, count = set(), 0
    for number, sequence in enumerate(sequences):
        what = f"sequence {number}"
        tokens = _tokens(what, sequence)
        own = {key: next(values, ends) for key, values in beside.items()}
        for key, value in own.items():
            if value is ends:
                raise Error(f"{key}: expected one for each sequence, got {number} where there are more")
        own_sections = _sections(what, tokens, own["sections"], bos)
        own_turns = own["turns"]
        if own_turns is not None:
            own_turns = _of_tokens(f"{what}: turns", own_turns, tokens, "uint32").astype("<u4").tobytes()
        spans = _spans(what, tokens, number if own["documents"] is None else own["documents"], own["subsets"])
        seen.update(document for document, _, _ in spans)
        planner.add(tokens.tobytes(), own_sections.tobytes(), own_turns, spans)
        count = number + 1
    for key, values in beside.items():
        if not isinstance(values, itertools.repeat) and next(values, ends) is not ends:
            raise Error(f"{key}: expected one for each of {count} sequences, got more")
    planner.finish(name, len(seen))


def _tokens(what: str, sequence) -> np.ndarray:
    given = np.asarray(sequence.detach().cpu() if hasattr(sequence, "detach") else sequence)
    if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "iu":
        raise Error(f"{what}: expected token ids, at least one, got {given.dtype} of shape {given.shape}")
    if int(given.min()) < 0 or int(given.max()) >= 1 << 32:
        raise Error(f"{what}: expected token ids of 32 bits, got {int(given.min())} to {int(given.max())}")
    return np.ascontiguousarray(given, "<u4")


def _of_tokens(what: str, values, tokens: np.ndarray, dtype: str) -> np.ndarray:
    """One value for each token."""
    given = np.asarray(values)
    if given.shape != tokens.shape or given.dtype.kind not in "iu" or int(given.min()) < 0:
        got = f"{given.dtype} of shape {given.shape}"
        raise Error(f"{what}: expected a number from 0 for each of {len(tokens)} tokens, got {got}")
    return given.astype(dtype)


def _sections(what: str, tokens: np.ndarray, given, bos: "int | None") -> np.ndarray:
    """The section of each token, as bytes."""
    if given is None:
        places = np.full(len(tokens), SECTIONS["text"], np.uint8)
        if bos is not None:
            places[tokens == bos] = SECTIONS["bos"]
        return places
    names = itertools.repeat(given, len(tokens)) if isinstance(given, str) else list(given)
    places = [SECTIONS.get(str(name)) for name in names]
    if len(places) != len(tokens) or None in places:
        unknown = next((str(name) for name in ([given] if isinstance(given, str) else given) if str(name) not in SECTIONS), None)
        got = f"{len(places)} of them" if unknown is None else unknown
        raise Error(f"{what}: expected a section for each of {len(tokens)} tokens, of {', '.join(SECTIONS)}, got {got}")
    return np.array(places, np.uint8)


def _spans(what: str, tokens: np.ndarray, documents, subsets) -> "list[tuple[int, str | None, int]]":
    """Runs of tokens of one document and subset."""
    length = len(tokens)
    if np.ndim(documents) == 0:
        numbers = [operator.index(documents)] * length
    else:
        numbers = _of_tokens(f"{what}: documents", documents, tokens, "int64").tolist()
    names = [subsets] * length if subsets is None or isinstance(subsets, str) else list(subsets)
    if len(names) != length or any(name is not None and not isinstance(name, str) for name in names):
        raise Error(f"{what}: expected a subset's name or None for each of {length} tokens, got {len(names)} values")
    runs = itertools.groupby(zip(numbers, names))
    return [(document, name, len(list(run))) for (document, name), run in runs]


def _is_torch(value) -> bool:
    return hasattr(value, "detach")


def _flat(what: str, values, lengths: np.ndarray, tail: "tuple[int | None, ...]"):
    """Rows of all tokens, ``[tokens, *tail]``, without padding: of torch or numpy, as given."""
    total, longest = int(lengths.sum()), int(lengths.max())
    fits = lambda shape: len(shape) == len(tail) and all(wanted in (None, got) for wanted, got in zip(tail, shape))
    if isinstance(values, (list, tuple)):
        if len(values) != len(lengths) or any(
            len(part) != length or not fits(tuple(part.shape[1:])) for part, length in zip(values, lengths)
        ):
            got = f"{len(values)} of lengths {', '.join(str(len(part)) for part in values)}"
            raise Error(f"{what}: expected {len(lengths)} arrays {_shape('tokens', tail)}, got {got}")
        if _is_torch(values[0]):
            return _formats.import_torch().cat([part.detach() for part in values])
        return np.concatenate([np.asarray(part) for part in values])
    values = values.detach() if _is_torch(values) else np.asarray(values)
    shape = tuple(values.shape)
    if shape[:1] == (total,) and fits(shape[1:]):
        return values
    if len(shape) >= 2 and shape[0] == len(lengths) and shape[1] == longest and fits(shape[2:]):
        mask = np.arange(longest) < lengths[:, None]
        if _is_torch(values):
            return values[_formats.import_torch().from_numpy(mask).to(values.device)]
        return values[mask]
    expected = f"{_shape(f'{len(lengths)}, {longest}', tail)} with padding or {_shape(total, tail)} without"
    raise Error(f"{what}: expected {expected}, got {list(shape)}")


def _shape(first, tail) -> str:
    return "[" + ", ".join([str(first), *("any" if size is None else str(size) for size in tail)]) + "]"


def _float32(rows) -> np.ndarray:
    if _is_torch(rows):
        return rows.to("cpu", _formats.import_torch().float32).contiguous().numpy()
    return np.ascontiguousarray(rows, dtype=np.float32)


def _words(rows, dtype: str) -> bytes:
    """Little-endian words of the cache's dtype."""
    if _is_torch(rows):
        torch = _formats.import_torch()
        words = rows.to("cpu", _formats.torch_type(dtype)).contiguous()
        return words.view(torch.int16 if dtype != "f32" else torch.int32).numpy().tobytes()
    if rows.dtype.kind not in "fV":
        raise Error(f"activations: expected floating-point numbers, got {rows.dtype}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(rows.astype(_formats.numpy_type(dtype), copy=False)).tobytes()


def _of_logits(logits, tokens: np.ndarray, top_k: int) -> "list[np.ndarray]":
    """Loss, log-sum-exp, entropy, ids and values of the largest logits, from ``[tokens, vocabulary]``. Computed in float32
    in pieces."""
    rows, vocabulary = int(logits.shape[0]), int(logits.shape[1])
    if vocabulary <= int(tokens.max()) or top_k > vocabulary:
        raise Error(f"logits: expected a vocabulary above token {int(tokens.max())} and {top_k} logits, got {vocabulary}")
    following = np.append(tokens[1:], 0).astype(np.int64)
    compute = _of_torch_logits if _is_torch(logits) else _of_numpy_logits
    step = max((1 << 24) // vocabulary, 1)
    pieces = [compute(logits[at : at + step], following[at : at + step], top_k) for at in range(0, rows, step)]
    columns = [np.concatenate(column) for column in zip(*pieces)]
    return [columns[0], columns[1], columns[2], columns[3].astype("<u4").ravel(), columns[4].ravel()]


def _of_torch_logits(logits, following: np.ndarray, top_k: int):
    torch = _formats.import_torch()
    logits = logits.float()
    logsumexp = logits.logsumexp(-1)
    entropy = logsumexp - (torch.softmax(logits, -1) * logits).sum(-1)
    label = logits.gather(-1, torch.from_numpy(following).to(logits.device)[:, None])[:, 0]
    values, ids = logits.topk(top_k, dim=-1)
    return [_float32(part) for part in (logsumexp - label, logsumexp, entropy)] + [ids.cpu().numpy(), _float32(values)]


def _of_numpy_logits(logits: np.ndarray, following: np.ndarray, top_k: int):
    logits = logits.astype(np.float32)
    largest = logits.max(-1, keepdims=True)
    weights = np.exp(logits - largest)
    total = weights.sum(-1, keepdims=True)
    logsumexp = (largest + np.log(total))[:, 0]
    entropy = logsumexp - (weights / total * logits).sum(-1)
    label = np.take_along_axis(logits, following[:, None], -1)[:, 0]
    ids = np.argsort(-logits, axis=-1, kind="stable")[:, :top_k]
    return [logsumexp - label, logsumexp, entropy, ids, np.take_along_axis(logits, ids, -1)]
