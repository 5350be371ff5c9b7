"""The corpus: documents of all subsets, within each subset's budget, split by a hash, and the two committed samples.

Writes WORK/corpus.jsonl (every document for training or evaluation), demo/text/train.jsonl.zst (a mixed sample of the
training documents) and demo/text/heldout.jsonl.zst.
"""

import json
from collections.abc import Iterator

import dictionaries
import manuals
import packages
import zstandard
from documents import Document, held_out, order
from layout import CORPUS, TEXT

# Characters of training documents of each subset, each seen once by the base model.
BUDGET = {
    "KJV Bible": 4_200_000,
    "WordNet": 4_500_000,
    "GCIDE": 4_500_000,
    "FOLDOC": 3_500_000,
    "man pages": 4_000_000,
    "Python docs": 4_000_000,
    "Linux docs": 4_000_000,
}
TRAIN_SAMPLE = 1_000_000  # characters a subset committed for training SAEs
HELD_OUT_SAMPLE = 75_000  # characters a subset committed for evaluation


def collect() -> Iterator[Document]:
    roots = packages.bring_all()
    yield from dictionaries.bible(roots["bible-kjv"], roots["bible-kjv-text"])
    yield from dictionaries.wordnet(roots["wordnet-base"])
    yield from dictionaries.gcide(roots["dict-gcide"])
    yield from dictionaries.foldoc(roots["dict-foldoc"])
    for package, licence in (("manpages", "GPL-2.0-or-later"), ("manpages-dev", "GPL-2.0-or-later"), ("git-man", "GPL-2.0-only")):
        yield from manuals.man_pages(roots[package], package, licence)
    yield from manuals.python_documentation(roots["python3.11-doc"])
    yield from manuals.linux_documentation(roots["linux-doc-6.1"])


def within(documents: list[Document], budget: dict[str, int]) -> list[Document]:
    """In the given order, documents of each subset until its budget of characters is spent."""
    left, kept = dict(budget), []
    for document in documents:
        if left[document.subset] > 0:
            left[document.subset] -= len(document.text)
            kept.append(document)
    return kept


def write_sample(name: str, documents: list[Document]) -> None:
    lines = [
        json.dumps({"text": d.text, "meta": {"pile_set_name": d.subset, "source": d.key, "licence": d.licence}}, ensure_ascii=False)
        for d in documents
    ]
    data = "".join(line + "\n" for line in lines).encode()
    TEXT.mkdir(parents=True, exist_ok=True)
    (TEXT / name).write_bytes(zstandard.ZstdCompressor(level=19).compress(data))
    print(f"{name}: {len(documents)} documents, {sum(len(d.text) for d in documents)} characters")


def read_sample(name: str) -> list[Document]:
    """The documents of a committed sample, in its order."""
    data = zstandard.ZstdDecompressor().decompressobj().decompress((TEXT / name).read_bytes())
    rows = map(json.loads, data.decode().splitlines())
    return [Document(r["meta"]["pile_set_name"], r["meta"]["source"], r["meta"]["licence"], r["text"]) for r in rows]


def read(split: str) -> list[Document]:
    """`train` or `heldout` documents of the corpus, shuffled."""
    with CORPUS.open() as lines:
        documents = [Document(**json.loads(line)) for line in lines]
    return [document for document in documents if held_out(document.key) == (split == "heldout")]


def main() -> None:
    shuffled = sorted(collect(), key=lambda document: order(document.key))
    train = within([d for d in shuffled if not held_out(d.key)], BUDGET)
    # Some manual pages have several names; a page that is trained on under one name is not held out under another.
    known = {document.text for document in train}
    heldout = [d for d in shuffled if held_out(d.key) and d.text not in known]
    CORPUS.parent.mkdir(parents=True, exist_ok=True)
    with CORPUS.open("w") as out:
        for document in train + heldout:
            out.write(json.dumps(document.record(), ensure_ascii=False) + "\n")
    for subset in BUDGET:
        chosen = [d for d in train if d.subset == subset]
        print(f"{subset}: {len(chosen)} training documents, {sum(len(d.text) for d in chosen)} characters")
    write_sample("train.jsonl.zst", within(train, dict.fromkeys(BUDGET, TRAIN_SAMPLE)))
    write_sample("heldout.jsonl.zst", within(heldout, dict.fromkeys(BUDGET, HELD_OUT_SAMPLE)))


if __name__ == "__main__":
    main()
