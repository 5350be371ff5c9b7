"""The printed table, and the files: everything measured, and the medians."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from comparisons import Row

# The figures of latest.json, in order.
FIGURES = [
    "ce_f32_one_sae",
    "ce_bf16_one_sae",
    "ce_f32_eight_saes_per_sae",
    "sums_only",
    "gemm_share",
    "harvest_f32",
    "harvest_bf16",
    "harvest_full_overhead",
    "bytes_ratio_bf16",
    "planes_decode_gb_per_s",
    "planes_encode_gb_per_s",
    "raw_gb_per_s",
    "memory_excess_gb",
    "break_even_saes",
    "latents_over_run",
    "latents_memory_growth",
]

NOTES = {
    "ratios": "Figures with a peer are ratios of rates in tokens a second, ours over the peer's, of medians over the repeats: "
    "more is better. bytes_ratio_bf16 is a ratio of sizes: less is better.",
    "threads": "Two on every side. All sides run one after another, then again from the start.",
    "tokens": "SAELens and transformers read the token ids of the cache's plan, in batches of 8 contexts of 512.",
    "saelens": "With the model class that it takes by default, HookedTransformer. Rows ending in other_model have it on "
    "transformers' own model, which is faster here. Import and loading are never counted.",
    "ce_f32_one_sae": "The first run on a cache, which makes the baselines. The harvest is not in it; see break_even_saes.",
    "ce_bf16_one_sae": "Ours with --compute bf16, also a first run, against SAELens in f32. The rows have SAELens in bf16 too.",
    "ce_f32_eight_saes_per_sae": "Eight SAEs in one first run, per SAE, against SAELens with one SAE.",
    "sums_only": "L0, error and explained variance without losses, against SAELens's sparsity and variance metrics.",
    "gemm_share": "Floating-point operations a second of a later run, f32, one SAE, as a share of the machine's rate in matrix "
    "products, as `evaluate run --profile` measures both.",
    "harvest_f32": "Activations only, written to disk, against SAELens's CacheActivationsRunner in f32.",
    "harvest_bf16": "The model in bf16, against SAELens in f32. The rows have SAELens in bf16 too.",
    "harvest_full_overhead": "Seconds of a harvest with labels, logsumexp and the top 64 logits of the whole model, f32, over "
    "those of the bare forward pass of transformers with logits, less 1.",
    "bytes_ratio_bf16": "Activations of --logits none in bf16 planes against SAELens's folder in float32, for it cannot write "
    "bfloat16; against float16, whose range is smaller, in the row bytes_bf16_against_float16.",
    "planes_decode_gb_per_s": "Codecs: gigabytes of plain words a second on one thread, by the store's example codec_speed.",
    "memory_excess_gb": "Peak resident memory beyond the bytes of the model's upper half and the SAE, the largest over 1, 4 and "
    "16 times the tokens.",
    "latents_over_run": "Time of `evaluate latents` over that of `evaluate run` without a model on the same cache, whose baselines "
    "are there, at 16 times the tokens: less is better.",
    "latents_memory_growth": "Peak resident memory of `evaluate latents` at 16 times the tokens over that at once the tokens.",
    "break_even_saes": "The smallest number of SAEs from which a full harvest and evaluations (each counted as a first one) take "
    "less time than SAELens's evaluations; null if there is none.",
}


def number(value: float | None) -> str:
    """Four significant digits, and no exponent."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def spread(values: list[float]) -> str:
    """Median and, in brackets, the least and the most."""
    if not values:
        return "–"
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} [{number(min(values))}, {number(max(values))}]"


def table(rows: list[Row]) -> str:
    """All rows, aligned."""
    lines = [["name", "Hayloft: median [least, most]", "peer: median [least, most]", "ratio", "unit", "peer"]]
    lines += [[row.name, spread(row.ours), spread(row.peer), number(row.ratio), row.unit, row.against or "–"] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["─" * width for width in widths])
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def figures(rows: list[Row]) -> dict[str, float | None]:
    """The content of latest.json: ratios if there is a peer, else medians."""
    found = {row.name: row.ratio if row.peer else median(row.ours) for row in rows}
    return {name: found[name] for name in FIGURES if name in found}


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
    """The rows with their medians."""
    return [
        {
            "name": row.name,
            "unit": row.unit,
            "ours": summary(row.ours),
            "peer": summary(row.peer) if row.peer else None,
            "against": row.against or None,
            "ratio": row.ratio,
        }
        for row in rows
    ]


def summary(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def write(path: Path, content: dict[str, Any]) -> None:
    """JSON, one line for each entry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
