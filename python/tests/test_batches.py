"""Batches: every row that counts once, the same by the same seed, going on, parts."""

import json
import unittest

import numpy as np

import hayloft as hl
from tests import cases

PRE = "blocks.3.hook_resid_pre"
CASES = ["bf16-planes", "f32-planes-9", "many-blocks", "bf16-int8", "f16-planes"]


def drawn(batches):
    """All rows and their numbers."""
    pairs = list(batches)
    return [len(batch) for batch, _ in pairs], np.concatenate([rows for _, rows in pairs])


class Batches(unittest.TestCase):
    def finite(self, name, site):
        return np.isfinite(cases_values(name, site)).all(1)

    def test_every_row_comes_once_with_its_number(self):
        for name in CASES:
            acts, expected = hl.open(cases.folder(name), format="numpy")[PRE], cases.rows(name, PRE)
            counts = np.flatnonzero(self.finite(name, PRE))
            for shuffle in [None, 0, 7]:
                for size, buffer in [(1, 1), (3, 4), (4, 1000), (1000, 2)]:
                    with self.subTest(case=name, shuffle=shuffle, size=size, buffer=buffer):
                        batches = acts.batches(size, shuffle=shuffle, buffer_rows=buffer, with_rows=True)
                        self.assertEqual((batches.rows, len(batches)), (len(counts), -(-len(counts) // size)))
                        numbers = []
                        for batch, rows in batches:
                            bits = cases.same_bits(name)
                            np.testing.assert_array_equal(bits(batch), bits(expected[rows]))
                            numbers += rows.tolist()
                        self.assertEqual(sorted(numbers), counts.tolist())
                        if shuffle is None:
                            self.assertEqual(numbers, counts.tolist())
                        self.assertEqual(batches.taken, len(batches))
                        self.assertRaises(StopIteration, next, batches)

    def test_a_seed_decides_the_order(self):
        acts = hl.open(cases.folder("bf16-planes"), format="numpy")[PRE]
        order = lambda **settings: drawn(acts.batches(4, with_rows=True, **settings))[1].tolist()
        orders = [order(shuffle=seed) for seed in range(8)]
        self.assertGreater(len({tuple(numbers) for numbers in orders}), 4)
        self.assertEqual(orders[3], order(shuffle=3))
        two = order(shuffle=3, epochs=2, buffer_rows=2)
        self.assertEqual(sorted(two), sorted(orders[3] * 2))
        sizes, _ = drawn(acts.batches(4, with_rows=True, drop_last=True))
        self.assertEqual(set(sizes), {4})

    def test_the_rules_of_rows(self):
        cache = hl.open(cases.folder("f32-planes-9"), format="numpy")
        acts, table = cache[PRE], cache.tokens
        with np.errstate(invalid="ignore"):
            values = cases_values("f32-planes-9", PRE).astype(np.float64)
            norms = np.sqrt((values**2).sum(1)).astype(np.float32).astype(np.float64)
        finite = np.isfinite(values).all(1)
        sections, tokens = table["section"], table["token"]
        bos = cache.data["tokenizer"]["bos_id"]
        median = np.sort(norms[finite])[(finite.sum() - 1) // 2]
        rules = [
            ({"sections": "rollout"}, sections == "rollout"),
            ({"sections": ["rollout", "control"]}, np.isin(sections, ["rollout", "control"])),
            ({"sections": ["all", "control"]}, np.ones(len(finite), bool)),
            ({"exclude": "bos"}, tokens != bos),
            ({"exclude": [int(tokens[2]), bos]}, ~np.isin(tokens, [tokens[2], bos])),
            ({"outlier_norm": "1xmedian"}, norms <= median),
            ({"outlier_norm": f"{median}raw"}, norms <= median),
            ({"outlier_norm": 2 * median, "scale": 2.0}, norms <= median),
        ]
        for settings, kept in rules:
            with self.subTest(settings=settings):
                kept = kept & finite
                self.assertTrue(kept.any())
                np.testing.assert_array_equal(acts.mask(**settings), kept)
                _, numbers = drawn(acts.batches(3, with_rows=True, **settings))
                self.assertEqual(numbers.tolist(), np.flatnonzero(kept).tolist())

    def test_bad_settings_are_refused(self):
        acts = hl.open(cases.folder("f32-planes-9"), format="numpy")[PRE]
        for settings in [
            {"sections": ["rolout"]},
            {"sections": ["text"]},
            {"exclude": "special"},
            {"exclude": "eos"},
            {"outlier_norm": "10 medians"},
            {"outlier_norm": "5", "scale": 0.0},
            {"outlier_norm": "1e-30raw"},
            {"shuffle": -1},
            {"epochs": -1},
            {"buffer_rows": 0},
            {"rank": 2, "world_size": 2},
            {"world_size": 50},
        ]:
            with self.subTest(settings=settings):
                with self.assertRaises(hl.Error) as raised:
                    acts.batches(2, **settings)
                self.assertIn("expected", str(raised.exception))
        self.assertRaises(hl.Error, acts.batches, 0)
        self.assertRaises(TypeError, acts.batches, 2.5)
        self.assertRaises(TypeError, len, acts.batches(2, epochs=None))

    def test_a_state_goes_on_where_it_was(self):
        acts = hl.open(cases.folder("bf16-planes"), format="numpy")[PRE]
        for settings in [{"shuffle": 5, "buffer_rows": 6, "epochs": 3}, {"epochs": 2}, {"shuffle": 1, "epochs": None}]:
            make = lambda: acts.batches(4, with_rows=True, **settings)
            whole = make()
            rows = [next(whole)[1].tolist() for _ in range(9)]
            for taken in range(8):
                first = make()
                for _ in range(taken):
                    next(first)
                state = first.state_dict()
                json.dumps({**state, "waiting": state["waiting"].tolist()})
                again = make()
                again.load_state_dict(state)
                self.assertEqual(again.taken, taken)
                self.assertEqual([next(again)[1].tolist() for _ in range(9 - taken)], rows[taken:])
        other = acts.batches(4, shuffle=6)
        for bad in [state, {}, None, {**other.state_dict(), "version": 9}]:
            self.assertRaises(hl.Error, other.load_state_dict, bad)
        damaged = {**make().state_dict(), "progress": "{}"}
        self.assertRaises(hl.Error, make().load_state_dict, damaged)
        state["waiting"] = np.array([9999, 0, 0, 1 << 40])
        again = make()
        again.load_state_dict(state)
        self.assertRaises(hl.Error, next, again)

    def test_parts_share_the_rows(self):
        acts = hl.open(cases.folder("bf16-planes"), format="numpy")[PRE]
        for world in [2, 3]:
            parts = [acts.batches(1, shuffle=2, rank=rank, world_size=world, with_rows=True) for rank in range(world)]
            self.assertEqual(len({len(part) for part in parts}), 1)
            numbers = [row for part in parts for row in drawn(part)[1].tolist()]
            self.assertEqual(len(numbers), len(set(numbers)))
            self.assertEqual(len(numbers), world * len(parts[0]))

    def test_mixing_is_measured(self):
        acts = hl.open(cases.folder("bf16-planes"), format="numpy")[PRE]
        batches = acts.batches(6, shuffle=0)
        self.assertIsNone(batches.mixing)
        list(batches)
        mixing = batches.mixing
        self.assertTrue(1 <= mixing["row_groups_per_batch"] <= mixing["row_groups"] == 3, mixing)


def cases_values(name, site):
    rows = cases.rows(name, site)
    return rows if rows.dtype != np.uint16 else (rows.astype(np.uint32) << 16).view(np.float32)
