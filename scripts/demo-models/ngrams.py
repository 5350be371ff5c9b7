"""Unigram and trigram baselines for the report, estimated on the tokens that a model was trained on.

Unigram: add-one. Trigram: interpolated Kneser–Ney with one discount of 0.75 (Chen & Goodman 1999, equations 24 and 25); the unigram
below it uses continuation counts, interpolated with the uniform distribution.
"""

import math
from collections import Counter
from collections.abc import Iterable

DISCOUNT = 0.75


class Unigram:
    def __init__(self, sequences: Iterable[list[int]], vocabulary: int) -> None:
        self.counts = Counter(token for sequence in sequences for token in sequence[1:])
        self.total = sum(self.counts.values()) + vocabulary

    def loss(self, sequence: list[int], position: int) -> float:
        """-ln p of the token at the position, which is at least 1."""
        return -math.log((self.counts[sequence[position]] + 1) / self.total)


class Trigram:
    def __init__(self, sequences: Iterable[list[int]], vocabulary: int) -> None:
        self.vocabulary = vocabulary
        triples: Counter = Counter()
        for sequence in sequences:
            triples.update(zip(sequence, sequence[1:], sequence[2:], strict=False))
            triples.update([(-1, *sequence[:2])])  # no token stands before BOS
        # Per order: the count of an n-gram, the count of its history, the number of distinct tokens that follow the history.
        self.levels = [self._level(triples)]
        for _ in range(2):
            # Below the top order an n-gram counts once for each distinct token before it.
            self.levels.append(self._level(Counter(gram[1:] for gram in self.levels[-1][0])))

    @staticmethod
    def _level(grams: Counter) -> tuple[Counter, Counter, Counter]:
        histories: Counter = Counter()
        for gram, count in grams.items():
            histories[gram[:-1]] += count
        return grams, histories, Counter(gram[:-1] for gram in grams)

    def loss(self, sequence: list[int], position: int) -> float:
        """-ln p of the token at the position, which is at least 1, given the two tokens before it."""
        before = sequence[position - 2] if position > 1 else -1
        gram = (before, sequence[position - 1], sequence[position])
        probability = 1 / self.vocabulary
        for order in (2, 1, 0):
            grams, histories, kinds = self.levels[order]
            part = gram[order:]
            if total := histories[part[:-1]]:
                left_over = DISCOUNT * kinds[part[:-1]] / total
                probability = max(grams[part] - DISCOUNT, 0) / total + left_over * probability
        return -math.log(probability)
