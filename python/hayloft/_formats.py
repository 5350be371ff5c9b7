"""Arrays of numpy and tensors of torch over the same memory."""

import importlib.util

import numpy as np

from hayloft._errors import Error

FORMATS = ("torch", "numpy")
NUMPY_TYPES = {"f32": np.dtype("<f4"), "f16": np.dtype("<f2")}


def default_format() -> str:
    """torch if it is installed, else numpy. Imports neither."""
    return "torch" if importlib.util.find_spec("torch") else "numpy"


def check_format(name: str) -> str:
    if name not in FORMATS:
        raise Error(f"format: expected torch or numpy, got {name!r}")
    return name


def numpy_type(dtype: str) -> np.dtype:
    """The numpy type of a dtype of a cache."""
    if dtype in NUMPY_TYPES:
        return NUMPY_TYPES[dtype]
    try:
        import ml_dtypes
    except ImportError:
        raise Error(
            "bfloat16: expected the package ml_dtypes, which gives numpy this type, got none. Install it"
            " (pip install ml_dtypes), install torch, or read numpy(rows, dtype='float32'), which is exact",
            "missing_package",
        ) from None
    return np.dtype(ml_dtypes.bfloat16)


def torch_type(dtype: str):
    """The torch type of a dtype of a cache."""
    torch = import_torch()
    return {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[dtype]


def import_torch():
    try:
        import torch
    except ImportError:
        raise Error(
            "torch: expected the package, got none. Install it (pip install torch), or read numpy arrays with"
            " with_format('numpy')",
            "missing_package",
        ) from None
    return torch


def of_bits(bits: np.ndarray, dtype: str, kind: str):
    """The array or tensor over words as they were read: bfloat16 are given as uint16."""
    if kind == "numpy":
        return bits if dtype != "bf16" else bits.view(numpy_type(dtype))
    torch = import_torch()
    return torch.from_numpy(bits) if dtype != "bf16" else torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)


def to_float32(bits: np.ndarray, dtype: str) -> np.ndarray:
    """The values as float32, which is exact."""
    if dtype == "bf16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    # A signalling NaN becomes a quiet one, which is no reason to warn.
    with np.errstate(invalid="ignore"):
        return bits.astype(np.float32, copy=False)
