"""Latents of SAEs: what the program ``evaluate latents`` collects, as tables."""

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

from hayloft._errors import Error, OutOfRange, UnknownName
from hayloft._figures import command_line, frame_maker, run

TABLES = ("latents", "examples")
ABOUT = b"hayloft.latents"
"""Key of the summary in the files' metadata."""
NEURONPEDIA_BATCH = 128
"""Latents of a file for Neuronpedia, as SAEDashboard has it."""
SPACES = {"Ġ": " ", "▁": " ", "Ċ": "\n", "ĉ": "\t"}
"""Marks of vocabularies, and what they stand for."""


def latents(
    cache,
    saes: "str | os.PathLike | Iterable",
    *,
    tokenizer: "str | os.PathLike | None" = None,
    model: "str | os.PathLike | None" = None,
    sections: "str | Iterable[str] | None" = None,
    exclude: "str | None" = None,
    outlier_norm: "str | float | None" = None,
    scale: "str | float | None" = None,
    device: "str | None" = None,
    out: "str | os.PathLike | None" = None,
    options: "Iterable[str]" = (),
) -> "Latents":
    """Collects what every latent of SAEs does on a cache: runs ``evaluate latents``.

    ``cache`` is a :class:`Cache`, a folder or a location; ``saes`` one path or pattern, or several. ``tokenizer`` gives the
    texts of tokens; ``model``, the checkpoint of the cache, also the tokens whose logits each latent raises and lowers. The
    other arguments are the program's options of these names, and ``options`` are further words of its command line, such as
    ``["--top", "50"]``. Files go to ``out``, or to a temporary folder that lasts as long as the result.
    docs/latents.md defines the columns.
    """
    folder = Path(tempfile.mkdtemp(prefix="hayloft-latents-") if out is None else out)
    given = {
        "tokenizer": tokenizer,
        "model": model,
        "exclude": exclude,
        "outlier-norm": outlier_norm,
        "scale": scale,
        "device": device,
        "out": folder,
    }
    try:
        run("evaluate", [*command_line("latents", cache, saes, sections, given), *options])
        found = Latents(folder)
    except BaseException:
        if out is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if out is None:
        weakref.finalize(found, shutil.rmtree, folder, ignore_errors=True)
    return found


