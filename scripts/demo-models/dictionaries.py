"""WordNet, GCIDE and FOLDOC as documents of one entry each, and the King James Bible as documents of one chapter each."""

import gzip
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from documents import Document

WORDNET_KINDS = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}


def bible(program: Path, text: Path) -> Iterator[Document]:
    printed = subprocess.run(
        [program / "usr/bin/bible", "-l0", "-p", text / "usr/lib", "gen1:1-rev22:21"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    heading, verses = None, []
    for line in [*printed.splitlines(), "End 0"]:
        if re.match(r"\s*\d+ \S", line) and line.startswith(" "):
            verses.append(line.strip())
        elif line.strip():
            if heading and verses:
                text_of_chapter = heading + "\n\n" + "\n".join(verses) + "\n"
                yield Document("KJV Bible", f"bible-kjv-text {heading}", "public domain", text_of_chapter)
            heading, verses = line.strip(), []


def wordnet(root: Path) -> Iterator[Document]:
    """One document a lemma. A synset belongs only to its first lemma, so that no gloss occurs twice."""
    entries: dict[str, list[str]] = defaultdict(list)
    for part, kind in WORDNET_KINDS.items():
        for line in (root / "usr/share/wordnet" / f"data.{part}").read_text(errors="replace").splitlines():
            if line.startswith("  "):
                continue  # the licence at the head of each file
            fields, gloss = line.split(" | ", 1)
            words = fields.split()
            count = int(words[3], 16)
            lemmas = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in words[4 : 4 + 2 * count : 2]]
            definition, *examples = re.split(r"; (?=\")", gloss.strip())
            sense = f"{kind}: {definition}"
            if examples:
                sense += "\n  Example: " + " ".join(examples)
            if len(lemmas) > 1:
                sense += "\n  Synonyms: " + ", ".join(lemmas[1:])
            entries[lemmas[0]].append(sense)
    for lemma, senses in entries.items():
        yield Document("WordNet", f"wordnet-base {lemma}", "WordNet-3.0", f"{lemma}\n\n" + "\n".join(senses) + "\n")


def _dictd(root: Path, name: str) -> str:
    return gzip.decompress((root / f"usr/share/dictd/{name}.dict.dz").read_bytes()).decode(errors="replace")


def gcide(root: Path) -> Iterator[Document]:
    """Entries of the 1913 Webster, without those taken from WordNet, which is a separate subset."""
    for number, entry in enumerate(re.split(r"\n\n(?=[A-Z][^\n\\]{0,40} \\)", _dictd(root, "gcide"))[1:]):
        if "[WordNet" in entry or "[1913 Webster]" not in entry:
            continue
        head, *body = entry.split("\n   ", 1)
        word = head.split("\\")[0].strip()
        kind = re.search(r"\b(n\. pl|n|v\. t|v\. i|a|adv|p\. p|prep|conj|interj)\.(?= |$|\n)", head.split("\\")[-1])
        text = re.sub(r"\s*\[1913 Webster\]", "", body[0] if body else "")
        text = re.sub(r"\s*\[[a-z]*\.? ?(?:PJC|\+[^]]*)\]|[{}]|\[[^a-z]{0,2}[a-z][)\"^.*]?\]", "", text)
        text = re.sub(r"(?m)^ {3}", "", text).strip()
        if len(text) > 20:
            title = f"{word}, {kind.group(0)}" if kind else word
            yield Document("GCIDE", f"dict-gcide {number} {word}", "GPL-2.0-or-later", f"{title}\n\n{text}\n")


def foldoc(root: Path) -> Iterator[Document]:
    for number, entry in enumerate(re.split(r"\n\n(?=\S)", _dictd(root, "foldoc"))):
        head, separator, body = entry.partition("\n\n")
        names = head.split("\n")
        if not separator or "00-database" in head or "GNU Free Documentation License" in head:
            continue
        text = re.sub(r"[{}]", "", body)
        text = re.sub(r"\n*\s*\((?:19|20)\d\d-\d\d-\d\d\)\s*$", "", re.sub(r"(?m)^ {3}", "", text)).strip()
        if len(text) > 20:
            yield Document("FOLDOC", f"dict-foldoc {number} {names[0]}", "GFDL-1.1-no-invariants-or-later", "\n".join(names) + f"\n\n{text}\n")
