"""A cache: names, tables, sequences."""

import copy
import math
import os
import pickle
import re
import tempfile
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import hayloft as hl
from tests import cases

PRE, POST = "blocks.3.hook_resid_pre", "blocks.3.hook_resid_post"


class Cache(unittest.TestCase):
    def test_what_the_manifest_says(self):
        cache = hl.open(cases.folder("bf16-planes"))
        expected = cases.expected("bf16-planes")
        self.assertEqual(cache.sites, sorted([PRE, POST]))
        self.assertEqual(cache.data, expected["corpus"])
        self.assertEqual(cache.model, expected["settings"]["model"])
        counted = sum(len(shard["tokens"]["token"]) for shard in expected["shards"])
        self.assertEqual((len(cache), sum(cache.sections.values())), (counted, counted))
        text = str(cache.summary())
        self.assertTrue(PRE in text and f"tokens    {counted} " in text, text)

    def test_names_of_one_stream(self):
        cache = hl.open(cases.folder("bf16-planes"), format="numpy")
        for name in [
            "blocks.2.hook_resid_post",
            "model.layers.2",
            "layers.2",
            "layers.2.output",
            "model.layers.3.input",
        ]:
            self.assertEqual(cache[name].name, PRE)
            self.assertTrue(name in cache)
        for name in ["blocks.4.hook_resid_pre", "model.layers.3"]:
            self.assertEqual(cache[name].name, POST)
        for name in [
            "blocks.3.hook_resid_mid",
            "model.layers.7",
            "layers.x",
            "../x",
            "",
            "blocks.99999999999999999999.hook_resid_pre",
        ]:
            self.assertFalse(name in cache)
            with self.assertRaises(hl.Error):
                cache[name]
        with self.assertRaises(KeyError) as raised:
            cache["blocks.3.hook_resid_per"]
        self.assertEqual(raised.exception.kind, "not_found")
        self.assertIn(PRE, str(raised.exception))

    def test_tokens(self):
        for name in cases.NAMES:
            with self.subTest(case=name):
                cache = hl.open(cases.folder(name))
                table, expected = pa.table(cache.tokens), cases.expected(name)
                self.assertEqual(table.column_names, cache.tokens.column_names)
                whole = lambda column: [value for shard in expected["shards"] for value in shard["tokens"][column]]
                for column in ["sequence", "position", "token", "section", "document", "subset"]:
                    self.assertEqual(table[column].to_pylist(), whole(column))
                if expected["settings"]["predictions"] is None:
                    self.assertNotIn("loss", table.column_names)
                else:
                    self.check_predictions(table, expected)
                for site in cases.sites(name):
                    norms = [norm for shard in expected["shards"] for norm in shard["residual_norms"][site]]
                    got = table[f"residual_norm.{site}"].to_pylist()
                    self.assertEqual([norm if math.isfinite(norm) else None for norm in got], norms)

    def check_predictions(self, table, expected):
        for column in set(table.column_names) & {"loss", "logsumexp", "entropy", "top_ids", "top_logits"}:
            values = [value for shard in expected["shards"] for value in shard["predictions"][column]]
            self.assertEqual(plain(table[column].to_pylist()), values, column)
        self.assertEqual("top_ids" in table.column_names, expected["settings"]["predictions"]["top_k"] > 0)

    def test_columns_of_the_tokens(self):
        cache = hl.open(cases.folder("f32-planes-9"), format="numpy")
        table = cache.tokens.select(["section", "token"])
        self.assertEqual(table.arrow().column_names, ["section", "token"])
        self.assertEqual(pa.schema(table).names, ["section", "token"])
        with self.assertRaises(KeyError) as raised:
            table.select(["tokens"])
        self.assertIn("section, token", str(raised.exception))
        # A join: the rows of a section.
        mask = pc.equal(table.arrow()["section"], "rollout")
        rows = cases.rows("f32-planes-9", PRE)[np.array(mask)]
        acts = cache[PRE]
        np.testing.assert_array_equal(cases.exact_bits(acts[mask]), cases.exact_bits(rows))
        finite = np.isfinite(cases.rows("f32-planes-9", PRE)).all(1)
        np.testing.assert_array_equal(acts.mask(sections="rollout"), np.array(mask) & finite)

    def test_sequences(self):
        for name in ["bf16-planes", "f32-planes-9", "f16-planes"]:
            cache, expected = hl.open(cases.folder(name), format="numpy"), cases.expected(name)
            table = pa.table(cache.sequences).to_pylist()
            site = cases.sites(name)[0]
            before = number = 0
            for shard in expected["shards"]:
                for sequence in shard["sequences"]:
                    found = cache.sequence(sequence["sequence"])
                    first = before + sequence["first_row"]
                    rows = slice(first, first + sequence["length"])
                    local = slice(sequence["first_row"], sequence["first_row"] + sequence["length"])
                    self.assertEqual(
                        (found.rows.start, found.rows.stop, len(found)), (rows.start, rows.stop, sequence["length"])
                    )
                    self.assertEqual(found.tokens.tolist(), shard["tokens"]["token"][local])
                    self.assertEqual(found.sections, shard["tokens"]["section"][local])
                    self.assertEqual((found.subset, found.document), (sequence["subset"], sequence["document"]))
                    np.testing.assert_array_equal(
                        cases.exact_bits(found[site]), cases.exact_bits(cases.rows(name, site)[rows])
                    )
                    if expected["settings"]["predictions"] is None:
                        self.assertIsNone(found.losses)
                    else:
                        losses = [None if math.isnan(loss) else loss for loss in found.losses.tolist()]
                        self.assertEqual(losses, shard["predictions"]["loss"][local])
                    self.assertEqual(table[number]["first_row"], first)
                    self.assertEqual(table[number]["sequence"], sequence["sequence"])
                    number += 1
                before += len(shard["tokens"]["token"])
        for absent in [-1, 1 << 40]:
            with self.assertRaises(IndexError):
                cache.sequence(absent)

    def test_pickling_opens_the_same_cache(self):
        with tempfile.TemporaryDirectory() as place:
            folder = cases.copy("bf16-planes", place)
            acts = hl.open(folder, format="numpy")[POST]
            again = pickle.loads(pickle.dumps(acts))
            self.assertEqual((again.name, again.format), (POST, "numpy"))
            np.testing.assert_array_equal(again[:], copy.copy(acts)[:])
            pickled = pickle.dumps(acts)
            other = cases.folder("f16-raw") / "manifest.json"
            (folder / "manifest.json").write_bytes(other.read_bytes())
            with self.assertRaises(hl.Error) as raised:
                pickle.loads(pickled)
            self.assertEqual(raised.exception.kind, "conflict")

    def test_threads_read_one_cache(self):
        cache, expected = hl.open(cases.folder("many-blocks"), format="numpy"), cases.rows("many-blocks", PRE)
        acts = cache[PRE]

        def read(seed):
            generator = np.random.default_rng(seed)
            for _ in range(50):
                numbers = generator.integers(0, len(expected), 7)
                np.testing.assert_array_equal(acts[numbers].view(np.uint16), expected[numbers])
                cache.sequence(int(generator.integers(0, 3)))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(read, range(8)))
        self.assertLess(threading.active_count(), 20)

    def test_text_needs_the_caches_tokenizer(self):
        cache = hl.open(cases.folder("bf16-planes"))
        with self.assertRaises(hl.Error) as raised:
            cache.text(0)
        self.assertIn("tokenizer=", str(raised.exception))
        try:
            import tokenizers  # noqa: F401
        except ImportError:
            with self.assertRaises(hl.Error) as raised:
                cache.text(0, tokenizer=cases.ROOT / "demo/base")
            self.assertEqual(raised.exception.kind, "missing_package")
        else:
            with self.assertRaises(hl.Error) as raised:
                cache.text(0, tokenizer=cases.ROOT / "demo/base")
            self.assertEqual(raised.exception.kind, "conflict")

    def test_a_location_is_read_through_a_folder(self):
        handler = partial(Ranges, directory=cases.folder("bf16-planes"))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, tempfile.TemporaryDirectory() as place:
            Thread(target=server.serve_forever, daemon=True).start()
            location = f"http://127.0.0.1:{server.server_port}"
            cache = hl.open(location, format="numpy", cache_folder=place, cache_limit="1GB")
            acts, expected = cache[PRE], cases.rows("bf16-planes", PRE)
            np.testing.assert_array_equal(acts[:].view(np.uint16), expected)
            self.assertTrue(any(path.is_file() for path in Path(place).rglob("*")))
            with self.assertRaises(hl.Error):
                hl.open(location, cache_folder=place, cache_limit="much")
            # A child has none of the connections.
            child = os.fork()
            if child == 0:
                try:
                    acts[:]
                except hl.Error as error:
                    os._exit(0 if error.kind == "forked" else 1)
                os._exit(2)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            server.shutdown()
        folder = cases.folder("bf16-planes").as_uri()
        np.testing.assert_array_equal(hl.open(folder, format="numpy")[PRE][:].view(np.uint16), expected)


class Ranges(SimpleHTTPRequestHandler):
    """A web server of a folder that knows ranges."""

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            return super().do_GET()
        data = path.read_bytes()
        first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        self.wfile.write(data[first : last + 1])

    def log_message(self, *_: object) -> None:
        pass


def plain(value):
    """Lists with None in place of what is not finite, as in expected.json."""
    if isinstance(value, list):
        return [plain(element) for element in value]
    return value if value is None or math.isfinite(value) else None