class Latents:
    """Latents of SAEs, in a folder that ``evaluate latents`` wrote. Needs the package pyarrow.

    Raises :class:`Error` if the folder has no such files.
    """

    def __init__(self, folder: "str | os.PathLike") -> None:
        try:
            import pyarrow.parquet
        except ImportError:
            message = "latents: expected the package pyarrow, got none. Install it with pip"
            raise Error(message, "missing_package") from None
        self._parquet = pyarrow.parquet
        self.folder = Path(folder)
        about = self._metadata("latents")
        if ABOUT not in about:
            raise Error(f"{self._path('latents')}: expected a file of `evaluate latents`, got another one", "damaged")
        if self._metadata("examples").get(ABOUT) != about[ABOUT]:
            message = f"{self._path('examples')}: expected the examples of the same run as latents.parquet, got others"
            raise Error(message, "damaged")
        self.about: dict = json.loads(about[ABOUT])
        """How the files were made, and a summary of each SAE: docs/latents.md."""

    @property
    def saes(self) -> "list[str]":
        """The names of the SAEs."""
        return [sae["name"] for sae in self.about["saes"]]

    def table(self, sae: "str | None" = None):
        """``latents.parquet`` as a table of Arrow, a row for each latent; of one SAE or of all."""
        return self._table("latents", [] if sae is None else [("sae", "=", self._sae(sae))])

    def frame(self, sae: "str | None" = None, *, frame: "str | None" = None):
        """The same as a data frame of pandas, of polars if pandas is not installed, or as ``frame`` says."""
        make = frame_maker(frame)
        return make(self.table(sae).to_pylist())

    def examples(self, latent: int, sae: "str | None" = None, *, kind: "str | None" = None) -> "list[dict]":
        """The examples of a latent, with their contexts: ``top`` ones, ``sampled`` ones, or both. ``sae`` may be left out if
        there is one SAE."""
        if kind not in (None, "top", "sampled"):
            raise Error(f"kind: expected top or sampled, got {kind!r}")
        name = self._sae(sae)
        width = next(own["provenance"]["width"] for own in self.about["saes"] if own["name"] == name)
        if not 0 <= latent < width:
            raise OutOfRange(f"latent: expected one of {name}, from 0 to {width - 1}, got {latent}")
        chosen = [("sae", "=", name), ("latent", "=", latent)]
        return self._table("examples", chosen + ([("kind", "=", kind)] if kind else [])).to_pylist()

    def to_neuronpedia(
        self,
        folder: "str | os.PathLike",
        *,
        model_id: str,
        layer: int,
        sae_set: str,
        sae: "str | None" = None,
    ) -> "list[Path]":
        """Writes the latents of an SAE as the files ``batch-N.json`` that SAEDashboard makes and Neuronpedia imports.

        ``model_id``, ``layer`` and ``sae_set`` are Neuronpedia's names. Latents that never fire are left out, as SAEDashboard
        leaves them out. What is not measured is empty: alignments and correlations of neurons, and the histogram of logits.
        Returns the paths. Needs texts (``tokenizer``) and logits (``model``).
        """
        name = self._sae(sae)
        for column, argument in [("logits_raised", "model"), ("texts", "tokenizer")]:
            file = "latents" if argument == "model" else "examples"
            if column not in self._read(lambda file=file: self._parquet.read_schema(self._path(file))).names:
                message = f"{self._path(file)}: expected the column {column}, got none. Collect latents with {argument}=…"
                raise Error(message, "invalid")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.glob("batch-*.json")):
            raise Error(f"{folder}: expected no batch-*.json, got some. Remove them, or name another folder", "conflict")
        paths = []
        for number, rows in enumerate(chunks(self._fired(name), NEURONPEDIA_BATCH)):
            batch = {"model_id": model_id, "layer": layer, "sae_set": sae_set, "sae_id_suffix": None}
            batch["features"] = [self._feature(row, examples) for row, examples in rows]
            path = folder / f"batch-{number}.json"
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(batch, ensure_ascii=False))
            partial.replace(path)
            paths.append(path)
        return paths

    def _fired(self, name: str) -> "Iterator[tuple[dict, list[dict]]]":
        """The latents of an SAE that fire, each with its examples."""
        examples = self._examples_by_latent(name)
        latent, own = next(examples, (None, []))
        for row in self.table(name).to_pylist():
            while latent is not None and latent < row["latent"]:
                latent, own = next(examples, (None, []))
            if row["firings"] > 0:
                yield row, own if latent == row["latent"] else []

    def _examples_by_latent(self, name: str) -> "Iterator[tuple[int, list[dict]]]":
        """The examples of an SAE by latent, a few thousand rows in memory."""
        with self._parquet.ParquetFile(self._path("examples")) as file:
            latent, own = None, []
            for part in file.iter_batches(4096):
                for row in part.to_pylist():
                    if row["sae"] != name:
                        continue
                    if row["latent"] != latent:
                        if own:
                            yield latent, own
                        latent, own = row["latent"], []
                    own.append(row)
            if own:
                yield latent, own

    def _feature(self, row: dict, examples: "list[dict]") -> dict:
        empty = (
            "neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1", "correlated_neurons_indices",
            "correlated_neurons_l1", "correlated_neurons_pearson", "correlated_features_indices", "correlated_features_l1",
            "correlated_features_pearson", "logits_hist_data_bar_heights", "logits_hist_data_bar_values",
            "decoder_weights_dist", "vector",
        )  # fmt: skip
        feature = {name: [] for name in empty}
        for side, column in [("pos", "logits_raised"), ("neg", "logits_lowered")]:
            feature[f"{side}_str"] = [readable(entry["text"]) for entry in row[column]]
            feature[f"{side}_values"] = [entry["effect"] for entry in row[column]]
        return feature | {
            "feature_index": row["latent"],
            "frac_nonzero": row["density"],
            "freq_hist_data_bar_values": [(bin["from"] + bin["to"]) / 2 for bin in row["histogram"]],
            "freq_hist_data_bar_heights": [bin["count"] for bin in row["histogram"]],
            "n_prompts_total": self.about["sequences"],
            "n_tokens_in_prompt": self.about["context_length"],
            "dataset": self.about["cache"]["corpus"],
            "activations": activations_of(row, examples),
        }

    def _metadata(self, file: str) -> "dict[bytes, bytes]":
        return self._read(lambda: self._parquet.read_metadata(self._path(file)).metadata) or {}

    def _sae(self, name: "str | None") -> str:
        saes = self.saes
        if name is None and len(saes) == 1:
            return saes[0]
        if name not in saes:
            raise UnknownName(f"sae: expected one of {', '.join(saes)}, got {name!r}")
        return name

    def _path(self, table: str) -> Path:
        return self.folder / f"{table}.parquet"

    def _table(self, table: str, chosen: "list[tuple]"):
        return self._read(lambda: self._parquet.read_table(self._path(table), filters=chosen or None))

    def _read(self, read):
        import pyarrow

        try:
            return read()
        except FileNotFoundError as error:
            message = f"{self.folder}: expected {' and '.join(f'{name}.parquet' for name in TABLES)} of `evaluate latents`"
            raise Error(f"{message}, got no {Path(error.filename or '').name or 'file'}", "not_found") from None
        except (pyarrow.ArrowException, OSError) as error:
            raise Error(f"{self.folder}: cannot be read: {error}", "damaged") from None

    def __repr__(self) -> str:
        return f"Latents({str(self.folder)!r}, saes={self.saes})"


def activations_of(row: dict, examples: "list[dict]") -> "list[dict]":
    """Examples as SAEDashboard groups them: the top ones, whose bin is -1 to the maximum, and the sampled ones in intervals
    of equal width, each with its share of the firings as far as the bins of the histogram tell."""
    found = []
    width = row["max"] / 10
    for example in examples:
        if example["kind"] == "top":
            low, high, share = -1.0, row["max"], -1.0
        else:
            interval = min(int(example["activation"] / width), 9)
            low, high = interval * width, (interval + 1) * width
            inside = sum(bin["count"] for bin in row["histogram"] if low <= (bin["from"] + bin["to"]) / 2 < high)
            share = inside / row["firings"]
        found.append(
            {
                "bin_min": low,
                "bin_max": high,
                "bin_contains": share,
                "tokens": [readable(text) for text in example["texts"]],
                "values": [value or 0.0 for value in example["activations"]],
                "qualifying_token_index": example["position"] - example["first_position"],
            }
        )
    return found


def readable(text: "str | None") -> str:
    """A token of a vocabulary with spaces and line breaks as they are."""
    return "".join(SPACES.get(mark, mark) for mark in text or "")


def chunks(items: "Iterator", size: int) -> "Iterator[list]":
    """Lists of items, of a size but for the last."""
    held = []
    for item in items:
        held.append(item)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held
