"""Questions about one document: instruction, input and output in Alpaca's schema, in many phrasings.

Each function takes a document of its subset and a random generator, and gives rows whose answer is in the document. Answers are
short, so that a model of this size can learn their form if not their facts.
"""

import random
import re
from collections.abc import Callable, Iterator

from documents import Document

LONGEST_ANSWER = 140  # characters; about 45 tokens
Row = dict[str, str]

DEFINE = (
    "Define the word {0}.",
    "What does {0} mean?",
    "Give a short definition of {0}.",
    "Explain the meaning of {0}.",
    "What is the meaning of the word {0}?",
    "Tell me what {0} means.",
    "How would a dictionary define {0}?",
    "I came across the word {0}. What does it mean?",
)
PART = (
    "What part of speech is {0}?",
    "Is {0} a noun, a verb, an adjective or an adverb?",
    "Name the part of speech of the word {0}.",
    "Which kind of word is {0}?",
)
PART_OF_INPUT = (
    "Give the part of speech of this word.",
    "What part of speech is the following word?",
    "Classify the word as noun, verb, adjective or adverb.",
)
SYNONYMS = (
    "Give a synonym of {0}.",
    "What is another word for {0}?",
    "Find a word that means the same as {0}.",
    "Can you name a synonym for {0}?",
)
REVERSE = (
    "Which word has this definition?",
    "Find the word that is defined as follows.",
    "Name the word for this meaning.",
    "What do we call this?",
)
OLD = (
    "How does Webster's dictionary of 1913 explain {0}?",
    "What did {0} mean in 1913?",
    "Give the old definition of {0}.",
    "Look up {0} in an old dictionary.",
    "In the words of an old dictionary, what is {0}?",
)
COMPUTING = (
    "What is {0} in computing?",
    "Explain the computing term {0}.",
    "What do programmers mean by {0}?",
    "Describe {0} in one sentence.",
    "I read about {0} in a computing magazine. What is it?",
)
EXPAND = (
    "What does {0} stand for?",
    "Expand the acronym {0}.",
    "Spell out the abbreviation {0}.",
    "What is {0} short for?",
)
FIELD = (
    "To which field of computing does {0} belong?",
    "Which area of computing is {0} from?",
    "Name the subject area of the term {0}.",
)
COMMAND = (
    "What does {0} do?",
    "What is {0} for?",
    "Summarise the manual page of {0}.",
    "Describe {0} in a few words.",
    "I found {0} on my Linux system. What does it do?",
    "When would I use {0}?",
)
SECTION = (
    "In which section of the manual is {0}?",
    "Which manual section documents {0}?",
    "Where in the manual do I find {0}?",
)
WHICH_PAGE = (
    "Name the manual page that this line describes.",
    "Which manual page has this summary?",
    "Which command or function does this?",
)
SECTIONS = {
    "1": "section 1, user commands",
    "2": "section 2, system calls",
    "3": "section 3, library functions",
    "4": "section 4, devices",
    "5": "section 5, file formats",
    "7": "section 7, miscellany",
    "8": "section 8, administration",
}
VERSE = (
    "Quote {0}.",
    "What does {0} say?",
    "Recite {0} from the King James Bible.",
    "Read me {0}.",
    "Give the text of {0}.",
)
BOOK = (
    "Which book of the Bible is this verse from?",
    "Name the book that this verse stands in.",
    "From which book of the Bible does the following come?",
)
PYTHON = (
    "What does the Python function {0} do?",
    "Explain Python's {0}.",
    "Describe {0} in Python.",
    "How is {0} used in Python?",
    "What is {0} in the Python library?",
)
SOURCE = (
    "What kind of text is this?",
    "Where does this passage come from?",
    "Name the source of the following text.",
    "Classify this passage by its source.",
)
SOURCES = {
    "KJV Bible": "the King James Bible",
    "GCIDE": "an old dictionary",
    "FOLDOC": "a dictionary of computing",
    "man pages": "a manual page",
    "Python docs": "the Python documentation",
    "Linux docs": "the Linux kernel documentation",
}


def _sentence(text: str) -> str | None:
    """The first sentence on one line, with a capital and a full stop; None if it is too long or too short."""
    flat = re.sub(r"\s+", " ", text).strip()
    first = re.split(r"(?<=[a-z)\"'])[.;](?: |$)", flat)[0].strip().rstrip(".;:,")
    if not 8 <= len(first) <= LONGEST_ANSWER or re.search(r"[\[\]|=]|^\W*\d+\.", first):
        return None  # also for remnants of etymologies, tables and numbered senses
    return first[0].upper() + first[1:] + "."


