#!/usr/bin/env python3
"""Compares `store inspect` with `evaluate run --by subset`: for every subset of a cache both must count the same losses, to the row,
and give the same mean clean loss, to 1e-6. Prints both.

Proves: `store inspect` and `evaluate run --by subset` count the same losses
Needs: LibTorch, a model and an SAE
Takes: seconds

  scripts/check subsets --model demo/base --sae demo/saes/base --data demo/experiment/text-heldout.toml
  scripts/check subsets --model DIR --sae DIR --cache DIR         an existing cache
  scripts/check subsets --model DIR --sae DIR --text FILE.jsonl   its texts in synthetic subsets, packed into contexts

--programs DIR has `harvest`, `store` and `evaluate` [default: builds them in debug].
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import programs
from programs import quietly

SUBSETS = ["code", "law", "prose", "web"]
TOLERANCE = 1e-6


def fail(words: str) -> None:
    sys.exit(f"subsets: {words}")


def cut_into_subsets(text: Path, folder: Path) -> Path:
    """The manifest of a file's texts, each with a synthetic subset."""
    lines = []
    for place, line in enumerate(text.read_text().splitlines()):
        subset = SUBSETS[place * (place + 1) // 2 % len(SUBSETS)]
        lines.append(json.dumps({"text": json.loads(line)["text"], "subset": subset}))
    (folder / "text.jsonl").write_text("\n".join(lines) + "\n")
    manifest = folder / "text.toml"
    manifest.write_text(
        'name = "made-up subsets"\npacking = "concat"\ncontext_length = 256\nsubset_field = "subset"\n[[files]]\npath = "text.jsonl"\n'
    )
    return manifest


def site_of(sae: Path) -> str:
    config = json.loads((sae / "cfg.json").read_text())
    return config.get("metadata", config)["hook_name"]


def compare(built: Path, model: Path, sae: Path, cache: Path, folder: Path) -> None:
    inspected = json.loads(quietly(built / "store", "inspect", "--json", cache))
    if inspected["statistics"] is None or inspected["predictions"] is None:
        fail(f"{cache}: expected a cache with statistics and predictions")
    expected = {group["subset"]: group for group in inspected["statistics"]["subsets"]}
    arguments = ["--model", model, "--cache", cache, "--sae", sae, "--baselines", folder / "baselines", "--by", "subset", "--json"]
    result = json.loads(quietly(built / "evaluate", "run", *arguments))[0]
    if result["clean_loss_source"] != "cache":
        fail(f"{cache}: expected clean losses of the cache, got {result['clean_loss_source']}")
    got = {own["subset"]: own for own in result["subsets"]}
    if expected.keys() != got.keys():
        fail(f"subsets of the cache {list(expected)}, of the evaluation {list(got)}")

    print(f"{cache}: {inspected['corpus']['packing']}, {inspected['held']['sequences']} sequences")
    print(f"{'subset':20}{'tokens':>8}{'losses':>8}{'losses':>8}{'mean loss':>12}{'clean CE':>12}{'difference':>12}{'SAE CE':>10}{'L0':>10}")
    wrong = []
    for subset, group in expected.items():
        own = got[subset]
        difference = own["ce_clean"] - group["mean_loss"]
        counts = f"{group['tokens']:8,}{group['losses']:8,}{own['loss_tokens']:8,}"
        losses = f"{group['mean_loss']:12.7f}{own['ce_clean']:12.7f}{difference:12.1e}"
        print(f"{subset or 'none':20}{counts}{losses}{own['ce_sae']:10.4f}{own['l0']:10.4f}")
        if group["losses"] != own["loss_tokens"] or abs(difference) > TOLERANCE:
            wrong.append(subset)
    total = sum(group["losses"] for group in expected.values())
    if wrong or total != result["loss_tokens"]:
        fail(f"store inspect and evaluate differ: {wrong}, {total} losses of {result['loss_tokens']}")
    print(f"the same {total:,} losses in {len(expected)} subsets, mean clean losses within {TOLERANCE}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sae", type=Path, required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cache", type=Path)
    source.add_argument("--data", type=Path, help="a manifest, as `harvest run` takes it")
    source.add_argument("--text", type=Path, help='lines of {"text": …}')
    programs.add_option(parser)
    arguments = parser.parse_args()
    for name in ["model", "sae", "cache", "data", "text"]:
        path = getattr(arguments, name)
        if path is not None and not path.exists():
            fail(f"{path}: expected what --{name} names, got nothing there")
    built = programs.given_or_built(arguments.programs, *programs.ALL_TARGETS)
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch), arguments.cache
        if cache is None:
            data = arguments.data or cut_into_subsets(arguments.text, folder)
            cache = folder / "cache"
            quietly(built / "harvest", "run", "--model", arguments.model, "--data", data, "--site", site_of(arguments.sae), "--out", cache)
        compare(built, arguments.model, arguments.sae, cache, folder)


if __name__ == "__main__":
    main()
