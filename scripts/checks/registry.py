#!/usr/bin/env python3
"""Counts how many SAEs of SAELens's registry run, by asking the programs, and writes docs/registry.md.

Proves: which released SAEs run, by configuration
Needs: LibTorch, released configurations
Takes: a minute

  scripts/check registry --configurations DIR     config.json of each model as NAME.json
  scripts/check registry --configurations DIR --write     writes docs/registry.md, too
  scripts/check registry --least 13000 …          fails if fewer SAEs run

An SAE counts if its loader's format is read (`evaluate list --json` names the format, and `evaluate inspect` reads a golden SAE of
it) and the configuration of its model, or of one of the same family, is accepted (`harvest inspect`). No weights are read.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import programs

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "registry.md"
CONFIGURATIONS = {
    "gemma-2b": "gemma-2b",
    "gemma-2b-it": "gemma-2b",
    "gemma-2-2b": "gemma-2-2b",
    "gemma-2-9b": "gemma-2-9b",
    "gemma-2-9b-it": "gemma-2-9b",
    "gemma-2-27b": "gemma-2-27b",
    "google/gemma-3-270m": "gemma-3-270m-unsloth",
    "google/gemma-3-270m-it": "gemma-3-270m-unsloth",
    "google/gemma-3-1b-pt": "gemma-3-1b-it",
    "google/gemma-3-1b-it": "gemma-3-1b-it",
    "google/gemma-3-4b-pt": "gemma-3-12b-it",
    "google/gemma-3-4b-it": "gemma-3-12b-it",
    "google/gemma-3-12b-pt": "gemma-3-12b-it",
    "google/gemma-3-12b-it": "gemma-3-12b-it",
    "google/gemma-3-27b-pt": "gemma-3-27b-it-4.50",
    "google/gemma-3-27b-it": "gemma-3-27b-it-4.50",
    "gpt2-small": "gpt2-4.57",
    "pythia-70m-deduped": "pythia-70m",
    "mistral-7b": "mistral-7b-instruct-v0.3",
    "meta-llama/Meta-Llama-3-8B-Instruct": "llama-3.1-8b-instruct",
    "meta-llama/Llama-3.1-8B": "llama-3.1-8b-instruct",
    "meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b-instruct",
    "meta-llama/Llama-3.3-70B-Instruct": "llama-3.1-70b-instruct",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": "llama-3.1-8b-instruct",
    "Qwen/Qwen2.5-7B-Instruct": "qwen2.5-7b-instruct",
    "qwen3-0.6b": "qwen3-0.6b-4.50",
    "qwen3-1.7b": "qwen3-4b",
    "qwen3-4b": "qwen3-4b",
    "qwen3-8b": "qwen3-4b",
    "qwen3-14b": "qwen3-14b",
    "Qwen/Qwen3-1.7B-Base": "qwen3-4b",
    "Qwen/Qwen3-8B-Base": "qwen3-4b",
    "Qwen/Qwen3-30B-A3B-Base": "qwen3-30b-a3b",
}
"""A released configuration of each model of the registry, or of one of its family."""
FAMILIES = ("gemma-3", "gemma-2-", "gemma-2b", "gpt2", "pythia", "mistral", "llama", "qwen3.5", "qwen3", "qwen2.5", "gpt-oss")


def family(model: str) -> str:
    return next((family for family in FAMILIES if family in model.lower()), model).rstrip("-")


def asked(*command: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def releases(folder: Path) -> list[dict]:
    return json.loads(programs_answer(asked(folder / "evaluate", "list", "--json")))


def programs_answer(done: subprocess.CompletedProcess) -> str:
    if done.returncode != 0:
        sys.exit(f"registry: {' '.join(done.args)} failed:\n{done.stderr}")
    return done.stdout


def formats_read(folder: Path) -> set[str]:
    """The formats of the golden SAEs, each of which is read."""
    goldens = sorted(path.parent for path in (ROOT / "tests/fixtures/sae-formats").rglob("golden.safetensors"))
    saelens = ROOT / "tests/fixtures/stories260K/saes/standard"
    inspected = json.loads(programs_answer(asked(folder / "evaluate", "inspect", "--json", saelens, *goldens)))
    return {sae["format"] for sae in inspected}


def accepts(folder: Path, configurations: Path, model: str) -> str | None:
    """Why a model does not run, by its configuration; None if it does."""
    name = CONFIGURATIONS.get(model)
    if name is None:
        return "no configuration of this family is among the released ones"
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(configurations / f"{name}.json", Path(scratch) / "config.json")
        done = asked(folder / "harvest", "inspect", scratch, "--json")
    if done.returncode == 0:
        return None
    error = next((line for line in done.stderr.splitlines() if line.startswith("error: ")), None)
    if done.returncode != 1 or error is None:
        sys.exit(f"registry: {' '.join(done.args)} ended with {done.returncode}:\n{done.stderr}")
    return error.removeprefix("error: ").replace(f"{scratch}/", "")


def table(rows: dict[str, list[int]], heading: str) -> list[str]:
    lines = [f"| {heading} | releases | SAEs | run |", "|---|---|---|---|"]
    lines += [f"| {name} | {releases} | {saes} | {run} |" for name, (releases, saes, run) in sorted(rows.items())]
    total = [sum(column) for column in zip(*rows.values())]
    return [*lines, f"| all | {total[0]} | {total[1]} | {total[2]} |"]


def page(by_loader, by_family, reasons) -> str:
    lines = ["# SAELens's registry", ""]
    lines += ["After this page you know which SAEs of SAELens's registry run, **by configuration; published weights have not been run here**."]
    lines += ["`scripts/check registry --write` makes this page; `evaluate list` shows the releases, and `evaluate run --sae RELEASE/ID`"]
    lines += ["fetches an SAE.", ""]
    lines += [*table(by_loader, "loader of SAELens"), "", *table(by_family, "model family"), ""]
    if reasons:
        lines += ["What does not run:", "", "| SAEs | why |", "|---|---|"]
        lines += [f"| {count} | {why} |" for why, count in sorted(reasons.items(), key=lambda item: -item[1])]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=Path, required=True, metavar="DIR")
    parser.add_argument("--least", type=int, default=0, metavar="N")
    parser.add_argument("--write", action="store_true")
    programs.add_option(parser)
    arguments = parser.parse_args()
    folder = programs.given_or_built(arguments.programs, *programs.ALL_TARGETS, names=("harvest", "evaluate"))
    read = formats_read(folder)
    refused: dict[str, str | None] = {}
    by_loader, by_family = defaultdict(lambda: [0, 0, 0]), defaultdict(lambda: [0, 0, 0])
    reasons: dict[str, int] = defaultdict(int)
    for release in releases(folder):
        model, count = release["model"], len(release["saes"])
        if model not in refused:
            refused[model] = accepts(folder, arguments.configurations, model)
        why = refused[model]
        if release["format"] not in read:
            reasons[f"{release['loader']}: its files are not read"] += count
        elif why is not None:
            reasons[f"{family(model)}: {why}"] += count
        run = count if why is None and release["format"] in read else 0
        for rows, key in ((by_loader, release["loader"]), (by_family, family(model))):
            rows[key] = [rows[key][0] + 1, rows[key][1] + count, rows[key][2] + run]
    text = page(by_loader, by_family, reasons)
    print(text)
    if arguments.write:
        PAGE.write_text(text)
    total = sum(run for _, _, run in by_loader.values())
    if total < arguments.least:
        print(f"registry: expected {arguments.least} SAEs or more, got {total}", file=sys.stderr)
    return 0 if total >= arguments.least else 1


if __name__ == "__main__":
    sys.exit(main())
