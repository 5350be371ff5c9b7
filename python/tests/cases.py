"""Caches of known contents: those of store/conformance, whose rows come from a script that is no reader."""

import json
import os
import shutil
from functools import cache as once
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "store/conformance/cases"
NAMES = sorted(path.name for path in CASES.iterdir())
WORDS = {"f32": "<f4", "f16": "<f2", "bf16": "<u2"}
HARVESTED = sorted(Path(os.environ["HAYLOFT_TEST_CACHES"]).iterdir()) if "HAYLOFT_TEST_CACHES" in os.environ else []
"""Larger caches of one corpus, of several shards and row groups, which scripts/check python makes."""


def folder(name: str) -> Path:
    return CASES / name / "cache"


@once
def expected(name: str) -> dict:
    return json.loads((CASES / name / "expected.json").read_text())


def sites(name: str) -> list:
    return expected(name)["settings"]["sites"]


@once
def rows(name: str, site: str) -> np.ndarray:
    """The rows of a site as they are read, [rows, d]; bfloat16 as uint16, those of int8 as float32."""
    settings = expected(name)["settings"]
    parts = [
        np.fromfile(CASES / name / "rows" / f"{shard['index']:05}" / f"{site}.bin", WORDS[settings["dtype"]])
        for shard in expected(name)["shards"]
    ]
    width = settings.get("site_widths", {}).get(site, settings["model"]["d_model"])
    words = np.concatenate(parts).reshape(-1, width)
    if settings["codec"] == "int8":
        values = (words.astype(np.uint32) << 16).view(np.float32)
        # The codec stores one scale a row, and so no number of a row that is not finite.
        values[~np.isfinite(values).all(1)] = np.nan
        return values
    return words


def bits(array) -> np.ndarray:
    """The bits of an array's or a tensor's elements. All NaNs of float32 are one, as the codec int8 keeps no
    payload."""
    array = np.ascontiguousarray(array)
    if array.dtype == np.float32:
        return np.where(np.isnan(array), np.uint32(0x7FC00000), array.view(np.uint32))
    return array.view(np.uint16)


def exact_bits(array) -> np.ndarray:
    array = np.ascontiguousarray(array)
    return array.view({2: np.uint16, 4: np.uint32}[array.dtype.itemsize])


def same_bits(name: str):
    return bits if expected(name)["settings"]["codec"] == "int8" else exact_bits


def copy(name: str, into: str) -> Path:
    """A copy of a cache that a test may damage."""
    return Path(shutil.copytree(folder(name), Path(into) / name))


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