def _row(generator: random.Random, phrasings: tuple[str, ...], subject: str, output: str, given: str = "") -> Row:
    return {"instruction": generator.choice(phrasings).format(subject), "input": given, "output": output}


def _wordnet(document: Document, generator: random.Random) -> Iterator[Row]:
    lemma, senses = document.text.split("\n\n", 1)
    kind, gloss = senses.split("\n", 1)[0].split(": ", 1)
    synonyms = re.search(r"Synonyms: ([^,\n]+)", senses)
    article = "an" if kind[0] == "a" else "a"
    if meaning := _sentence(gloss):
        yield _row(generator, DEFINE, lemma, meaning)
        yield _row(generator, REVERSE, "", f"The word is {lemma}.", given=meaning)
    yield _row(generator, PART, lemma, f"The word {lemma} is {article} {kind}.")
    yield _row(generator, PART_OF_INPUT, "", f"It is {article} {kind}.", given=lemma)
    if synonyms:
        yield _row(generator, SYNONYMS, lemma, f"Another word for {lemma} is {synonyms.group(1)}.")


def _gcide(document: Document, generator: random.Random) -> Iterator[Row]:
    title, body = document.text.split("\n\n", 1)
    if meaning := _sentence(re.sub(r"^1\. |\([A-Z][\w. &]*\)|\[[^]]*\]", "", body)):
        yield _row(generator, OLD, title.split(",")[0], meaning)


def _foldoc(document: Document, generator: random.Random) -> Iterator[Row]:
    head, body = document.text.split("\n\n", 1)
    names, field = head.split("\n"), re.match(r"<([a-z ]+)[,>]", body)
    if meaning := _sentence(re.sub(r"^<[^>]*> |\([^)]*\)|^1\. ", "", body)):
        yield _row(generator, COMPUTING, names[0], meaning)
    if field:
        yield _row(generator, FIELD, names[0], f"{names[0]} belongs to {field.group(1)}.")
    acronym = next((name for name in names if re.fullmatch(r"[A-Z]{2,6}", name)), None)
    spelt = next((name for name in names if acronym and re.sub("[^a-z]", "", "".join(w[0] for w in name.lower().split())) == acronym.lower()), None)
    if acronym and spelt:
        yield _row(generator, EXPAND, acronym, f"{acronym} stands for {spelt}.")


def _man(document: Document, generator: random.Random) -> Iterator[Row]:
    page = document.key.split(" ", 1)[1]
    name, _, section = page.partition(".")
    summary = re.search(r"NAME\n\s+[^\n]*? [-–] (.*?)\n\n", document.text, re.DOTALL)
    if summary and (meaning := _sentence(summary.group(1))):
        for _ in range(3):
            yield _row(generator, COMMAND, name, meaning)
        yield _row(generator, WHICH_PAGE, "", f"That is {name}.", given=meaning)
    if section[:1] in SECTIONS:
        yield _row(generator, SECTION, name, f"{name} is in {SECTIONS[section[:1]]}.")


def _bible(document: Document, generator: random.Random) -> Iterator[Row]:
    heading, verses = document.text.strip().split("\n\n", 1)
    for line in verses.split("\n"):
        number, verse = line.split(" ", 1)
        if len(verse) <= LONGEST_ANSWER:
            yield _row(generator, VERSE, f"{heading}:{number}", verse)
            yield _row(generator, BOOK, "", f"This is from {heading.rsplit(' ', 1)[0]}.", given=verse)


def _python(document: Document, generator: random.Random) -> Iterator[Row]:
    for name, body in re.findall(r"(?m)^ *(?:function|method|class|exception|attribute|data): ([\w.]+)[^\n]*\n\n((?: +\S[^\n]*\n)+)", document.text):
        if meaning := _sentence(body):
            yield _row(generator, PYTHON, name, meaning)


def _passage(document: Document, generator: random.Random) -> Iterator[Row]:
    paragraphs = [p for p in document.text.split("\n\n") if 60 <= len(p) <= 300]
    for paragraph in generator.sample(paragraphs, min(2, len(paragraphs))):
        answer = f"This is from {SOURCES[document.subset]}."
        yield _row(generator, SOURCE, "", answer, given=re.sub(r"\s+", " ", paragraph).strip())


ASKED: dict[str, Callable[[Document, random.Random], Iterator[Row]]] = {
    "WordNet": _wordnet,
    "GCIDE": _gcide,
    "FOLDOC": _foldoc,
    "man pages": _man,
    "KJV Bible": _bible,
    "Python docs": _python,
}


def rows(document: Document) -> Iterator[Row]:
    generator = random.Random(document.key)
    if document.subset in ASKED:
        yield from ASKED[document.subset](document, generator)
    if document.subset in SOURCES:
        yield from _passage(document, generator)
