"""Batches of several sites: the same tokens in the same order."""

import unittest

import numpy as np

import hayloft as hl
from hayloft._aligned import AlignedBatches
from tests import cases

CASE = "bf16-planes"
RULES = [{}, {"sections": "text"}, {"exclude": "bos"}]


class Aligned(unittest.TestCase):
    def setUp(self):
        self.cache = hl.open(cases.folder(CASE), format="numpy")

    def finite(self, rows):
        return np.isfinite((rows.astype(np.uint32) << 16).view(np.float32)).all(1)

    def test_where_other_rows_are_finite_there_is_no_alignment(self):
        counts = {site: int(self.finite(cases.rows(CASE, site)).sum()) for site in self.cache.sites}
        self.assertEqual(len(set(counts.values())), 2, "the case has a site with more rows that are not finite")
        with self.assertRaises(hl.Error) as raised:
            self.cache.batches(4)
        self.assertEqual(raised.exception.kind, "conflict")
        for words in [*map(str, counts.values()), *self.cache.sites]:
            self.assertIn(words, str(raised.exception))

    def test_what_is_no_selection_of_sites_is_refused(self):
        self.assertRaises(hl.Error, self.cache.batches, 4, sites=[])
        self.assertRaises(KeyError, self.cache.batches, 4, sites=["blocks.9.hook_resid_pre"])
        self.assertRaises(TypeError, self.cache.batches, 4, sites=self.cache.sites[:1], shufle=1)

    def test_one_site_gives_its_batches(self):
        site = self.cache.sites[0]
        settings = {"shuffle": 3, "buffer_rows": 5, "epochs": 2}
        alone = list(self.cache[site].batches(4, with_rows=True, **settings))
        batches = self.cache.batches(4, sites=site, with_rows=True, **settings)
        self.assertEqual((len(batches), batches.rows), (len(alone), self.cache[site].batches(4).rows))
        for (rows, numbers), (batch, drawn) in zip(alone, batches, strict=True):
            self.assertEqual(list(batch), [site])
            np.testing.assert_array_equal(cases.exact_bits(batch[site]), cases.exact_bits(rows))
            np.testing.assert_array_equal(drawn, numbers)

    def test_another_order_is_found_by_its_row_numbers(self):
        acts = self.cache[self.cache.sites[0]]
        batches = AlignedBatches({"a": acts, "b": acts}, 4, shuffle=1, buffer_rows=8)
        next(batches)
        next(batches._batches["b"])
        with self.assertRaises(hl.Error) as raised:
            next(batches)
        self.assertEqual(raised.exception.kind, "conflict")


@unittest.skipUnless(cases.HARVESTED, "scripts/check python makes caches of several finite sites")
class Harvested(unittest.TestCase):
    def setUp(self):
        self.cache = hl.open(next(folder for folder in cases.HARVESTED if folder.name == "f32-raw"), format="numpy")
        self.rows = {site: self.cache[site][:] for site in self.cache.sites}

    def test_each_row_is_the_same_token_at_every_site(self):
        self.assertGreater(len(self.rows), 1)
        for rules in RULES:
            for shuffle in [None, 5]:
                with self.subTest(rules=rules, shuffle=shuffle):
                    seen = []
                    batches = self.cache.batches(100, shuffle=shuffle, buffer_rows=700, with_rows=True, **rules)
                    for batch, numbers in batches:
                        self.assertEqual(list(batch), self.cache.sites)
                        for site, values in batch.items():
                            np.testing.assert_array_equal(values, self.rows[site][numbers])
                        seen += numbers.tolist()
                    kept = np.flatnonzero(self.cache[self.cache.sites[0]].mask(**rules)).tolist()
                    self.assertEqual(sorted(seen), kept)
                    self.assertEqual(seen == kept, shuffle is None)

    def test_names_are_those_given(self):
        names = ["model.layers.0", self.cache.sites[-1]]
        batch = next(self.cache.batches(3, sites=names))
        self.assertEqual(list(batch), names)
        np.testing.assert_array_equal(batch[names[0]], self.rows["blocks.1.hook_resid_pre"][:3])

    def test_outliers_of_one_site_alone_are_refused(self):
        with self.assertRaises(hl.Error) as raised:
            self.cache.batches(4, outlier_norm="1xmedian", shuffle=0).__next__()
        self.assertIn("outlier_norm", str(raised.exception))

    def test_a_state_goes_on_where_it_was(self):
        make = lambda: self.cache.batches(64, shuffle=2, buffer_rows=300, epochs=None, with_rows=True)
        whole = make()
        orders = [next(whole)[1].tolist() for _ in range(6)]
        first = make()
        for _ in range(3):
            next(first)
        again = make()
        again.load_state_dict(first.state_dict())
        self.assertEqual(again.taken, 3)
        self.assertEqual([next(again)[1].tolist() for _ in range(3)], orders[3:])
        self.assertRaises(TypeError, len, again)
        for bad in [{}, None, {"other": 1}]:
            self.assertRaises(hl.Error, again.load_state_dict, bad)
