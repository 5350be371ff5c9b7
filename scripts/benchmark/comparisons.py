"""The comparisons: the sides that run, in order, and the rows of the table made from them."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from ours import Measurement, Programs
from peers import Peers
from workload import LAST_SITE, SAES, SITE, Workload

LOSSES = {"compute_ce_loss": True}
SUMS = {"compute_sparsity_metrics": True, "compute_variance_metrics": True}
TOLERANCE = 1e-3

# The sides that each comparison needs. A `first` run makes the baselines beside the cache, a `later` one finds them.
NEEDS = {
    "a": ["ours_ce_f32_first", "peer_ce_f32", "auto_ce_f32", "ours_ce_f32_later"],
    "b": ["ours_ce_f32_first", "peer_ce_f32", "auto_ce_f32", "ours_ce_bf16_first", "peer_ce_bf16", "auto_ce_bf16"],
    "c": ["ours_ce_f32_eight", "peer_ce_f32", "auto_ce_f32"],
    "d": ["ours_sums", "peer_sums", "auto_sums"],
    "e": [
        *("ours_harvest_f32", "peer_harvest_f32", "auto_harvest_f32", "half_f32"),
        *("ours_harvest_bf16", "peer_harvest_bf16", "auto_harvest_bf16", "half_bf16"),
    ],
    "f": ["ours_full_f32", "whole_f32", "ours_last_f32", "ours_full_bf16", "whole_bf16"],
    "g": ["ours_harvest_bf16", "peer_harvest_bf16", "peer_harvest_f32"],
    "h": ["ours_ce_f32_first", "ours_ce_f32_later"],
    "i": [],
    "j": [],
    "k": ["ours_full_f32", "ours_ce_f32_first", "peer_ce_f32"],
    "l": [],
}

Side = Callable[[], Measurement]


# SAELens with its default model class, and with the other one.
DEFAULT, OTHER = "HookedTransformer", "AutoModelForCausalLM"


def sides(programs: Programs, workload: Workload, peers: Peers, cache: Path, data: Path) -> dict[str, Side]:
    """Every side, in the order of a round."""
    model, one, eight = workload.model, workload.saes[:1], workload.saes

    def harvest(site: str, dtype: str, logits: str) -> Side:
        return lambda: programs.harvest(model, data, workload.folder / "harvest", site, dtype, logits)

    def saelens(kind: str, dtype: str, config: dict[str, bool]) -> Side:
        return lambda: peers.evaluate(kind, dtype, config)

    def saelens_harvest(kind: str, dtype: str) -> Side:
        return lambda: peers.harvest(kind, dtype)

    return {
        "ours_ce_f32_first": lambda: programs.evaluate(cache, one, model),
        "peer_ce_f32": saelens(DEFAULT, "f32", LOSSES),
        "ours_ce_f32_later": lambda: programs.evaluate(cache, one, model, keep_baselines=True),
        "auto_ce_f32": saelens(OTHER, "f32", LOSSES),
        "peer_ce_bf16": saelens(DEFAULT, "bf16", LOSSES),
        "ours_ce_bf16_first": lambda: programs.evaluate(cache, one, model, compute="bf16"),
        "auto_ce_bf16": saelens(OTHER, "bf16", LOSSES),
        "peer_sums": saelens(DEFAULT, "f32", SUMS),
        "ours_sums": lambda: programs.evaluate(cache, one),
        "auto_sums": saelens(OTHER, "f32", SUMS),
        "peer_harvest_f32": saelens_harvest(DEFAULT, "f32"),
        "ours_harvest_f32": harvest(SITE, "f32", "none"),
        "auto_harvest_f32": saelens_harvest(OTHER, "f32"),
        "half_f32": lambda: peers.forward("f32", whole=False),
        "ours_harvest_bf16": harvest(SITE, "bf16", "none"),
        "peer_harvest_bf16": saelens_harvest(DEFAULT, "bf16"),
        "auto_harvest_bf16": saelens_harvest(OTHER, "bf16"),
        "half_bf16": lambda: peers.forward("bf16", whole=False),
        "ours_full_f32": harvest(SITE, "f32", "top=64"),
        "whole_f32": lambda: peers.forward("f32", whole=True),
        "ours_last_f32": harvest(LAST_SITE, "f32", "none"),
        "whole_bf16": lambda: peers.forward("bf16", whole=True),
        "ours_full_bf16": harvest(SITE, "bf16", "top=64"),
        "ours_ce_f32_eight": lambda: programs.evaluate(cache, eight, model),
    }


@dataclass
class Row:
    """A line of the table: every repeat of ours and, if any, of the peer."""

    name: str
    unit: str
    ours: list[float]
    peer: list[float] = field(default_factory=list)
    against: str = ""

    @property
    def ratio(self) -> float | None:
        """The median of ours over the peer's."""
        return median(self.ours) / median(self.peer) if self.peer else None


