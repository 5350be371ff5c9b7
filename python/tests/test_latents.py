"""Latents of the program evaluate."""

import json
import os
import tempfile
import unittest
from pathlib import Path

import hayloft as hl
from tests import cases

MODEL = cases.ROOT / "tests/fixtures/tiny-llama"


@unittest.skipUnless(cases.HARVESTED and "HAYLOFT_PROGRAMS" in os.environ, "scripts/check python makes a cache")
class Collected(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cache = hl.open(next(folder for folder in cases.HARVESTED if folder.name == "f32-raw"))
        options = ["--site", cls.cache.sites[0], "--top", "3", "--sampled", "2", "--logit-tokens", "4", "--ablate", "0..9"]
        cls.latents = hl.latents(cls.cache, MODEL / "sae", model=MODEL, exclude="bos", options=options)

    def test_the_tables_are_those_of_the_files(self):
        found = self.latents
        self.assertEqual((len(found.saes), found.about["top"]), (1, 3))
        rows = found.frame(frame="rows")
        self.assertEqual([row["latent"] for row in rows], list(range(found.about["saes"][0]["provenance"]["width"])))
        self.assertEqual(found.table(found.saes[0]).to_pylist(), rows)
        often = max(rows, key=lambda row: row["firings"])
        examples = found.examples(often["latent"])
        self.assertEqual([example["kind"] for example in examples], ["top"] * 3 + ["sampled"] * 2)
        self.assertEqual(examples[0]["activation"], often["max"])
        top = examples[0]
        self.assertEqual(top["tokens"][top["position"] - top["first_position"]], top["token"])
        self.assertEqual(len(often["logits_raised"]), 4)
        for row in rows:
            self.assertEqual(row["ablation"] is None, row["latent"] >= 9)
        ablations = [row["ablation"] for row in rows[:9]]
        self.assertTrue(any(own["tokens"] > 0 and own["ce_delta"] != 0.0 for own in ablations))
        self.assertTrue(all((own["tokens"] == 0) == (own["ce_delta"] is None) for own in ablations))
        self.assertTrue(all(own["tokens"] <= row["firings"] for own, row in zip(ablations, rows)))
        self.assertEqual(found.examples(often["latent"], found.saes[0], kind="top"), examples[:3])

    def test_neuronpedias_files_hold_the_latents_that_fire(self):
        rows = [row for row in self.latents.frame(frame="rows") if row["firings"]]
        with tempfile.TemporaryDirectory() as place:
            names = {"model_id": "tiny", "layer": 1, "sae_set": "res"}
            paths = self.latents.to_neuronpedia(place, **names)
            batches = [json.loads(path.read_text()) for path in paths]
            features = [feature for batch in batches for feature in batch["features"]]
            self.assertEqual([feature["feature_index"] for feature in features], [row["latent"] for row in rows])
            self.assertEqual([feature["frac_nonzero"] for feature in features], [row["density"] for row in rows])
            for feature, row in zip(features, rows):
                self.assertEqual(sum(feature["freq_hist_data_bar_heights"]), row["firings"])
                self.assertEqual(feature["pos_values"], [entry["effect"] for entry in row["logits_raised"]])
                first = feature["activations"][0]
                self.assertEqual((first["bin_max"], first["bin_contains"]), (row["max"], -1.0))
                self.assertEqual(first["values"][first["qualifying_token_index"]], row["max"])
            with self.assertRaises(hl.Error) as raised:
                self.latents.to_neuronpedia(place, **names)
            self.assertEqual(raised.exception.kind, "conflict")

    def test_what_is_not_there_is_named(self):
        with self.assertRaises(hl.UnknownName) as raised:
            self.latents.table("absent")
        self.assertIn(self.latents.saes[0], str(raised.exception))
        self.assertRaises(hl.OutOfRange, self.latents.examples, 1 << 20)
        self.assertRaises(hl.Error, self.latents.examples, 0, kind="best")
        with tempfile.TemporaryDirectory() as place:
            options = ["--site", self.cache.sites[0]]
            plain = hl.latents(self.cache, MODEL / "sae", out=Path(place) / "plain", options=options)
            with self.assertRaises(hl.Error) as raised:
                plain.to_neuronpedia(place, model_id="tiny", layer=1, sae_set="res")
            self.assertIn("model=", str(raised.exception))
            (plain.folder / "examples.parquet").write_bytes((self.latents.folder / "examples.parquet").read_bytes())
            with self.assertRaises(hl.Error) as raised:
                hl.Latents(plain.folder)
            self.assertIn("the same run", str(raised.exception))
            (plain.folder / "latents.parquet").write_bytes(b"PAR1")
            with self.assertRaises(hl.Error) as raised:
                hl.Latents(plain.folder)
            self.assertEqual(raised.exception.kind, "damaged")
            with self.assertRaises(hl.Error) as raised:
                hl.Latents(place)
            self.assertEqual(raised.exception.kind, "not_found")
