"""Caches of a language model's activations, in Python.

import hayloft as hl

cache = hl.open("cache")
acts = cache["blocks.16.hook_resid_pre"]
acts[1000:2000]                                   # [1000, d_model]: torch if it is installed, else numpy
for batch in acts.batches(4096, shuffle=0): ...   # [4096, d_model]
"""

from hayloft._activations import Activations, Batches
from hayloft._aligned import AlignedBatches
from hayloft._cache import Cache, Sequence, Summary, Table, open
from hayloft._errors import Error, OutOfMemory, OutOfRange, UnknownName
from hayloft._figures import Picture, evaluate, picture, results
from hayloft._hayloft import version as _version
from hayloft._latents import Latents, latents
from hayloft._sae import SAE
from hayloft._writer import Writer

__version__ = _version()
__all__ = [
    "SAE",
    "Activations",
    "AlignedBatches",
    "Batches",
    "Cache",
    "Error",
    "Latents",
    "OutOfMemory",
    "OutOfRange",
    "Picture",
    "Sequence",
    "Summary",
    "Table",
    "UnknownName",
    "Writer",
    "evaluate",
    "latents",
    "open",
    "picture",
    "results",
]
