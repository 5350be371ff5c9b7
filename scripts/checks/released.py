#!/usr/bin/env python3
"""Asks the programs about files that the world has released, and holds their answers against a list.

Proves: released configurations, tokenizers, templates and SAEs run or are refused as they should
Needs: LibTorch, a folder of released files
Takes: minutes

  scripts/check released                          every row of ../shared/released/index.tsv
  scripts/check released --files DIR              the same in another folder
  scripts/check released --kind model             rows of this kind alone; may be given several times

index.tsv has a line for each file: its path, its kind, and what is expected: `accept`; `refuse: why`; `told: name, name`, where each
name is in what is printed, or one of them in a refusal; `either: why`. Nothing is downloaded, and no weights are read. Prints a line for
each row that comes out otherwise, and a count for each kind. Exit code 1 if any does.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import programs
import released_saes

ROOT = Path(__file__).resolve().parents[2]
STORIES = ROOT / "tests/fixtures/stories260K"
FILES = ROOT.parent / "shared" / "released"


@dataclass(frozen=True)
class Question:
    """A released file, and where to ask about it: an empty folder, and the folder of the programs."""

    file: Path
    note: str
    folder: Path
    programs: Path


@dataclass(frozen=True)
class Answer:
    accepted: bool
    printed: str
    """Standard output and standard error."""
    wrong: str | None = None
    """What is wrong with what was understood, if anything is."""


def run(*command: object) -> Answer:
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"released: {' '.join(map(str, command))} ended with {done.returncode}\n{done.stderr}")
    return Answer(done.returncode == 0, done.stdout + done.stderr)


def model(question: Question) -> Answer:
    shutil.copy(question.file, question.folder / "config.json")
    return run(question.programs / "harvest", "inspect", question.folder)


def generation(question: Question) -> Answer:
    shutil.copy(question.file, question.folder / "generation_config.json")
    shutil.copy(ROOT / "tests/fixtures/stories260K/config.json", question.folder)
    return run(question.programs / "harvest", "inspect", question.folder)


def plan(question: Question) -> Answer:
    """Plans a conversation with the model in the question's folder."""
    data, rows = question.folder / "data.toml", question.folder / "rows.jsonl"
    rows.write_text(json.dumps({"instruction": "What is hay?", "rollout": "Dried grass."}) + "\n")
    lines = ['name = "row"', 'packing = "per-document"', "context_length = 2048", "[chat]", "[[files]]", 'path = "rows.jsonl"']
    data.write_text("\n".join(lines))
    return run(question.programs / "harvest", "plan", "--model", question.folder, "--data", data, "--out", question.folder / "cache")


def small_model(folder: Path) -> None:
    """The files of a model whose contexts are long enough for any template."""
    for file in STORIES.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    config = json.loads((STORIES / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))


def template(question: Question) -> Answer:
    small_model(question.folder)
    shutil.copy(question.file, question.folder / "chat_template.jinja")
    return plan(question)


def tokenizer(question: Question) -> Answer:
    """The released files over a small tokenizer, which gets the released tokens at their ids."""
    small_model(question.folder)
    for file in question.file.iterdir():
        shutil.copy(file, question.folder)
    own, settings_file = question.folder / "tokenizer.json", question.folder / "tokenizer_config.json"
    settings = json.loads(settings_file.read_text())
    added = settings.get("added_tokens_decoder", {})
    tokens = json.loads(own.read_text())
    known = {token["content"] for token in tokens["added_tokens"]}
    for number, token in added.items():
        if token["content"] not in known | tokens["model"]["vocab"].keys():
            tokens["model"]["vocab"][token["content"]] = int(number)
            tokens["added_tokens"].append({"id": int(number), **token})
    own.write_text(json.dumps(tokens))
    model = json.loads((question.folder / "config.json").read_text())
    # Tokens that the files name by their text alone come after all others.
    largest = max([model["vocab_size"], *map(int, added)])
    (question.folder / "config.json").write_text(json.dumps(model | {"vocab_size": largest + 64}))
    if "chat_template" not in settings and not (question.folder / "chat_template.jinja").is_file():
        (question.folder / "chat_template.jinja").write_text("{% for message in messages %}{{ message.content }}\n{% endfor %}")
    return plan(question)


def sae(question: Question) -> Answer:
    answer = released_saes.sae(question)
    return Answer(answer.accepted, answer.printed, released_saes.complaint(question.note, answer))


# One function a kind, by the first word of index.tsv's kind. Each answers a Question.
KINDS: dict[str, Callable[[Question], Answer]] = {
    "model": model, "generation": generation, "template": template, "tokenizer": tokenizer, "sae": sae,
}  # fmt: skip


# Families that the list refuses by name, and that run since.
RUN_SINCE = ("refuse: GPT-Neo, not GPT-NeoX", "refuse: Phi, not Phi-3")


def complaint(expected: str, answer: Answer) -> str | None:
    """What is wrong with an answer, if anything is."""
    expected = "accept" if expected in RUN_SINCE else expected
    word, _, names = expected.partition(":")
    match word:
        case "accept":
            return answer.wrong if answer.accepted else "expected to run, is refused"
        case "refuse":
            return "expected a refusal, runs" if answer.accepted else None
        case "told":
            told = [name.strip() in answer.printed for name in names.split(",")]
            enough = all(told) if answer.accepted else any(told)
            return None if enough else f"expected to be told of{names}"
        case "either":
            return None
    sys.exit(f"released: index.tsv: expected accept, refuse, told or either, got {expected}")


def last_line(printed: str) -> str:
    lines = printed.strip().splitlines()
    return lines[-1][:300] if lines else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, default=FILES, metavar="DIR", help="the folder with index.tsv")
    parser.add_argument("--kind", action="append", choices=KINDS, metavar="KIND", help=f"{', '.join(KINDS)} [default: all]")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    programs.add_option(parser)
    arguments = parser.parse_args()
    index = arguments.files / "index.tsv"
    if not index.is_file():
        sys.exit(f"released: {index}: expected a list of files, found none. Give its folder with --files")
    built = programs.given_or_built(arguments.programs, *programs.ALL_TARGETS, names=("harvest", "evaluate"))
    with index.open(newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    asked, right = Counter(), Counter()
    for row in rows:
        kind = row["kind"].split()[0]
        if kind not in (arguments.kind or KINDS):
            continue
        with tempfile.TemporaryDirectory() as folder:
            answer = KINDS[kind](Question(arguments.files / row["file"], row["note"] or "", Path(folder), built))
        asked[kind] += 1
        wrong = complaint(row["expected"], answer)
        if wrong is None:
            right[kind] += 1
        else:
            print(f"{row['file']}: {wrong}: {last_line(answer.printed)}")
    if arguments.json:
        print(json.dumps({kind: [right[kind], asked[kind]] for kind in asked}))
    else:
        for kind in asked:
            print(f"{kind}: {right[kind]} of {asked[kind]} as expected")
    left_out = Counter(row["kind"].split()[0] for row in rows) - asked
    if left_out and not arguments.kind:
        print(f"not asked: {', '.join(f'{count} of kind {kind}' for kind, count in left_out.items())}")
    return 0 if right == asked else 1


if __name__ == "__main__":
    sys.exit(main())
