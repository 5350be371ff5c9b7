#!/usr/bin/env python3
"""Compares the rows of `evaluate compare` with the study's published figures, or makes them of these.

Proves: data-manifests/study/expected has the published figures, digit for digit
Needs: Python alone
Takes: seconds

  scripts/check study-tables            fails if they differ from the published figures, or a cell is missing
  scripts/check study-tables --write    writes data-manifests/study/expected/*.json anew

The published figures, in data-manifests/study/published/, are as the study's code wrote them. Every figure in a row
is copied from there with all its digits, except ce_delta, which was not published: it is ce_sae - ce_clean.
"""

import json
import math
import sys
from pathlib import Path

STUDY = Path(__file__).resolve().parents[2] / "data-manifests" / "study"

# The names of models in the published files -> (family, model).
MODELS = {
    "mistral-7B": ("mistral-7b", "base"),
    "mistral-7B-instruct": ("mistral-7b", "chat"),
    "qwen1.5-0.5B": ("qwen1.5-0.5b", "base"),
    "qwen1.5-0.5B-chat": ("qwen1.5-0.5b", "chat"),
    "qwen1.5-0.5b-chat": ("qwen1.5-0.5b", "chat"),
    "gemma-2b": ("gemma-2b", "base"),
    "gemma-2b-it": ("gemma-2b", "chat"),
}
# The names of SAEs in the published files -> (family, sae).
SAES = {
    "mistral-7B-base": ("mistral-7b", "base"),
    "mistral-7B-chat": ("mistral-7b", "chat"),
    "qwen-500M-base": ("qwen1.5-0.5b", "base"),
    "qwen-500M-chat": ("qwen1.5-0.5b", "chat"),
    "gemma-2b-base": ("gemma-2b", "base"),
    "gemma-2b-it": ("gemma-2b", "chat"),
}
FAMILIES = ["mistral-7b", "qwen1.5-0.5b", "gemma-2b"]
FIGURES = ["l0", "ce_recovered", "ce_clean", "ce_sae", "ce_delta", "ce_zero", "explained_variance", "mse"]


def row(dataset, section, sae, model, family, outliers_filtered, figures):
    """One row; `figures` is in the order of FIGURES, without ce_delta."""
    l0, ce_recovered, ce_clean, ce_sae, ce_zero, explained_variance, mse = figures
    values = [l0, ce_recovered, ce_clean, ce_sae, ce_sae - ce_clean, ce_zero, explained_variance, mse]
    keys = {"dataset": dataset, "section": section, "sae": sae, "model": model, "family": family}
    return keys | {"outliers_filtered": outliers_filtered} | dict(zip(FIGURES, values, strict=True))


def pile_figures(entry):
    names = ["L0", "ce_rec", "clean_loss", "sae_recons_loss", "zero_abl_loss", "Explained Variance", "MSE"]
    return [entry[name] for name in names]


def pile(entries):
    for entry in entries:
        family, model = MODELS[entry["model_name"]]
        sae_family, sae = SAES[entry["sae"]]
        assert family == sae_family, entry
        yield row("pile", "all", sae, model, family, entry["ignore_outliers"], pile_figures(entry))


def alpaca(entries):
    """Each published entry is for a chat model, and holds the figures of both SAEs."""
    for entry in entries:
        family, model = MODELS[entry["chat_model"]]
        for sae, sae_name in [("base", "Base"), ("chat", "Chat")]:
            figures = [
                entry[f"{sae}_l0"],
                entry[f"{sae_name}->Chat CE Rec"],
                entry["Clean Chat loss"],
                entry[f"{sae_name}->Chat SAE loss"],
                entry["Zero abl loss"],
                entry[f"{sae}_ev"],
                entry[f"{sae}_mse"],
            ]
            yield row("alpaca", entry["mask_type"], sae, model, family, entry["ignore_outliers"], figures)


def finetuning(entries):
    for entry in entries:
        family, model = MODELS[entry["model_name"]]
        yield row("pile", "all", "finetuned", model, family, entry["ignore_outliers"], pile_figures(entry))


def tables():
    """File name -> rows: one file for each published one, and the same rows by family."""
    published = {}
    for name, convert in [("pile", pile), ("alpaca", alpaca), ("finetuning", finetuning)]:
        rows = list(convert(json.loads((STUDY / "published" / f"{name}.json").read_text())))
        order = lambda row: (FAMILIES.index(row["family"]), row["section"], row["model"], row["sae"])
        published[name] = sorted(rows, key=order)
    check_cells(published)
    everything = [row for rows in published.values() for row in rows]
    by_family = {family: [row for row in everything if row["family"] == family] for family in FAMILIES}
    return published | by_family


def check_cells(published):
    """Checks that every cell of the study's tables occurs once, and nothing else."""
    both = ["base", "chat"]
    expected = {
        "pile": {(f, "all", sae, model, True) for f in FAMILIES for sae in both for model in both},
        "alpaca": {(f, s, sae, "chat", True) for f in FAMILIES for s in ["rollout", "user_prompt"] for sae in both},
        "finetuning": {(f, "all", "finetuned", "chat", False) for f in ["mistral-7b", "qwen1.5-0.5b"]},
    }
    for name, rows in published.items():
        got = [tuple(row[key] for key in ["family", "section", "sae", "model", "outliers_filtered"]) for row in rows]
        assert len(got) == len(set(got)) and set(got) == expected[name], f"{name}: {sorted(set(got) ^ expected[name])}"
        for one in rows:
            recovered = (one["ce_zero"] - one["ce_sae"]) / (one["ce_zero"] - one["ce_clean"])
            # On Alpaca the published share is that of the published losses. On the Pile it is not, by up to 0.3%: it
            # must be a mean of the batches' shares.
            allowed = 1e-6 if name == "alpaca" else 3e-3
            assert abs(recovered - one["ce_recovered"]) < allowed * max(1, abs(recovered)), (name, one)
            # Zeros at every position of a model with RMSNorm and without biases give every token the same probability.
            vocabulary = {"mistral-7b": 32000, "gemma-2b": 256000}.get(one["family"])
            if vocabulary and one["dataset"] == "pile":
                assert abs(one["ce_zero"] - math.log(vocabulary)) < 1e-6, (name, one)


def main():
    write = sys.argv[1:] == ["--write"]
    if sys.argv[1:] and not write:
        sys.exit(__doc__)
    wrong = []
    for name, rows in tables().items():
        path = STUDY / "expected" / f"{name}.json"
        text = '{"rows": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]}\n"
        if write:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            wrong.append(str(path))
        print(f"{path.relative_to(STUDY)}: {len(rows)} rows, {len(rows) * len(FIGURES)} cells", file=sys.stderr)
    if wrong:
        sys.exit(f"{', '.join(wrong)}: expected what scripts/check study-tables --write writes, got something else")


if __name__ == "__main__":
    main()
