"""Caches written from Python: the bytes of a harvest, whole shards or none."""

import hashlib
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import unittest
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import hayloft as hl
from tests import cases

MODEL = cases.ROOT / "tests/fixtures/tiny-llama"
SITE = "blocks.1.hook_resid_pre"
OTHER = "blocks.1.mlp.hook_post"
WIDTH = 6
LENGTHS = [5, 9, 3, 9, 1, 7, 2, 8, 4, 6]
SIZES = {"shard_tokens": 20, "row_group_rows": 12}
LARGE = {"shard_tokens": 1000, "row_group_rows": 1000}


def sequences() -> "list[list[int]]":
    return [[1 + (length * token) % 50 for token in range(length)] for length in LENGTHS]


def activations(batch, width: int = WIDTH, scale: float = 1.0) -> np.ndarray:
    """Values that tell the sequence, the position and the element, with padding that is no number."""
    values = np.full((len(batch), int(batch.lengths.max()), width), np.nan, np.float32)
    for row, (sequence, length) in enumerate(zip(batch.sequences, batch.lengths)):
        at = np.arange(length)[:, None] * 8 + np.arange(width)
        values[row, :length] = scale * (sequence * 128 + at + 1)
    return values


def rows_of(cache, site: str, width: int = WIDTH) -> np.ndarray:
    """What :func:`activations` gives for all rows of a cache."""
    sequence, position = cache.tokens["sequence"].astype(np.int64), cache.tokens["position"].astype(np.int64)
    return (sequence[:, None] * 128 + position[:, None] * 8 + np.arange(width) + 1).astype(np.float32)


