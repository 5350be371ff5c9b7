"""Tests that need neither Ray nor Hayloft's programs."""

import contextlib
import io
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hayloft_ray import arguments as given
from hayloft_ray import evaluate, harvest, rollouts, sweep
from hayloft_ray.policy import Failure, History, Policy, Stragglers
from hayloft_ray.programs import Outcome, ProgramError, printed_by, progress_of, run
from hayloft_ray.sizing import Prices, in_bytes, in_time, size
from hayloft_ray.tasks import groups, ranges, shards_per_task


class Cutting(unittest.TestCase):
    def test_ranges_tile(self):
        for count in (0, 1, 7, 64, 65):
            for size_of in (1, 3, 64, 100):
                cut = [place for piece in ranges(count, size_of) for place in piece]
                self.assertEqual(cut, list(range(count)))

    def test_each_slot_gets_several_tasks(self):
        self.assertEqual(shards_per_task(10_000, 16), 64)
        self.assertEqual(shards_per_task(640, 8), 10)
        self.assertEqual(shards_per_task(3, 8), 1)
        self.assertEqual(groups(["a", "b", "c"], 2), [["a", "b"], ["c"]])


class Arguments(unittest.TestCase):
    def test_options_are_found_in_both_spellings_and_taken_out(self):
        words = ["--sae", "a", "--sae=b", "--json", "--out", "o"]
        self.assertEqual(given.values(words, "--sae"), ["a", "b"])
        self.assertEqual(given.without(words, "--sae", "--out"), ["--json"])
        self.assertEqual(given.value(words, "--out", "p"), "o")
        with self.assertRaisesRegex(given.ArgumentError, "expected --model once"):
            given.value(words, "--model", "p")
        with self.assertRaisesRegex(given.ArgumentError, "expected no --json"):
            given.refuse(words, "p", "--json")

    def test_a_harvest_is_cut_into_groups_of_shards(self):
        plan = harvest.Plan((10, 20, 30, 40, 50))
        words = ["--model", "m", "--out", "c", "--data", "d", "--site", "s"]
        tasks = list(harvest.tasks("harvest", words, plan, 2))
        self.assertEqual([task.name for task in tasks], [f"harvest shards {r}" for r in ("0..2", "2..4", "4..5")])
        self.assertEqual([task.work for task in tasks], [30, 70, 50])
        self.assertEqual(tasks[1].command[-2:], ("--shards", "2..4"))
        self.assertNotIn("--data", tasks[0].command)
        self.assertIn("--share", tasks[0].command)
        with self.assertRaises(given.ArgumentError):
            list(harvest.tasks("harvest", [*words, "--shards", "0..1"], plan, 2))
        self.assertEqual(harvest.plan_arguments(words), ["--model", "m", "--data", "d", "--out", "c"])

    def test_an_evaluation_has_groups_of_saes_and_parts(self):
        words = ["--model", "m", "--cache", "c", "--sae", "a", "--sae", "b", "--sae=d", "--out", "r", "--by", "subset", "--json"]
        tasks = list(evaluate.part_tasks("evaluate", words, Path("/b"), Path("/w"), parts=2, saes_per_task=2))
        self.assertEqual(len(tasks), 4)
        self.assertEqual(tasks[0].command.count("--sae"), 2)
        self.assertEqual(tasks[3].command.count("--sae"), 1)
        self.assertIn("1/2", tasks[3].command)
        self.assertIn("/w/parts/2-by-2/saes-0001", tasks[3].command)
        self.assertIn("subset", tasks[0].command)
        self.assertNotIn("r", tasks[0].command)
        baselines = list(evaluate.baseline_tasks("evaluate", words, Path("/b"), 2))
        self.assertEqual([task.command.count("--sae") for task in baselines], [3, 3])
        self.assertTrue(all("--only-baselines" in task.command and "--json" not in task.command for task in baselines))
        with self.assertRaisesRegex(given.ArgumentError, "at least one --sae"):
            evaluate.prepare(["--model", "m"])

    def test_rollouts_and_sweeps(self):
        tasks = list(rollouts.tasks("harvest", ["--out", "r.parquet"], 3))
        self.assertEqual([task.command[-2] for task in tasks], ["0/3", "1/3", "2/3"])
        axes = [sweep.Axis.parse("learning-rate=1e-4,5e-4"), sweep.Axis.parse("--l1=1,2,3")]
        tasks = list(sweep.tasks("evaluate", ["--sae", "s", "--out", "o"], axes))
        self.assertEqual(len(tasks), 6)
        self.assertEqual(tasks[1].name, "finetune learning-rate=1e-4,l1=2")
        self.assertIn("o/learning-rate=1e-4,l1=2", tasks[1].command)
        for text in ("l1", "l1=", "=1", "l1=1,1"):
            with self.assertRaises(given.ArgumentError):
                sweep.Axis.parse(text)
        same = {"l0": 1.0, "ce_sae": 3.0, "mse": 2.0}
        rows = {"a": {**same, "ce_recovered": 0.5, "explained_variance": 0.1, "explained_variance_pooled": 0.2},
                "b": {**same, "ce_recovered": 0.9, "explained_variance": None, "explained_variance_pooled": None}}
        lines = sweep.table(rows).splitlines()
        self.assertTrue(lines[1].endswith("  b") and "90.0000" in lines[1], lines)
        self.assertIn("   10.0000     20.0000", lines[2])
        self.assertEqual(len(lines[0].split("  settings")[0]), len(lines[2].split("  a")[0]))


