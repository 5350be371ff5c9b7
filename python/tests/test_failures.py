"""What goes wrong: an exception with its reason, and never the end of the interpreter."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from multiprocessing import get_context

import numpy as np

import hayloft as hl
from tests import cases

PRE = "blocks.3.hook_resid_pre"


def child_reads(acts, expected, answers):
    """In a forked or spawned process."""
    try:
        same = np.array_equal(acts[:].view(np.uint16), expected)
        batches = sum(len(batch) for batch in acts.batches(4, shuffle=0))
        answers.put((same, batches))
    except BaseException as error:
        answers.put(repr(error))


class Failures(unittest.TestCase):
    def raised(self, kind, work):
        with self.assertRaises(hl.Error) as raised:
            work()
        self.assertEqual(raised.exception.kind, kind, str(raised.exception))
        return str(raised.exception)

    def test_no_cache(self):
        with tempfile.TemporaryDirectory() as place:
            self.assertIn("no such folder", self.raised("not_found", lambda: hl.open(place + "/absent")))
            self.raised("not_found", lambda: hl.open(place))
        self.raised("invalid", lambda: hl.open("ftp://host/cache"))
        self.raised("invalid", lambda: hl.open(cases.folder("f16-raw"), format="jax"))

    def test_a_closed_cache(self):
        with hl.open(cases.folder("bf16-planes"), format="numpy") as cache:
            acts = cache[PRE]
            kept = acts[:2]
            batches, table = acts.batches(2), cache.tokens
            next(batches)
        self.assertTrue(cache.closed)
        works = [
            lambda: acts[0],
            lambda: acts[[1]],
            lambda: acts.mask(),
            lambda: acts.batches(2),
            lambda: next(batches),
        ]
        for work in [
            *works,
            lambda: cache[PRE],
            lambda: cache.sequence(0),
            lambda: table.arrow(),
            lambda: cache.tokens,
        ]:
            self.assertIn("closed", self.raised("closed", work))
        self.assertEqual(kept.shape, (2, 5))

    def test_damage_and_change(self):
        with tempfile.TemporaryDirectory() as place:
            folder = cases.copy("f32-raw", place)
            acts = hl.open(folder, format="numpy")[PRE]
            np.testing.assert_array_equal(cases.exact_bits(acts[:]), cases.exact_bits(cases.rows("f32-raw", PRE)))
            path = folder / f"shards/00000/{PRE}.parquet"
            size = path.stat().st_size
            # Changed while it is open.
            with open(path, "r+b") as file:
                file.seek(40)
                byte = file.read(1)[0]
                file.seek(40)
                file.write(bytes([byte ^ 1]))
            message = self.raised("damaged", lambda: acts[:])
            self.assertIn("row group 0", message)
            self.raised("damaged", lambda: acts[[0]])
            self.raised("damaged", lambda: list(acts.batches(2)))
            os.truncate(path, size - 30)
            self.raised("damaged", lambda: acts[:])
            self.raised("damaged", lambda: hl.open(folder, format="numpy")[PRE][:])
            path.unlink()
            self.raised("damaged", lambda: hl.open(folder, format="numpy")[PRE][:])
            cases.flip(folder / "shards/00000/tokens.parquet", 20)
            cache = hl.open(folder)
            self.raised("damaged", lambda: cache.tokens.arrow())
            self.raised("damaged", lambda: cache.sequence(0))
            cases.flip(folder / "manifest.json", 30)
            self.raised("damaged", lambda: hl.open(folder))

    def test_other_processes(self):
        acts, expected = hl.open(cases.folder("bf16-planes"), format="numpy")[PRE], cases.rows("bf16-planes", PRE)
        acts[:]
        begun = acts.batches(4)
        next(begun)
        for method in ["fork", "spawn"]:
            context = get_context(method)
            answers = context.Queue()
            processes = [context.Process(target=child_reads, args=(acts, expected, answers)) for _ in range(2)]
            for process in processes:
                process.start()
            got = [answers.get(timeout=60) for _ in processes]
            for process in processes:
                process.join(60)
            finite = acts.mask().sum()
            self.assertEqual(got, [(True, finite)] * 2, method)
        pid = os.fork()
        if pid == 0:
            try:
                next(begun)
                os._exit(1)
            except hl.Error as error:
                os._exit(0 if error.kind == "forked" else 2)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)

    def test_ctrl_c(self):
        program = """
            import sys, hayloft as hl
            acts = hl.open(sys.argv[1], format="numpy")[sys.argv[2]]
            work = compile(sys.argv[3], "work", "eval")
            print("reading", flush=True)
            try:
                while True:
                    eval(work)
            except KeyboardInterrupt:
                print("interrupted", acts[0].shape)
        """
        for work in ["acts[:]", "sum(len(batch) for batch in acts.batches(1, shuffle=0, epochs=None))"]:
            arguments = [sys.executable, "-c", textwrap.dedent(program), cases.folder("bf16-planes"), PRE, work]
            running = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
            self.assertEqual(running.stdout.readline(), "reading\n")
            time.sleep(0.2)
            started = time.monotonic()
            running.send_signal(signal.SIGINT)
            self.assertEqual(running.communicate(timeout=30)[0], "interrupted (5,)\n")
            self.assertLess(time.monotonic() - started, 2)
            self.assertEqual(running.returncode, 0)

    def test_missing_packages_are_named(self):
        program = """
            import sys
            for name in ["ml_dtypes", "torch", "pyarrow"]:
                sys.modules[name] = None
            import hayloft as hl
            cache = hl.open(sys.argv[1], format="numpy")
            acts = cache[cache.sites[0]]
            for work in [lambda: acts[:], lambda: acts.torch(), lambda: cache.tokens.arrow()]:
                try:
                    work()
                except hl.Error as error:
                    print(error.kind, str(error).split(":")[0])
            print(acts.numpy(slice(2), dtype="float32").dtype)
        """
        got = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), cases.folder("bf16-planes")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        expected = ["missing_package bfloat16", "missing_package torch", "missing_package table", "float32"]
        self.assertEqual(got.stdout.splitlines(), expected)