# Name, ours, peer, description of the peer. In tokens a second; for several SAEs in tokens a second times SAEs.
RATES = [
    ("ce_f32_one_sae", "ours_ce_f32_first", "peer_ce_f32", "SAELens, f32"),
    ("ce_f32_one_sae_other_model", "ours_ce_f32_first", "auto_ce_f32", "SAELens on AutoModelForCausalLM, f32"),
    ("ce_f32_one_sae_later_run", "ours_ce_f32_later", "peer_ce_f32", "SAELens, f32"),
    ("ce_bf16_one_sae", "ours_ce_bf16_first", "peer_ce_f32", "SAELens, f32"),
    ("ce_bf16_one_sae_other_model", "ours_ce_bf16_first", "auto_ce_f32", "SAELens on AutoModelForCausalLM, f32"),
    ("ce_bf16_one_sae_against_bf16", "ours_ce_bf16_first", "peer_ce_bf16", "SAELens, bf16"),
    ("ce_bf16_one_sae_other_model_bf16", "ours_ce_bf16_first", "auto_ce_bf16", "SAELens on AutoModelForCausalLM, bf16"),
    ("ce_f32_eight_saes_per_sae", "ours_ce_f32_eight", "peer_ce_f32", "SAELens, f32, one SAE"),
    ("ce_f32_eight_saes_other_model", "ours_ce_f32_eight", "auto_ce_f32", "SAELens on AutoModelForCausalLM, f32, one SAE"),
    ("sums_only", "ours_sums", "peer_sums", "SAELens, f32"),
    ("sums_only_other_model", "ours_sums", "auto_sums", "SAELens on AutoModelForCausalLM, f32"),
    ("harvest_f32", "ours_harvest_f32", "peer_harvest_f32", "SAELens, f32"),
    ("harvest_f32_other_model", "ours_harvest_f32", "auto_harvest_f32", "SAELens on AutoModelForCausalLM, f32"),
    ("harvest_bf16", "ours_harvest_bf16", "peer_harvest_f32", "SAELens, f32"),
    ("harvest_bf16_other_model", "ours_harvest_bf16", "auto_harvest_f32", "SAELens on AutoModelForCausalLM, f32"),
    ("harvest_bf16_against_bf16", "ours_harvest_bf16", "peer_harvest_bf16", "SAELens, bf16, float16 on disk"),
    ("harvest_bf16_other_model_bf16", "ours_harvest_bf16", "auto_harvest_bf16", "SAELens on AutoModelForCausalLM, bf16"),
    ("harvest_f32_against_forward", "ours_harvest_f32", "half_f32", "transformers to the middle, f32"),
    ("harvest_bf16_against_forward", "ours_harvest_bf16", "half_bf16", "transformers to the middle, bf16"),
    ("harvest_full_f32", "ours_full_f32", "whole_f32", "transformers with logits, f32"),
    ("harvest_full_bf16", "ours_full_bf16", "whole_bf16", "transformers with logits, bf16"),
    ("harvest_last_site_f32", "ours_last_f32", "whole_f32", "transformers with logits, f32"),
]

Measured = dict[str, list[Measurement]]


def per_second(runs: list[Measurement], seconds: str = "seconds") -> list[float]:
    """Tokens a second, times SAEs."""
    return [run["tokens"] * run.get("saes", 1) / run[seconds] for run in runs]


