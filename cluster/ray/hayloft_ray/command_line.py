"""The command line of hayloft-ray."""

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hayloft_ray import arguments as given
from hayloft_ray import evaluate, harvest, rollouts, sweep
from hayloft_ray.policy import Policy
from hayloft_ray.programs import ProgramError, Programs
from hayloft_ray.progress import Progress
from hayloft_ray.sizing import Prices, Sample, size
from hayloft_ray.tasks import Task, shards_per_task

EXAMPLES = """
What follows -- goes to Hayloft's programs unchanged. Examples:

  # Estimates the cost: measures one shard on the cluster, and changes nothing
  hayloft-ray harvest --dry-run --num-gpus 1 --dollars-per-hour 2.5 -- \\
      --model mistral-7b --out /mnt/farm/pile --data pile.toml --site blocks.16.hook_resid_pre --device cuda

  # Harvest on every GPU of the cluster; after any stop, the same command continues
  hayloft-ray harvest --num-gpus 1 -- \\
      --model mistral-7b --out /mnt/farm/pile --site blocks.16.hook_resid_pre --device cuda

  # A hundred SAEs, ten at a time, on every GPU; the results are those of one `evaluate run`, to the bit
  hayloft-ray evaluate --num-gpus 1 --saes-per-task 10 -- --model mistral-7b --cache /mnt/farm/pile \\
      --sae saes/1 --sae saes/2 ... --device cuda --out results

  hayloft-ray finetune-sweep --num-gpus 1 --grid learning-rate=1e-5,3e-5 --grid l1=1,3 -- \\
      --sae saes/base --model chat --cache /mnt/farm/chat --out saes/sweep --device cuda

  # As a Ray job whose log is shown; the dashboard shows the same tasks by name
  hayloft-ray submit --address http://head:8265 --follow harvest --num-gpus 1 -- --model ...
"""


def parser() -> argparse.ArgumentParser:
    """All commands and options."""
    top = argparse.ArgumentParser(
        prog="hayloft-ray",
        description="Hayloft's programs on a Ray cluster: the same bits as on one machine.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, words: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=words, description=words, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    harvesting = command("harvest", "Fill a planned cache: one task a group of shards")
    harvesting.add_argument("--shards-per-task", type=positive, metavar="N", help="[default: so that each slot gets about eight tasks]")
    harvesting.add_argument("--dry-run", action="store_true", help="measure one shard, and estimate the cost of the whole")
    harvesting.add_argument("--workers", type=positive, metavar="N", help="workers for the estimate [default: the cluster's]")
    harvesting.add_argument("--dollars-per-hour", type=float, metavar="D", help="cost of a worker, for --dry-run")
    harvesting.add_argument("--dollars-per-tb-month", type=float, metavar="D", help="cost of storage, for --dry-run")
    harvesting.add_argument("--json", action="store_true", help="print the summary as JSON")

    answering = command("rollouts", "Generate a chat model's rollouts: one task for each share of the batches")
    answering.add_argument("--parts", type=positive, metavar="N", help="shares [default: four for each slot]")

    evaluating = command("evaluate", "Evaluate SAEs: one task a group of SAEs and a share of the shards")
    evaluating.add_argument("--parts", type=positive, metavar="N", help="shares of the shards [default: four for each slot]")
    evaluating.add_argument("--saes-per-task", type=positive, metavar="N", default=8, help="[default: 8]")
    evaluating.add_argument("--work", type=Path, metavar="DIR", help="folder for parts that all nodes see [default: beside --out]")
    evaluating.add_argument("--baselines", type=Path, metavar="DIR", help="folder for baselines that all nodes see [default: in --work]")

    sweeping = command("finetune-sweep", "Fine-tune an SAE with every combination of some settings")
    sweeping.add_argument("--grid", action="append", required=True, metavar="OPTION=V,V", help="values of an option; may be given several times")

    simulating = command("simulate", "Run empty tasks, to measure the driver's overhead")
    simulating.add_argument("--shards", type=positive, default=10_000, metavar="N", help="[default: 10000]")
    simulating.add_argument("--seconds", type=float, default=0.0, metavar="S", help="simulated duration of each [default: 0]")

    for each in (harvesting, answering, evaluating, sweeping, simulating):
        each.add_argument("--address", metavar="ADDRESS", help="Ray's address [default: RAY_ADDRESS, the cluster of this machine, or a new one]")
        each.add_argument("--num-gpus", type=float, default=0, metavar="N", help="GPUs of a task [default: 0]")
        each.add_argument("--num-cpus", type=float, default=1, metavar="N", help="processors of a task [default: 1]")
        each.add_argument("--programs", metavar="DIR", help="folder of harvest, evaluate and store on every node [default: the PATH]")
        each.add_argument("--attempts", type=positive, default=3, metavar="N", help="times that a program may fail in a task [default: 3]")
        each.add_argument("--straggler-factor", type=float, default=3.0, metavar="F", help="a task that takes F times the median is restarted on another node [default: 3]")
        each.add_argument("--straggler-seconds", type=float, default=60.0, metavar="S", help="but not before S seconds [default: 60]")
        each.add_argument("--logs", type=Path, metavar="DIR", help="folder for the output of failed attempts [default: a new folder for temporary files]")
        each.add_argument("--quiet", action="store_true", help="no progress")
        each.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- ARGUMENTS", help="of harvest run, harvest rollouts, evaluate run or evaluate finetune")

    submitting = command("submit", "Submit a whole run to Ray Jobs")
    submitting.add_argument("--address", default=os.environ.get("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:8265"), help="the dashboard's address [default: http://127.0.0.1:8265]")
    submitting.add_argument("--follow", action="store_true", help="show its log until it ends; the exit code is the run's")
    submitting.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="a hayloft-ray command with all its arguments")
    return top


