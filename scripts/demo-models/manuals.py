"""Manual pages as groff prints them, and the sources of the Python and Linux documentation without markup."""

import gzip
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from documents import Document

LONGEST = 16_000  # characters kept of one manual or chapter, so that no long one dominates a subset
GROFF = ["groff", "-man", "-t", "-Tutf8", "-P-cbou", "-rLL=76n", "-rLT=76n", "-rHY=0"]
LICENCE = re.compile(r"SPDX-License-Identifier:\s*(.+?)\s*(?:\*/)?\s*$", re.MULTILINE)
PLAIN_GPL = re.compile(r"\(?GPL-2\.0(?:\+|-only|-or-later)?(?: (?:OR|WITH) .*)?\)?")


def _page(file: Path, package: str, licence: str) -> Document | None:
    source = gzip.decompress(file.read_bytes())
    if source.startswith(b".so "):
        return None  # another name of a page that is included already
    found = LICENCE.search(source.decode(errors="replace"))
    printed = subprocess.run(GROFF, input=source, capture_output=True, check=True).stdout.decode(errors="replace")
    lines = [line.rstrip() for line in printed.splitlines()][1:-1]  # without header and footer
    lines = [re.sub(r"(?<=\S) {2,3}(?=\S)", " ", line) for line in lines]  # undoes justification
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines).replace("\u2010", "-").replace("\u2212", "-")).strip()
    name = file.name.removesuffix(".gz")
    return Document("man pages", f"{package} {name}", found.group(1) if found else licence, _cut(text))


def man_pages(root: Path, package: str, licence: str) -> Iterator[Document]:
    files = sorted((root / "usr/share/man").glob("man*/*.gz"))
    with ThreadPoolExecutor(2) as pool:
        yield from (page for page in pool.map(lambda file: _page(file, package, licence), files) if page)


def _cut(text: str) -> str:
    """At most LONGEST characters, whole paragraphs."""
    if len(text) <= LONGEST:
        return text + "\n"
    return text[: text.rfind("\n\n", 0, LONGEST)] + "\n"


def plain(source: str) -> str:
    """reStructuredText without comments, directives without content, options, roles and marks of emphasis."""
    text = re.sub(r"(?m)^ *\.\. (?:SPDX|_|index::|module::|include::|moduleauthor|sectionauthor|highlight|currentmodule|tabularcolumns|testsetup|kernel-doc|toctree).*(?:\n(?: {3,}\S.*|$))*", "", source)
    text = re.sub(r"(?m)^\s*:[a-zA-Z_-]+:.*\n", "", text)
    text = re.sub(r":[a-z:+]+:`[~!]?([^`<]*?)(?: <[^>]*>)?`", r"\1", text)
    text = re.sub(r"``([^`]*)``", r"\1", text)
    text = re.sub(r"`([^`<]*?)(?: <[^>]*>)?`_*", r"\1", text)
    text = re.sub(r"\*\*([^*\n]+)\*\*", r"\1", text)
    text = re.sub(r"(?m)^( *)\.\. ([a-z]+)::", r"\1\2:", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def python_documentation(root: Path) -> Iterator[Document]:
    sources = root / "usr/share/doc/python3.11/html/_sources"
    for file in sorted(sources.rglob("*.rst.txt")):
        name = str(file.relative_to(sources)).removesuffix(".rst.txt")
        if name.startswith(("whatsnew/", "license", "copyright")):
            continue
        text, part = plain(file.read_text(errors="replace")), 0
        while len(text) > 300:
            piece = _cut(text)
            yield Document("Python docs", f"python3.11-doc {name} {part}", "PSF-2.0", piece)
            text, part = text[len(piece) :].strip(), part + 1


def linux_documentation(root: Path) -> Iterator[Document]:
    sources = root / "usr/share/doc/linux-doc-6.1/Documentation"
    for file in sorted(sources.rglob("*.rst.gz")):
        name = str(file.relative_to(sources)).removesuffix(".rst.gz")
        source = gzip.decompress(file.read_bytes()).decode(errors="replace")
        found = LICENCE.search(source)
        licence = found.group(1) if found else "GPL-2.0-only"
        if name.startswith("translations/") or not PLAIN_GPL.fullmatch(licence):
            continue
        text = _cut(plain(source))
        if len(text) > 300:
            yield Document("Linux docs", f"linux-doc-6.1 {name}", licence, text)