class Retrying(unittest.TestCase):
    def test_what_fails_everywhere_ends_the_run_and_what_dies_is_tried_longer(self):
        policy, history = Policy(attempts=3, deaths=50, pause=1, longest_pause=8), History()
        self.assertEqual([history.fails(Failure.PROGRAM, policy) for _ in range(3)], [1, 2, None])
        history = History()
        pauses = [history.fails(Failure.DEATH, policy) for _ in range(50)]
        self.assertEqual(pauses[:5], [1, 2, 4, 8, 8])
        self.assertIsNone(pauses[-1])
        self.assertNotIn(None, pauses[:-1])

    def test_a_straggler_is_told_by_the_median(self):
        stragglers = Stragglers(Policy(straggler_factor=3, straggler_seconds=10))
        self.assertFalse(stragglers.is_one(1e9, History()), "nothing is known yet")
        for seconds in (10, 12, 11, 300):
            stragglers.done(seconds)
        self.assertEqual(stragglers.limit(), 36)
        self.assertTrue(stragglers.is_one(37, History()))
        self.assertFalse(stragglers.is_one(35, History()))
        self.assertFalse(stragglers.is_one(71, History(restarts=1)), "each restart doubles the limit")
        self.assertTrue(stragglers.is_one(73, History(restarts=1)))
        self.assertTrue(stragglers.is_one(36 * 2**7 + 1, History(restarts=7)), "a program may hang again and again")
        for _ in range(5000):
            stragglers.done(1)
        self.assertEqual(stragglers.limit(), 10, "never before so many seconds")
        self.assertLessEqual(len(stragglers._times), Stragglers.MOST)


class Sizing(unittest.TestCase):
    def test_the_whole_is_the_sample_times_its_size(self):
        summary = {"tokens": 1000, "tokens_per_second": 500.0, "bytes_per_token": 6000.0}
        plan = harvest.Plan((1000,) * 3600)
        found = size(plan, summary, workers=4, prices=Prices(2.0, 20.0))
        self.assertEqual((found.tokens, found.shards, found.bytes), (3_600_000, 3600, 2.16e10))
        self.assertEqual((found.worker_hours, found.hours, found.dollars), (2.0, 0.5, 4.0))
        self.assertAlmostEqual(found.dollars_per_month, 0.432)
        self.assertIn("21.6 GB", found.words())
        bare = size(plan, summary, 4, Prices())
        self.assertNotIn("$", bare.words())
        self.assertEqual(in_bytes(999), "999.0 B")
        self.assertEqual([in_time(hours) for hours in (0.01, 0.5, 30, 100)], ["36.0 seconds", "30.0 minutes", "30.0 hours", "4.2 days"])


class Running(unittest.TestCase):
    def test_a_program_is_heard_and_its_error_is_known(self):
        heard = []
        script = (
            'echo \'{"progress":{"doing":"d","unit":"tokens","done":5,"total":9}}\' >&2; echo talk >&2; '
            'echo "error: the disk is full" >&2; echo printed; exit 3'
        )
        outcome = run(["sh", "-c", script], heard=heard.append)
        self.assertEqual((outcome.returncode, outcome.printed, heard), (3, "printed\n", [5]))
        self.assertEqual((outcome.error, outcome.said), ("the disk is full", "talk\nerror: the disk is full"))
        self.assertFalse(outcome.was_killed)
        killed = run(["sh", "-c", "kill -9 $$"])
        self.assertTrue(killed.was_killed)
        self.assertIn("signal 9", killed.error)
        self.assertTrue(Outcome(1, "", "error: stopped as asked. Nothing half-written was left").was_killed)
        self.assertEqual(Outcome(7, "", "").error, "it ended with 7 and no message")
        self.assertIn("--programs", run(["/no/such/program"]).error)

    def test_a_step_of_the_driver_runs_again_if_it_is_killed_and_not_if_it_fails(self):
        with tempfile.TemporaryDirectory() as folder:
            ran = Path(folder) / "ran"

            def command(ending: str) -> list[str]:
                return ["sh", "-c", f'echo x >> {ran}; [ "$(wc -l < {ran})" -lt 3 ] && {ending}; echo printed']

            with contextlib.redirect_stderr(io.StringIO()) as told:
                self.assertEqual(printed_by(command("kill -9 $$")), "printed\n")
            self.assertEqual(ran.read_text(), "x\n" * 3)
            self.assertEqual(told.getvalue().count("killed by signal 9; again"), 2)
            ran.unlink()
            with self.assertRaisesRegex(ProgramError, "ended with 3"):
                printed_by(command("exit 3"))
            self.assertEqual(ran.read_text(), "x\n")

    def test_lines_that_are_no_progress_are_talk(self):
        for line in ("", "INFO progress", '{"progress"', '{"progress":{"done":"x"}}', '{"progress":[]}'):
            self.assertIsNone(progress_of(line))

    def test_an_interrupted_run_stops_its_program_first(self):
        import hayloft_ray.programs as programs

        started = time.monotonic()
        original = programs.subprocess.Popen.wait
        calls = []

        def wait(child, timeout=None):
            calls.append(child)
            if len(calls) == 1:
                raise KeyboardInterrupt
            return original(child, timeout)

        programs.subprocess.Popen.wait = wait
        try:
            with self.assertRaises(KeyboardInterrupt):
                # `cat` ends with its input.
                run(["cat"], stops_at_end_of_input=True)
        finally:
            programs.subprocess.Popen.wait = original
        self.assertIsNotNone(calls[0].returncode)
        self.assertLess(time.monotonic() - started, programs.PATIENCE)


if __name__ == "__main__":
    unittest.main()
