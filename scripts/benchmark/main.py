"""Compares Hayloft with SAELens and transformers; scripts/bench prepares its needs and calls it."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")

import comparisons  # noqa: E402
import latents  # noqa: E402
import machine  # noqa: E402
import memory  # noqa: E402
import report  # noqa: E402
import workload  # noqa: E402
from comparisons import NEEDS, Measured, Row  # noqa: E402
from ours import Programs, codec_speed  # noqa: E402
from peers import Peers  # noqa: E402

FOLDER = Path("target/bench")
KEPT = Path("docs/bench")
QUICK_TOKENS, TOKENS, MEMORY_TOKENS = 2048, 16384, 16384


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--programs", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="once over few tokens")
    parser.add_argument("--only", default="".join(NEEDS), metavar="a,c", help="some comparisons")
    parser.add_argument("--repeats", type=int, help="how often everything is measured")
    parser.add_argument("--tokens", type=int, help="how many tokens")
    given = parser.parse_args()
    given.only = given.only.replace(",", "")
    given.repeats = given.repeats or (1 if given.quick else 3)
    given.tokens = given.tokens or (QUICK_TOKENS if given.quick else TOKENS)
    if unknown := set(given.only) - set(NEEDS):
        parser.error(f"--only knows {', '.join(NEEDS)}, found {', '.join(sorted(unknown))}")
    batch = workload.BATCH * workload.CONTEXT
    if given.tokens % (workload.CONTEXT if given.tokens < batch else batch):
        parser.error(f"--tokens must be a multiple of {batch}, or below it of {workload.CONTEXT}")
    return given


def rounds(all_sides: dict[str, comparisons.Side], wanted: set[str], repeats: int) -> tuple[Measured, dict[str, float]]:
    """Runs the wanted sides one after another, `repeats` times. After the first round both sides must agree."""
    measured: Measured = {}
    agreed: dict[str, float] = {}
    for repeat in range(repeats):
        for name, side in all_sides.items():
            if name in wanted:
                run = side()
                measured.setdefault(name, []).append(run)
                say(f"  {repeat + 1}/{repeats} {name}: {run['seconds']:.2f} s")
        agreed = agreed or comparisons.agreement(measured)
    return measured, agreed


def single_rows(given: argparse.Namespace, programs: Programs, made: workload.Workload, raw: dict[str, Any]) -> list[Row]:
    """The rows that need no round; their inputs go into `raw`."""
    only, quick = given.only, given.quick
    rows = []
    if "h" in only:
        raw["rates"] = machine.rates(0.3 if quick else 2.0)
        rows += [Row(name, "GFLOP/s" if name.endswith("gflops") else "GB/s", [rate]) for name, rate in raw["rates"].items()]
    if "i" in only:
        raw["codecs"] = [codec_speed(programs.lines) for _ in range(1 if quick else 3)]
        for name in ("planes_decode_gb_per_s", "planes_encode_gb_per_s", "raw_gb_per_s", "checksum_share"):
            unit = "share" if name == "checksum_share" else "GB/s per core"
            rows.append(Row(name, unit, [run[name] for run in raw["codecs"]]))
    if "j" in only:
        say("  memory")
        raw["memory"] = memory.measure(programs, made, workload.CONTEXT if quick else MEMORY_TOKENS)
        rows.append(Row("memory_excess_gb", "GB", [run["excess_gb"] for run in raw["memory"]["runs"]]))
    if "l" in only:
        say("  latents")
        raw["latents"] = latents.measure(programs, made, workload.CONTEXT if quick else MEMORY_TOKENS)
        rows.append(Row("latents_over_run", "times", raw["latents"]["times_as_long"][-1:]))
        rows.append(Row("latents_memory_growth", "times", [raw["latents"]["memory_growth"]]))
    return rows


def main() -> None:
    given = arguments()
    started = time.monotonic()
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"warning: something else uses this machine (load {load:.1f}); rates will be too low, and ratios may be off")
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = {side for letter in given.only for side in NEEDS[letter]}
    say("A model, its SAEs, and the cache that they are evaluated on")
    made = workload.make(FOLDER)
    programs = Programs(given.programs, FOLDER)
    data, cache = made.manifest(given.tokens), FOLDER / "cache"
    raw: dict[str, Any] = {"measured": {}}
    measured: Measured = {}
    if wanted:
        programs.harvest(made.model, data, cache, workload.SITE, "f32", "top=64")
        peers = Peers(made.model, made.saes[0], workload.read_tokens(cache), FOLDER)
        all_sides = comparisons.sides(programs, made, peers, cache, data)
        say(f"{len(wanted)} sides, {given.repeats} times, over {given.tokens} tokens")
        measured, raw["agreement"] = rounds(all_sides, wanted, given.repeats)
        raw["measured"] = measured
    if "k" in given.only:
        raw["break_even_saes"] = comparisons.break_even(measured)
    rows = comparisons.rows(measured) + single_rows(given, programs, made, raw)

    figures = report.figures(rows)
    if "memory" in raw:
        figures["memory_excess_gb"] = raw["memory"]["memory_excess_gb"]
    if "break_even_saes" in raw:
        figures["break_even_saes"] = raw["break_even_saes"]
    print(report.table(rows))
    for name, distance in raw.get("agreement", {}).items():
        print(f"{name}: {distance:+.2e}")
    if "memory" in raw:
        growth = raw["memory"]["seconds_per_token_last_over_first"]
        linear = "linear within 10%" if raw["memory"]["time_is_linear_within_10_percent"] else "NOT linear within 10%"
        print(f"time over 16 times the tokens: {growth:.3f} times as long a token, {linear}")
    if "break_even_saes" in raw:
        print(f"break-even: {raw['break_even_saes']} SAEs")

    about = {"date": machine.now(), "machine": machine.describe()}
    about["machine"]["load_before"] = load
    about |= {"tokens": given.tokens, "repeats": given.repeats, "quick": given.quick}
    whole = not given.quick and set(given.only) == set(NEEDS)
    folder = KEPT if whole else FOLDER
    commit = about["machine"]["versions"]["hayloft_commit"]
    rest = {"figures": figures, "rows": report.as_json(rows), "command_lines": programs.lines, "notes": report.NOTES}
    report.write(folder / f"{about['date']}-{commit}.json", about | rest | raw | {"seconds_in_all": time.monotonic() - started})
    report.write(folder / "latest.json", {"date": about["date"], "commit": commit, **figures, "notes": report.NOTES})
    say(f"{time.monotonic() - started:.0f} s in all; written to {folder}")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(map(str, error.cmd))}: {error}")
