"""SAEs as tensors against the libraries that published them. Skipped where torch or safetensors is not installed."""

import importlib.util
import os
import unittest

import numpy as np

import hayloft as hl
from tests import cases

FIXTURES = cases.ROOT / "tests/fixtures"

@unittest.skipUnless(
    importlib.util.find_spec("torch") and importlib.util.find_spec("safetensors") and "HAYLOFT_PROGRAMS" in os.environ,
    "torch or safetensors is not installed",
)
class Sae(unittest.TestCase):
    def folders(self, of: str):
        found = sorted(path.parent for path in (FIXTURES / of).rglob("golden.safetensors"))
        self.assertGreater(len(found), 25)
        return found

    def test_every_format_gives_the_latents_and_reconstructions_of_its_library(self):
        import torch
        from safetensors.torch import load_file

        inputs = load_file(FIXTURES / "sae-formats/inputs.safetensors")["x"]
        for folder in [*self.folders("sae-formats"), *self.folders("saes")]:
            with self.subTest(sae=str(folder.relative_to(FIXTURES))):
                golden = load_file(folder / "golden.safetensors")
                x = golden.get("x", inputs)
                sae = hl.SAE.load(folder)
                self.assertEqual((sae.d_in, sae.d_out), (x.shape[1], golden["reconstruction"].shape[1]))
                latents = sae.encode(x)
                self.assertEqual(latents.shape, (len(x), sae.width))
                fired = (latents > 0).sum(-1)
                self.assertTrue(torch.equal(fired, (golden["latents"] > 0).sum(-1)))
                for got, name in [(sae(x), "reconstruction"), (sae.decode(latents, x), "reconstruction")]:
                    largest = max(float(golden[name].abs().max()), 1.0)
                    self.assertLess(float((got - golden[name]).abs().max()) / largest, 1e-5)
                if not any(part in folder.name for part in ("llamascopium", "rescaled")):
                    largest = max(float(golden["latents"].abs().max()), 1.0)
                    self.assertLess(float((latents - golden["latents"]).abs().max()) / largest, 1e-5)

    @unittest.skipUnless(cases.HARVESTED, "needs the caches of scripts/check python")
    def test_the_figures_of_evaluate_are_those_of_its_tensors(self):
        folder = FIXTURES / "tiny-llama/sae"
        cache = hl.open(next(folder for folder in cases.HARVESTED if folder.name == "f32-raw"))
        sae = hl.SAE.load(folder)
        site = sae.site or cache.sites[0]
        acts = cache[site]
        scale = acts.scale if sae.normalisation == "expected_average_only_in" else 1.0
        (row,) = hl.evaluate(cache, folder, exclude="none", scale=scale, frame="rows", options=["--site", site])
        x = acts[:].float() * scale
        latents, got = sae.encode(x), sae(x)
        self.assertAlmostEqual(row["l0"], float((latents > 0).sum(-1).double().mean()), 6)
        error = float((got.double() - x.double()).square().sum(-1).mean())
        self.assertAlmostEqual(row["mse"] / error, 1.0, 5)

    def test_what_is_missing_is_said(self):
        sae = hl.SAE.load(FIXTURES / "saes/standard-layer")
        x = np.zeros((2, sae.d_in), np.float32)
        self.assertEqual(sae.to("cpu").encode(x).shape, (2, sae.width))
        for work, words in [
            (lambda: sae.decode(sae.encode(x)), "layer_norm"),
            (lambda: sae.encode(x[:, 1:]), str(sae.d_in)),
            (lambda: sae.encode(x.astype(np.int64)), "floating-point"),
        ]:
            with self.assertRaises(hl.Error) as raised:
                work()
            self.assertIn(words, str(raised.exception))
        for name, kind in [("absent/sae", "program"), (FIXTURES / "saes", "invalid")]:
            with self.assertRaises(hl.Error) as raised:
                hl.SAE.load(name)
            self.assertEqual(raised.exception.kind, kind, str(raised.exception))
