"""A document of the corpus, and its split, which depends only on its key."""

import hashlib
from dataclasses import asdict, dataclass

HELD_OUT_IN_A_THOUSAND = 30


@dataclass(frozen=True)
class Document:
    subset: str  # as The Pile's `pile_set_name`
    key: str  # package and name inside it; unique
    licence: str  # SPDX expression, or the name that demo/README.md defines
    text: str

    def record(self) -> dict:
        return asdict(self)


def order(key: str) -> int:
    """A fixed pseudo-random 64-bit number: sorting documents by it shuffles them, the same way on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def held_out(key: str) -> bool:
    """Whether the document, and every instruction made from it, is held out."""
    return order("split " + key) % 1000 < HELD_OUT_IN_A_THOUSAND