def files(folder: Path) -> "dict[str, str]":
    """The hash of each file of a cache but its lock."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found if path.name != "lock"}


def fill(writer, batch_size: int = 3, most: "int | None" = None) -> None:
    for number, batch in enumerate(writer.batches(batch_size)):
        if number == most:
            raise InterruptedError
        writer.write(batch, {SITE: activations(batch)})


def writer_of(folder, given=None, **settings):
    return hl.Writer(
        folder, sequences() if given is None else given, **{"sites": {SITE: WIDTH}, "dtype": "f32", **SIZES, **settings}
    )


def child_writes(writer, answers) -> None:
    try:
        next(writer.batches())
        answers.put("wrote")
    except hl.Error as error:
        answers.put(error.kind)


class Written(unittest.TestCase):
    def setUp(self) -> None:
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.root = Path(held.name)
        self.folder = self.root / "cache"

    def test_rows_tokens_sections_and_sites_are_those_that_were_given(self):
        given = sequences()
        sections = [["bos"] + ["user_prompt"] * (len(tokens) - 1) for tokens in given]
        turns = [[position // 4 for position in range(len(tokens))] for tokens in given]
        documents = [[100 + number] * (len(tokens) - 1) + [200 + number] for number, tokens in enumerate(given)]
        subsets = [None if number % 3 == 0 else f"part{number % 3}" for number in range(len(given))]
        settings = {"sections": sections, "turns": turns, "documents": documents, "subsets": subsets, "name": "made"}
        with writer_of(self.folder, sites={SITE: WIDTH, OTHER: 3}, d_model=WIDTH, **settings) as writer:
            self.assertEqual(writer.widths, {SITE: WIDTH, OTHER: 3})
            for batch in writer.batches(2):
                for tokens, names, number in zip(batch.tokens, batch.sections, batch.sequences):
                    self.assertEqual(tokens.tolist(), given[number])
                    self.assertEqual(names, sections[number])
                flat = np.concatenate([part[:length] for part, length in zip(activations(batch, 3), batch.lengths)])
                parts = [part[:length] for part, length in zip(activations(batch), batch.lengths)]
                writer.write(batch, {SITE: parts, OTHER: flat})
        cache = hl.open(self.folder, format="numpy")
        np.testing.assert_array_equal(cache[SITE][:], rows_of(cache, SITE))
        np.testing.assert_array_equal(cache[OTHER][:], rows_of(cache, OTHER, 3))
        self.assertEqual(len(cache), sum(LENGTHS))
        self.assertEqual(cache.data["name"], "made")
        for number, tokens in enumerate(given):
            sequence = cache.sequence(number)
            self.assertEqual(sequence.tokens.tolist(), tokens)
            self.assertEqual(sequence.sections, sections[number])
            self.assertEqual(sequence.turns.tolist(), turns[number])
            self.assertEqual(sequence.subset, subsets[number])
        table = cache.tokens.arrow().to_pydict()
        for sequence, position, document in zip(table["sequence"], table["position"], table["document"]):
            self.assertEqual(document, documents[sequence][position])

    def test_batches_are_of_one_row_group_and_padded_at_the_end(self):
        seen = []
        with writer_of(self.folder, bos=1) as writer:
            for batch in writer.batches(4, cells=18):
                longest = int(batch.lengths.max())
                self.assertLessEqual(len(batch) * longest, max(18, longest))
                ids, mask = np.asarray(batch.input_ids), np.asarray(batch.attention_mask)
                self.assertEqual(ids.shape, (len(batch), longest))
                np.testing.assert_array_equal(mask.sum(1), batch.lengths)
                np.testing.assert_array_equal(ids[mask == 1], batch.flat_tokens)
                self.assertTrue((batch.padded(77)[mask == 0] == 77).all())
                seen += batch.sequences
                writer.write(batch, {SITE: activations(batch)})
        self.assertEqual(sorted(seen), list(range(len(LENGTHS))))
        sections = hl.open(self.folder).tokens.arrow().to_pydict()
        for token, section in zip(sections["token"], sections["section"]):
            self.assertEqual(section, "bos" if token == 1 else "text")

    @unittest.skipUnless(cases.HARVESTED, "needs the caches of scripts/check python")
    def test_a_harvest_written_again_is_the_same_bytes(self):
        for harvested in cases.HARVESTED:
            with self.subTest(cache=harvested.name):
                dtype, _, codec = harvested.name.partition("-")
                if codec == "int8":
                    continue  # What it reads is rounded already.
                source = hl.open(harvested, format="numpy")
                again = self.root / harvested.name
                shutil.copytree(harvested / "plan", again / "plan")
                shutil.copy(harvested / "plan.json", again)
                with hl.Writer(again, sites=source.sites, model=MODEL, dtype=dtype, codec=codec) as writer:
                    for batch in writer.batches(5):
                        rows = {site: [source.sequence(one)[site] for one in batch.sequences] for site in source.sites}
                        writer.write(batch, rows)
                expected, got = files(harvested), files(again)
                if "loss" in source.tokens.column_names:
                    # Predictions are not written again.
                    expected, got = ({name: found[name] for name in found if "/blocks." in name} for found in (expected, got))
                self.assertGreater(len(expected), len(source.sites))
                self.assertEqual(got, expected)

    def test_wider_floats_are_rounded_to_the_nearest(self):
        halfway = np.float32(1 + 2**-8)  # Between two numbers of bfloat16, the even one below.
        with hl.Writer(self.folder, [[1, 2]], sites={SITE: 2}, dtype="bf16") as writer:
            for batch in writer.batches():
                writer.write(batch, {SITE: np.array([[[halfway, 2.0], [np.nextafter(halfway, np.float32(2)), -3]]])})
        got = hl.open(self.folder)[SITE].numpy(dtype="float32")
        np.testing.assert_array_equal(got, [[1.0, 2.0], [1 + 2**-7, -3]])

    def test_losses_and_logits(self):
        generator = np.random.default_rng(1)
        with writer_of(self.folder, predictions="loss") as writer:
            for batch in writer.batches(3):
                losses = activations(batch, 1)[:, :, 0] / 1000
                writer.write(batch, {SITE: activations(batch)}, losses=losses)
        table = hl.open(self.folder).tokens.arrow().to_pydict()
        for sequence, position, loss, entropy in zip(*(table[name] for name in ("sequence", "position", "loss", "entropy"))):
            self.assertTrue(np.isnan(entropy))
            if position == LENGTHS[sequence] - 1:
                self.assertIsNone(loss)
            else:
                self.assertAlmostEqual(loss, (sequence * 128 + position * 8 + 1) / 1000, 5)

        logits = {number: generator.normal(size=(length, 60)) * 3 for number, length in enumerate(LENGTHS)}
        other = self.root / "logits"
        with writer_of(other, predictions=4) as writer:
            for batch in writer.batches(3):
                given = [logits[number].astype(np.float32) for number in batch.sequences]
                writer.write(batch, {SITE: activations(batch)}, logits=given)
        table = hl.open(other).tokens.arrow().to_pydict()
        names = ("sequence", "position", "loss", "logsumexp", "entropy", "top_ids", "top_logits")
        for sequence, position, loss, logsumexp, entropy, ids, top in zip(*(table[name] for name in names)):
            row = logits[sequence][position].astype(np.float32).astype(np.float64)
            expected = np.log(np.exp(row).sum())
            self.assertAlmostEqual(logsumexp, expected, 4)
            self.assertAlmostEqual(entropy, -(np.exp(row - expected) * (row - expected)).sum(), 4)
            self.assertEqual(ids, np.argsort(-row)[:4].tolist())
            np.testing.assert_array_equal(np.float32(top), -np.sort(-row)[:4].astype(np.float32))
            if position < LENGTHS[sequence] - 1:
                self.assertAlmostEqual(loss, expected - row[sequences()[sequence][position + 1]], 4)

    def test_going_on_gives_the_same_bytes(self):
        with writer_of(self.root / "whole") as writer:
            fill(writer)
        whole = files(self.root / "whole")
        batches = 0
        with writer_of(self.root / "counted") as writer:
            batches = sum(1 for batch in writer.batches(3) if writer.write(batch, {SITE: activations(batch)}) is None)
        for most in range(batches):
            folder = self.root / f"after-{most}"
            with self.assertRaises(InterruptedError):
                with writer_of(folder, name="whole") as writer:
                    fill(writer, most=most)
            left = files(folder)
            for name, hashed in left.items():
                if name.startswith("shards/"):
                    self.assertEqual(hashed, whole[name])
            with writer_of(folder, name="whole", resume=True) as writer:
                fill(writer, batch_size=2)
            self.assertEqual(files(folder), whole)

    def test_a_process_that_is_killed_leaves_whole_shards(self):
        script = f"""
            import os, signal, sys
            from tests import test_writer as it
            writer = it.writer_of(sys.argv[1], name="whole")
            for number, batch in enumerate(writer.batches(3)):
                if number == 3:
                    os.kill(os.getpid(), {signal.SIGKILL.value})
                writer.write(batch, {{it.SITE: it.activations(batch)}})
        """
        killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script), self.folder], cwd=cases.ROOT / "python")
        self.assertEqual(killed.returncode, -signal.SIGKILL)
        with writer_of(self.folder, name="whole", resume=True) as writer:
            whole, planned = writer.shards
            self.assertTrue(0 < whole < planned)
            fill(writer)
        with writer_of(self.root / "whole") as writer:
            fill(writer)
        self.assertEqual(files(self.folder), files(self.root / "whole"))


class Refused(unittest.TestCase):
    def setUp(self) -> None:
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.folder = Path(held.name) / "cache"

    def refuses(self, kind: str, words: str, call, *arguments, **settings) -> None:
        with self.assertRaises(hl.Error) as raised:
            call(*arguments, **settings)
        self.assertEqual(raised.exception.kind, kind, str(raised.exception))
        self.assertIn(words, str(raised.exception))

    def test_rows_of_another_width_or_number(self):
        writer = writer_of(self.folder, **LARGE)
        batch = next(writer.batches(2))
        right = activations(batch)
        for rows in [right[:, :, :5], right[:1], right[:, :-1], right[0], [right[0]], right[..., None]]:
            self.refuses("invalid", SITE, writer.write, batch, {SITE: rows})
        self.refuses("invalid", f"expected activations of {SITE}", writer.write, batch, {})
        self.refuses("invalid", OTHER, writer.write, batch, {SITE: right, OTHER: right})
        self.refuses("invalid", "floating-point", writer.write, batch, {SITE: np.nan_to_num(right).astype(np.int32)})
        self.refuses("invalid", "no losses", writer.write, batch, {SITE: right}, losses=right[:, :, 0])
        writer.write(batch, {SITE: right})
        writer.close()

    def test_rows_that_are_not_finite_leave_no_shard(self):
        for value in [np.nan, np.inf]:
            writer = writer_of(self.folder / str(value), **LARGE)
            batch = next(writer.batches(10))
            rows = activations(batch)
            rows[1, 2, 0] = value
            self.refuses("invalid", f"sequence {batch.sequences[1]}", writer.write, batch, {SITE: rows})
            self.assertEqual(writer.shards[0], 0)
            self.assertEqual(list((self.folder / str(value) / "shards").iterdir()), [])
            fill(writer)
            writer.finish()
        with writer_of(self.folder / "allowed", non_finite="allow") as writer:
            for batch in writer.batches(10):
                rows = activations(batch)
                rows[0, 0, 0] = np.inf
                writer.write(batch, {SITE: rows})
        self.assertGreater(hl.open(self.folder / "allowed")[SITE].non_finite_rows, 0)
        with hl.Writer(self.folder / "large", [[1]], sites={SITE: 1}, dtype="f16") as writer:
            batch = next(writer.batches())
            self.refuses("invalid", "sequence 0", writer.write, batch, {SITE: np.array([[[1e6]]], np.float32)})
            for batch in writer.batches():
                writer.write(batch, {SITE: np.array([[[1.0]]], np.float32)})

    def test_batches_out_of_order(self):
        writer = writer_of(self.folder)
        batches = writer.batches(2)
        first = next(batches)
        self.refuses("conflict", "expected write()", next, batches)
        writer.write(first, {SITE: activations(first)})
        self.refuses("conflict", "written once", writer.write, first, {SITE: activations(first)})
        self.refuses("conflict", "has more", writer.finish)
        self.refuses("closed", "resume=True", next, writer.batches())
        self.refuses("closed", "resume=True", writer.write, first, {SITE: activations(first)})
        self.refuses("not_found", "cache", hl.open, self.folder)

    def test_two_writers(self):
        with writer_of(self.folder) as writer:
            self.refuses("conflict", "", writer_of, self.folder, resume=True)
            self.refuses("conflict", "", hl.Writer, self.folder, sites={SITE: WIDTH}, dtype="f32")
            fill(writer)
        self.refuses("conflict", "", writer_of, self.folder)

    def test_other_tokens_and_settings_than_those_to_go_on_with(self):
        with self.assertRaises(InterruptedError), writer_of(self.folder, name="one") as writer:
            fill(writer, most=4)
        other = sequences()
        other[0][0] += 1
        self.refuses("conflict", "tokens of shard 0", writer_of, self.folder, other, name="one", resume=True)
        self.refuses("conflict", "shard", writer_of, self.folder, sequences()[:6], name="one", resume=True)
        self.refuses("conflict", "name", writer_of, self.folder, name="two", resume=True)
        self.refuses("conflict", "bf16", writer_of, self.folder, name="one", resume=True, dtype="bf16")
        self.refuses("conflict", "", writer_of, self.folder, name="one")
        with writer_of(self.folder, name="one", resume=True) as writer:
            fill(writer)

    def test_tokens_that_are_none(self):
        for given, words in [
            ([[1, 2], []], "sequence 1"),
            ([[1.5]], "sequence 0"),
            ([[-1]], "-1"),
            ([[1 << 32]], "32 bits"),
            ([], "at least one"),
        ]:
            self.refuses("invalid", words, writer_of, self.folder, given)
        one = [[1, 2, 3]]
        for words, settings in [
            ("a section for each", {"sections": [["text"]]}),
            ("rolout", {"sections": "rolout"}),
            ("sections", {"sections": []}),
            ("turns", {"turns": [[0, 0]]}),
            ("turns", {"turns": [[0, -1, 0]]}),
            ("subset", {"subsets": [["a"]]}),
            ("documents", {"documents": [[1, 2]]}),
            ("got more", {"documents": [1, 2]}),
            ("at least 1", {"shard_tokens": 0}),
            ("predictions", {"predictions": "losses"}),
            ("non_finite", {"non_finite": "maybe"}),
            ("dtype", {"dtype": "f8"}),
            ("plan", {"codec": "plane"}),
        ]:
            self.refuses("invalid", words, writer_of, self.folder, one, **settings)

    def test_models_and_plans_that_are_not_there(self):
        self.refuses("invalid", "d_model", hl.Writer, self.folder, [[1]], sites=[SITE])
        self.refuses("not_found", "checkpoint", hl.Writer, self.folder, [[1]], sites=[SITE], model=self.folder / "no")
        self.refuses("not_found", "plan", hl.Writer, self.folder, sites={SITE: WIDTH})
        self.refuses("invalid", "sections", hl.Writer, self.folder, sites={SITE: WIDTH}, sections="text")
        self.assertFalse((self.folder / "manifest.json").exists())

    def test_a_model_by_its_name_is_recorded_so(self):
        with writer_of(self.folder, model="mamba-130m") as writer:
            fill(writer)
        self.assertEqual(hl.open(self.folder).model["model_type"], "mamba-130m")
        self.assertIsNone(hl.open(self.folder).model["identity"])

    def test_a_forked_process_does_not_write(self):
        with writer_of(self.folder) as writer:
            context = get_context("fork")
            answers = context.SimpleQueue()
            child = context.Process(target=child_writes, args=(writer, answers))
            child.start()
            self.assertEqual(answers.get(), "forked")
            child.join()
            fill(writer)
        self.assertEqual(len(hl.open(self.folder)), sum(LENGTHS))
