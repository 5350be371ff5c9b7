"""Held-out text and replies, and mean losses over them, the same for models and n-grams."""

from collections import defaultdict
from collections.abc import Callable
from statistics import mean

import texts
import tokenizer as own_tokenizer
from conversations import Conversation
from layout import BEGIN, CONTEXT

Loss = Callable[[int, int], float]  # (number, position): of that token of that sequence


def held_out_contexts() -> tuple[list[list[int]], list[list[str]]]:
    """The committed held-out text, joined and cut as for training (with a last short context), and each token's subset."""
    tokenizer = own_tokenizer.load()
    begin = tokenizer.token_to_id(BEGIN)
    stream: list[tuple[int, str]] = []
    for document in texts.read_sample("heldout.jsonl.zst"):
        tokens = tokenizer.encode(document.text).ids
        stream += [(begin, document.subset)] * bool(stream) + [(token, document.subset) for token in tokens]
    contexts, subsets = [], []
    for start in range(0, len(stream), CONTEXT - 1):
        piece = stream[start : start + CONTEXT - 1]
        contexts.append([begin, *(token for token, _ in piece)])
        subsets.append([piece[0][1], *(subset for _, subset in piece)])
    return contexts, subsets


def text_losses(contexts: list[list[int]], subsets: list[list[str]], loss: Loss) -> dict[str, float]:
    """Mean over all predicted tokens, and over those of each subset."""
    found: dict[str, list[float]] = defaultdict(list)
    for number, context in enumerate(contexts):
        for position in range(1, len(context)):
            value = loss(number, position)
            found["all"].append(value)
            found[subsets[number][position]].append(value)
    return {name: round(mean(found[name]), 4) for name in ["all", *texts.BUDGET]}


def reply_loss(conversations: list[Conversation], loss: Loss) -> float:
    """Mean over the tokens of the answers and the <|im_end|> after them, without the newline after that."""
    values = [
        loss(number, position)
        for number, c in enumerate(conversations)
        for position in range(len(c.prompt), len(c.prompt) + len(c.reply) - 1)
    ]
    return round(mean(values), 4)
