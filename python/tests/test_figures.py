"""Figures of the program evaluate."""

import json
import os
import tempfile
import unittest
from pathlib import Path

import hayloft as hl
from tests import cases

SAE = cases.ROOT / "tests/fixtures/tiny-llama/sae"


class Pictures(unittest.TestCase):
    def test_a_picture_shows_in_a_notebook_and_a_missing_one_is_told_what_is_there(self):
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "figure-l0-ce-1.svg"
            path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
            self.assertEqual(hl.picture(path)._repr_svg_(), path.read_text())
            with self.assertRaisesRegex(hl.Error, "figure-l0-ce-1.svg") as raised:
                hl.picture(Path(place) / "figure-l0-ev-1.svg")
            self.assertEqual(raised.exception.kind, "not_found")
            path.write_text("%PDF")
            with self.assertRaises(hl.Error) as raised:
                hl.picture(path)
            self.assertEqual(raised.exception.kind, "damaged")


@unittest.skipUnless(cases.HARVESTED and "HAYLOFT_PROGRAMS" in os.environ, "scripts/check python makes a cache")
class Figures(unittest.TestCase):
    def test_a_run_gives_the_figures_of_its_files(self):
        cache = hl.open(next(folder for folder in cases.HARVESTED if folder.name == "f32-raw"))
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "results/tiny"
            settings = {"sections": ["text", "all"], "exclude": "bos", "bootstrap": 100, "scale": "auto", "out": out}
            rows = hl.evaluate(cache, SAE, frame="rows", options=["--site", cache.sites[0]], **settings)
            self.assertEqual([row["section"] for row in rows], ["text", "all"])
            written = json.loads((out / "results.json").read_text())
            for row, result in zip(rows, written):
                self.assertEqual((row["l0"], row["mse"]), (result["l0"], result["mse"]))
                low, high = result["intervals"]["figures"]["explained_variance_pooled"]
                name = "explained_variance_pooled"
                self.assertEqual((row[f"{name}_low"], row[f"{name}_high"]), (low, high))
                self.assertEqual(row["manifest_blake3"], cache.manifest_blake3)
                self.assertFalse(any(isinstance(value, (dict, list)) for value in row.values()))
            again = hl.results(place, frame="rows")
            self.assertEqual(again, [{"folder": str(out), **row} for row in rows])
            self.assertEqual(hl.results(out / "results.json", frame="rows"), again)
            (out / "results.json").write_text('[{"sae": 1}]')
            with self.assertRaises(hl.Error) as raised:
                hl.results(place, frame="rows")
            self.assertEqual(raised.exception.kind, "damaged")

    def test_what_the_program_refuses_is_an_error(self):
        with self.assertRaises(hl.Error) as raised:
            hl.evaluate(cases.HARVESTED[0], "absent", frame="rows")
        self.assertEqual(raised.exception.kind, "program")
        self.assertIn("absent", str(raised.exception))
        with self.assertRaises(hl.Error) as raised:
            hl.results(cases.HARVESTED[0], frame="rows")
        self.assertEqual(raised.exception.kind, "not_found")


class Frames(unittest.TestCase):
    def test_a_missing_package_is_named_before_anything_runs(self):
        for work in [lambda: hl.results("absent", frame="arrow"), lambda: hl.evaluate("absent", [], frame=3)]:
            self.assertRaises(hl.Error, work)

    def test_a_package_without_programs_says_so(self):
        given = os.environ.pop("HAYLOFT_PROGRAMS", None)
        try:
            with self.assertRaises(hl.Error) as raised:
                hl.evaluate("absent", "absent", frame="rows")
            self.assertEqual(raised.exception.kind, "missing_package")
        finally:
            if given is not None:
                os.environ["HAYLOFT_PROGRAMS"] = given
