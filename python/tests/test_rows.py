"""Rows by number: every codec and dtype, to the bit."""

import random
import sys
import unittest

import numpy as np
import pyarrow as pa

import hayloft as hl
from tests import cases


class Rows(unittest.TestCase):
    def each(self):
        for name in cases.NAMES:
            cache = hl.open(cases.folder(name), format="numpy")
            for site in cases.sites(name):
                with self.subTest(case=name, site=site):
                    yield cache[site], cases.rows(name, site), cases.same_bits(name)

    def test_all_rows_are_those_that_were_written(self):
        for acts, expected, bits in self.each():
            self.assertEqual(acts.shape, expected.shape)
            self.assertEqual(len(acts), len(expected))
            np.testing.assert_array_equal(bits(acts[:]), bits(expected))
            np.testing.assert_array_equal(bits(np.asarray(acts)), bits(expected))

    def test_slices(self):
        generator = random.Random(1)
        for acts, expected, bits in self.each():
            number = lambda: generator.choice([None, generator.randint(-2 * len(expected), 2 * len(expected))])
            for _ in range(60):
                wanted = slice(number(), number(), generator.choice([None, 1, 2, 3, -1, -2, 50]))
                np.testing.assert_array_equal(bits(acts[wanted]), bits(expected[wanted]), str(wanted))
            for row in range(-len(expected), len(expected)):
                np.testing.assert_array_equal(bits(acts[row]), bits(expected[row]))
            np.testing.assert_array_equal(bits(acts[...]), bits(expected))
            np.testing.assert_array_equal(bits(acts[1:3, 1]), bits(expected[1:3, 1]))
            np.testing.assert_array_equal(bits(acts[-1, :2]), bits(expected[-1, :2]))

    def test_views_without_a_copy(self):
        viewed, generator = 0, random.Random(3)
        for acts, expected, bits in self.each():
            codec = acts.cache.summary()["codec"]
            for _ in range(200):
                first, end = sorted(generator.sample(range(len(expected) + 1), 2))
                view = acts.numpy(slice(first, end), copy=None)
                np.testing.assert_array_equal(bits(view), bits(expected[first:end]))
                if view.flags.writeable:
                    self.assertRaises(ValueError, acts.numpy, slice(first, end), copy=False)
                    continue
                viewed += 1
                self.assertEqual(codec, "raw")
                again = acts.numpy(slice(first, end), copy=False)
                self.assertEqual(again.__array_interface__["data"], view.__array_interface__["data"])
            for index in [[0], 0, slice(0, 0), slice(None, None, 2), np.ones(len(expected), bool)]:
                self.assertRaises(ValueError, acts.numpy, index, copy=False)
                self.assertTrue(acts.numpy(index, copy=None).flags.writeable)
        self.assertGreater(viewed, 20)

    def test_masks_and_lists(self):
        generator = np.random.default_rng(2)
        for acts, expected, bits in self.each():
            rows = len(expected)
            for share in [0.0, 0.1, 0.5, 1.0]:
                mask = generator.random(rows) < share
                for given in [mask, mask.tolist(), pa.array(mask), pa.chunked_array([mask[:3], mask[3:]])]:
                    np.testing.assert_array_equal(bits(acts[given]), bits(expected[mask]))
            for size in [0, 1, rows, 5 * rows]:
                numbers = generator.integers(-rows, rows, size)
                for given in [numbers, numbers.tolist(), numbers.astype(np.int32), pa.array(numbers)]:
                    np.testing.assert_array_equal(bits(acts[given]), bits(expected[numbers]))
            np.testing.assert_array_equal(bits(acts[np.arange(rows, dtype=np.uint8)]), bits(expected))

    def test_what_is_no_row_is_refused(self):
        acts = hl.open(cases.folder("bf16-planes"), format="numpy")["blocks.3.hook_resid_pre"]
        rows = len(acts)
        for index in [rows, -rows - 1, 1 << 80, [0, rows], np.array([-rows - 1]), [True], np.ones(rows + 1, bool)]:
            with self.subTest(index=index):
                with self.assertRaises(IndexError) as raised:
                    acts[index]
                self.assertIsInstance(raised.exception, hl.Error)
                self.assertIn(str(rows), str(raised.exception))
        for index in ["0", 0.5, [0.5], None, np.ones((2, 2), bool), np.array([["a"]])]:
            with self.subTest(index=index), self.assertRaises(TypeError):
                acts[index]
        with self.assertRaises(IndexError):
            acts[0, 0, 0]

    def test_larger_caches_are_as_pyarrow_reads_them(self):
        if not cases.HARVESTED:
            self.skipTest("scripts/check python makes them")
        sys.path.append(str(cases.ROOT / "examples"))
        from read_cache import read_site

        generator = np.random.default_rng(3)
        for folder in cases.HARVESTED:
            cache = hl.open(folder, format="numpy")
            for site in cache.sites:
                with self.subTest(cache=folder.name, site=site):
                    self.check_larger(cache[site], read_site(folder, site), generator)

    def check_larger(self, acts, expected, generator):
        words = cases.exact_bits
        np.testing.assert_array_equal(words(acts[:]), words(expected))
        for _ in range(50):
            first, end = sorted(generator.integers(0, len(expected) + 1, 2).tolist())
            np.testing.assert_array_equal(words(acts[first:end]), words(expected[first:end]))
            mask = generator.random(len(expected)) < generator.random() ** 2
            np.testing.assert_array_equal(words(acts[mask]), words(expected[mask]))

    def test_dtypes(self):
        import ml_dtypes

        for name, dtype in [("bf16-planes", ml_dtypes.bfloat16), ("f16-raw", np.float16), ("bf16-int8", np.float32)]:
            acts = hl.open(cases.folder(name), format="numpy")[cases.sites(name)[0]]
            self.assertEqual(acts.dtype, dtype)
            self.assertEqual(acts[:2].dtype, dtype)
            wide = acts.numpy(slice(2), dtype="float32")
            self.assertEqual(wide.dtype, np.float32)
            with np.errstate(invalid="ignore"):
                np.testing.assert_array_equal(wide, acts[:2].astype(np.float32))
        array = acts[:2]
        array[0] = 0
        self.assertTrue(np.any(acts[0] != 0), "an array that was read is writable, and changes no file")


if __name__ == "__main__":
    unittest.main()