def positive(text: str) -> int:
    """A whole number of at least one."""
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return number


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command of the arguments; returns the exit code."""
    asked = parser().parse_args(words)
    rest = asked.arguments[1:] if asked.arguments[:1] == ["--"] else asked.arguments
    try:
        # Importing Ray takes seconds, which --help does not need.
        from hayloft_ray.driver import RunFailed

        return run(asked, rest)
    except (given.ArgumentError, ProgramError, ConnectionError, RunFailed) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped. Finished work is kept: run the same command again to continue", file=sys.stderr)
        return 130
    return 1


def run(asked: argparse.Namespace, rest: list[str]) -> int:
    """Runs one command."""
    if asked.command == "submit":
        from hayloft_ray.jobs import submit

        if not rest:
            raise given.ArgumentError("submit: expected a command such as harvest, got none")
        return submit(asked.address, rest, asked.follow)
    from hayloft_ray.driver import Driver, Resources, connect
    from hayloft_ray.simulate import simulate

    if asked.command != "simulate" and not given.has(rest, "--threads"):
        rest = [*rest, "--threads", str(max(1, math.ceil(asked.num_cpus)))]
    programs = Programs(str(Path(asked.programs).resolve()) if asked.programs else None)
    resources = Resources(asked.num_gpus, asked.num_cpus)
    policy = Policy(asked.attempts, straggler_factor=asked.straggler_factor, straggler_seconds=asked.straggler_seconds)
    logs = asked.logs or Path(tempfile.gettempdir()) / f"hayloft-ray-{os.getpid()}"

    def driver(doing: str, unit: str) -> Driver:
        return Driver(asked.command, unit, resources, policy, logs, Progress(doing, unit, asked.quiet))

    if asked.command == "harvest":
        plan = harvest.read_plan(programs, rest)
        connect(asked.address)
        if asked.dry_run:
            return dry_run(asked, programs, rest, plan, driver("sample", "shards"))
        per_task = asked.shards_per_task or shards_per_task(plan.shards, resources.slots())
        driver("harvested", "tokens").run(harvest.tasks(programs.harvest, rest, plan, per_task), plan.total)
        return show_harvest(harvest.finish(programs.harvest, rest), asked.json)
    connect(asked.address)
    if asked.command == "simulate":
        print(simulate(driver("simulated", "shards"), asked.shards, asked.seconds))
    elif asked.command == "rollouts":
        parts = asked.parts or 4 * resources.slots()
        driver("rollouts", "parts").run(rollouts.tasks(programs.harvest, rest, parts), parts)
        print(rollouts.finish(programs.harvest, rest).rstrip())
    elif asked.command == "evaluate":
        run_evaluate(asked, programs, rest, resources.slots(), driver)
    else:
        run_sweep(asked, programs, rest, driver)
    return 0


def dry_run(asked: argparse.Namespace, programs: Programs, rest: list[str], plan: harvest.Plan, driver) -> int:
    """Measures a sample on the cluster and prints the estimate of the whole."""
    sample = Sample(rest, plan, None)
    measured = []
    try:
        task = sample.task(programs, rest)
        driver.run(iter([task]), 1, done=lambda _, outcome: measured.append(json.loads(outcome.printed)))
    finally:
        sample.remove()
    workers = asked.workers or driver.resources.slots()
    found = size(plan, measured[0], workers, Prices(asked.dollars_per_hour, asked.dollars_per_tb_month))
    print(found.json() if asked.json else found.words())
    return 0


def show_harvest(printed: str, as_json: bool) -> int:
    """Prints the summary of the whole cache. The exit code is different if shards are missing."""
    summary = json.loads(printed)
    whole, planned = summary["complete_shards"], summary["planned_shards"]
    print(printed.rstrip() if as_json else f"{summary['folder']}: {whole} of {planned} shards are whole")
    return 0 if whole == planned else 1


def run_evaluate(asked: argparse.Namespace, programs: Programs, rest: list[str], slots: int, driver) -> None:
    """Baselines, parts, merging."""
    _, saes = evaluate.prepare(rest)
    out = given.values(rest, "--out")
    if not asked.work and not out:
        raise given.ArgumentError("evaluate: expected --work, or --out after --, for a folder that all nodes see, got neither")
    work = (asked.work or Path(out[-1] + ".work")).resolve()
    baselines = (asked.baselines or work / "baselines").resolve()
    parts = asked.parts or 4 * slots
    groups = -(-len(saes) // asked.saes_per_task)
    work.mkdir(parents=True, exist_ok=True)
    driver("baselines", "parts").run(evaluate.baseline_tasks(programs.evaluate, rest, baselines, parts), parts)
    tasks = evaluate.part_tasks(programs.evaluate, rest, baselines, work, parts, asked.saes_per_task)
    driver("evaluated", "parts").run(tasks, groups * parts)
    print(evaluate.merge(programs.evaluate, rest, work, parts, asked.saes_per_task).rstrip())


def run_sweep(asked: argparse.Namespace, programs: Programs, rest: list[str], driver) -> None:
    """Runs all combinations, and prints a table of the results."""
    axes = [sweep.Axis.parse(text) for text in asked.grid]
    out = Path(given.value(rest, "--out", "evaluate finetune"))
    rows: dict[str, dict] = {}

    def done(task: Task, outcome) -> None:
        rows[task.name.removeprefix("finetune ")] = sweep.figures(outcome.printed)

    tasks = list(sweep.tasks(programs.evaluate, rest, axes))
    driver("fine-tuned", "SAEs").run(iter(tasks), len(tasks), done=done)
    (out / "sweep.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(sweep.table(rows))
