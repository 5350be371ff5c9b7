#!/usr/bin/env python3
"""Says in a sentence what the figures of a step of scripts/demo are.

    demo/experiment/findings.py STEP OUT      STEP: 1 to 7; OUT: the demo's folder
"""

import json
import sys
from functools import partial
from pathlib import Path


def read(path: Path):
    return json.loads(path.read_text())


def results(folder: Path) -> dict[tuple[str, str], dict]:
    """The results in the folder of an evaluation, by SAE and section."""
    return {(result["sae"], result["section"]): result for result in read(folder / "results.json")}


def percent(result: dict, figure: str) -> str:
    return "undefined" if result[figure] is None else f"{100 * result[figure]:.1f}%"


def explained(result: dict) -> str:
    return f"explains {percent(result, 'explained_variance')} of the variance and recovers {percent(result, 'ce_recovered')} of the loss"


def on_text(out: Path, model: str) -> str:
    text = results(out / f"results/pile-{model}")
    return f"On the {model} model the base SAE {explained(text['base', 'all'])}; the chat SAE {explained(text['chat', 'all'])}."


def rollouts(out: Path) -> str:
    answers = read(out / "rollouts.json")
    ended, rows, tokens = answers["ended"], answers["rows"], answers["mean_tokens"]
    return f"{ended} of {rows} answers end before the limit, and an answer has {tokens:.1f} tokens on average."


def conversations(out: Path) -> str:
    chats = results(out / "results/alpaca-chat")
    return (
        f"On the chat model's answers the base SAE {explained(chats['base', 'rollout'])}; "
        f"on the users' prompts it {explained(chats['base', 'user_prompt'])}."
    )


def finetuning(out: Path) -> str:
    both = results(out / "saes/finetuned")
    before, after = both["before", "all"], both["after", "all"]
    return (
        f"Fine-tuning raises the base SAE's explained variance on the chat model from {percent(before, 'explained_variance')} "
        f"to {percent(after, 'explained_variance')}."
    )


def outliers(out: Path) -> str:
    kept, filtered = results(out / "results/pile-chat-outliers"), results(out / "results/pile-chat")
    base = ("base", "all")
    return (
        f"{filtered[base]['outlier_rows']:,} outliers of {kept[base]['activation_rows']:,} rows move the base SAE's explained "
        f"variance on the chat model from {percent(filtered[base], 'explained_variance')} (left out) to "
        f"{percent(kept[base], 'explained_variance')} (kept), and the chat SAE's from "
        f"{percent(filtered['chat', 'all'], 'explained_variance')} to {percent(kept['chat', 'all'], 'explained_variance')}."
    )


def report(out: Path) -> str:
    rows = read(out / "summary.json")["rows"]
    figures = len(list((out / "report/figures").glob("*.svg")))
    return f"The report has {len(rows)} results of {len({row['sae'] for row in rows})} SAEs on two models, and {figures} figures."


STEPS = (partial(on_text, model="base"), partial(on_text, model="chat"), rollouts, conversations, finetuning, outliers, report)


def main() -> None:
    if len(sys.argv) != 3 or sys.argv[1] not in {str(number) for number in range(1, len(STEPS) + 1)}:
        sys.exit(__doc__.strip())
    print(STEPS[int(sys.argv[1]) - 1](Path(sys.argv[2])))


if __name__ == "__main__":
    main()