def rows(measured: Measured) -> list[Row]:
    """The rows whose sides all ran."""
    table = []
    for name, ours, peer, against in RATES:
        if ours in measured and peer in measured:
            table.append(Row(name, "tokens/s", per_second(measured[ours]), per_second(measured[peer]), against))
        if name == "ce_f32_one_sae" and table:
            # Our whole process, loading and hashing included, against the peer's evaluation alone.
            whole = per_second(measured[ours], "wall_seconds")
            table.append(Row("ce_f32_one_sae_whole_process", "tokens/s", whole, table[-1].peer, f"{against}, without loading"))
    if {"ours_full_f32", "whole_f32"} <= measured.keys():
        # Against the bare pass of the same round.
        pairs = zip(measured["ours_full_f32"], measured["whole_f32"], strict=True)
        overhead = [ours["seconds"] / bare["seconds"] - 1 for ours, bare in pairs]
        table.append(Row("harvest_full_overhead", "share of the bare pass", overhead))
    if {"ours_harvest_bf16", "peer_harvest_bf16"} <= measured.keys():
        table += bytes_rows(measured)
    if "ours_ce_f32_later" in measured:
        shares = [run["profile"]["share_of_matrix_product_rate"] for run in measured["ours_ce_f32_later"]]
        table.append(Row("gemm_share", "share of the machine's rate", shares))
    return table


def bytes_rows(measured: Measured) -> list[Row]:
    """Bytes a token on disk, ours bf16 in planes."""

    def each(side: str, what: str) -> list[float]:
        return [run[what] / run["tokens"] for run in measured[side]]

    activations, whole = each("ours_harvest_bf16", "activation_bytes"), each("ours_harvest_bf16", "folder_bytes")
    half, full = each("peer_harvest_bf16", "folder_bytes"), each("peer_harvest_f32", "folder_bytes")
    return [
        # SAELens's cache cannot hold bfloat16; float32 keeps the range.
        Row("bytes_ratio_bf16", "bytes/token", activations, full, "SAELens, float32; our activations"),
        Row("bytes_whole_cache_bf16", "bytes/token", whole, full, "SAELens, float32; tokens and plan too"),
        Row("bytes_bf16_against_float16", "bytes/token", activations, half, "SAELens, float16, another format"),
    ]


def break_even(measured: Measured) -> int | None:
    """The number of SAEs from which one harvest and evaluations of the cache cost less than SAELens; None if there is none.

    Each evaluation counts as a first one, so the answer is biased against Hayloft.
    """
    harvest, ours, peer = (
        median(run["seconds"] / run["tokens"] for run in measured[side])
        for side in ("ours_full_f32", "ours_ce_f32_first", "peer_ce_f32")
    )
    return max(1, math.ceil(harvest / (peer - ours))) if peer > ours else None


def agreement(measured: Measured) -> dict[str, float]:
    """The distance between the figures of both sides. Ends the benchmark if they measure different things."""
    distances = {}
    if {"ours_ce_f32_first", "peer_ce_f32"} <= measured.keys():
        own, theirs = measured["ours_ce_f32_first"][0]["results"][0], measured["peer_ce_f32"][0]["metrics"]
        pairs = {"ce_clean": "ce_loss_without_sae", "ce_sae": "ce_loss_with_sae", "ce_zero": "ce_loss_with_ablation"}
        for column, metric in pairs.items():
            distances[f"{column}_f32_nats"] = own[column] - theirs[metric]
    if {"ours_sums", "peer_sums"} <= measured.keys():
        own, theirs = measured["ours_sums"][0]["results"][0], measured["peer_sums"][0]["metrics"]
        for column, metric in {"l0": "l0", "mse": "mse", "explained_variance_pooled": "explained_variance"}.items():
            distances[f"{column}_relative"] = own[column] / theirs[metric] - 1
    for name, distance in distances.items():
        if abs(distance) > TOLERANCE:
            sys.exit(f"error: {name}: Hayloft and SAELens are {distance:.6f} apart, expected at most {TOLERANCE}")
    if {"ours_ce_f32_first", "ours_ce_bf16_first"} <= measured.keys():
        exact, rounded = (measured[side][0]["results"][0]["ce_sae"] for side in ("ours_ce_f32_first", "ours_ce_bf16_first"))
        distances["ce_sae_bf16_minus_f32_nats"] = rounded - exact
    if "ours_ce_f32_eight" in measured:
        found = len(measured["ours_ce_f32_eight"][0]["results"])
        if found != SAES:
            sys.exit(f"error: {found} results of {SAES} SAEs")
    return distances
