"""Tensors and loaders of torch. Skipped where torch is not installed."""

import importlib.util
import unittest

import numpy as np

import hayloft as hl
from tests import cases

PRE = "blocks.3.hook_resid_pre"


@unittest.skipUnless(importlib.util.find_spec("torch"), "torch is not installed")
class Torch(unittest.TestCase):
    def tensors(self, name):
        import torch

        words = {
            "bf16-planes": torch.int16,
            "f16-raw": torch.int16,
            "f32-planes-9": torch.int32,
            "many-blocks": torch.int16,
        }
        expected = torch.from_numpy(
            cases.rows(name, PRE).view({4: np.int32, 2: np.int16}[cases.rows(name, PRE).itemsize])
        )
        return hl.open(cases.folder(name))[PRE], expected, words[name]

    def test_rows_keep_their_dtype_and_bits(self):
        import torch

        dtypes = {"bf16-planes": torch.bfloat16, "f16-raw": torch.float16, "f32-planes-9": torch.float32}
        for name, dtype in dtypes.items():
            acts, expected, words = self.tensors(name)
            self.assertEqual((acts.format, acts.dtype), ("torch", dtype))
            mask = torch.arange(len(acts)) % 3 == 0
            for index in [slice(None), slice(1, 4), slice(None, None, -2), mask, torch.tensor([2, 0, -1]), [1]]:
                of = torch.arange(len(acts)).numpy()[index.numpy() if hasattr(index, "numpy") else index].tolist()
                self.assertEqual(acts[index].dtype, dtype)
                self.assertTrue(torch.equal(acts[index].view(words), expected[of]))
            self.assertTrue(torch.equal(acts[2].view(words), expected[2]))
            self.assertEqual(acts[:0].shape, (0, acts.d_model))
            exported = torch.from_dlpack(acts[:2])
            self.assertTrue(torch.equal(exported.view(words), expected[:2]))
            self.assertEqual(acts.with_format("numpy").format, "numpy")

    def test_loaders(self):
        from torch.utils.data import DataLoader

        acts, expected, words = self.tensors("bf16-planes")
        acts[:1]
        wanted = sorted(map(tuple, expected.tolist()))
        finite = np.isfinite((cases.rows("bf16-planes", PRE).astype(np.uint32) << 16).view(np.float32)).all(1)
        counts = sorted(map(tuple, expected[finite].tolist()))
        for workers in [0, 2]:
            for context in ["fork", "spawn"] if workers else [None]:
                loader = DataLoader(acts.dataset(), batch_size=4, num_workers=workers, multiprocessing_context=context)
                got = [tuple(row) for batch in loader for row in batch.view(words).tolist()]
                self.assertEqual(sorted(got), wanted)
                batches = acts.batch_dataset(2, shuffle=1)
                loader = DataLoader(batches, batch_size=None, num_workers=workers, multiprocessing_context=context)
                got = sorted(tuple(row) for batch in loader for row in batch.view(words).tolist())
                self.assertTrue(set(got) <= set(counts))
                self.assertEqual(got == counts, workers == 0, "workers leave out what would make them unequal")
        with self.assertRaises(hl.Error):
            acts.batch_dataset(2, shufle=1)
