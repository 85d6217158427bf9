"""Sentences of a few words that need long memory, or the context to the right; made by the thousand, as numbers.

Two tasks of CS224N (2019), lecture 7, as generators:

    agreement   "the writer of the books ..."  is or are?       the answer is the number of the first noun
    sentiment   "the plot is terribly ..."     good or bad?     the answer is in a word further to the right

``T`` steps (words), ``N`` sentences.  Sentences of one call have equal length, so no padding is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import ArgumentError
from ...typing import Array

__all__ = ["AGREEMENT_WORDS", "SENTIMENT_WORDS", "Agreement", "Sentiment", "agreement", "sentence", "sentiment"]

NOUNS = ("writer", "book", "key", "ticket", "door", "report", "painter", "house")
PREPOSITIONS = ("of", "near", "behind", "with")
AGREEMENT_WORDS = ("the", *PREPOSITIONS, *NOUNS, *[noun + "s" for noun in NOUNS])
"""The words of :func:`agreement`; a word's number is its place.  The plural of a noun is ``len(NOUNS)`` further."""

MODIFIERS = ("terribly", "awfully", "insanely", "wickedly")
ADJECTIVES = ("boring", "bad", "dull", "weak", "exciting", "good", "witty", "strong")
FILLERS = ("the", "plot", "is", "and", "cast", "was")
SENTIMENT_WORDS = (*FILLERS, *MODIFIERS, *ADJECTIVES)
"""The words of :func:`sentiment`.  The first half of the adjectives is negative, the second positive."""


class Agreement(NamedTuple):
    """Beginnings of sentences, and which form of the verb goes on.

    Attributes:
        words: numbers of words (T, N), T = 2 + 3 * attractors.
        plural: whether the first noun, the subject, is plural, and the verb so "are" (N): 0 or 1.
        last: whether the last noun is (N); without attractors this is the subject.
    """

    words: Array
    plural: Array
    last: Array


def agreement(rng: np.random.Generator, count: int, attractors: int, same: float = 0.5) -> Agreement:
    """Beginnings of sentences whose verb must agree with a noun that stands far back.

    "the writer of the books near the doors ..." goes on with "is": the verb has the number of its subject, the first
    noun.  The nouns between are *attractors*.  They are of the subject's number with probability ``same``; with 0.5
    nothing but the subject tells the answer, with more (as in real text) the last noun is a good guess, and a wrong
    rule.  The distance from the subject to the end is 3 * attractors words.

    Args:
        rng: draws everything.
        count: N.
        attractors: how many phrases such as "of the books".
        same: probability that an attractor has the number of the subject.

    Raises:
        ArgumentError: numbers below 1 (of attractors: below 0), or a probability outside [0, 1].

    Source: CS224N (2019), lecture 7; T. Linzen, E. Dupoux and Y. Goldberg, "Assessing the ability of LSTMs to learn
    syntax-sensitive dependencies" (2016).

    >>> found = agreement(np.random.default_rng(9), 2, attractors=2)
    >>> for words, plural in zip(found.words.T, found.plural):
    ...     print(sentence(words, AGREEMENT_WORDS), "... are" if plural else "... is")
    the house of the house with the reports ... is
    the houses of the painter near the house ... are
    """
    if count < 1 or attractors < 0:
        raise ArgumentError(f"agreement(): count must be at least 1, attractors 0, got {count} and {attractors}")
    if not 0 <= same <= 1:
        raise ArgumentError(f"agreement(): same must be a probability, got {same}")
    plural = rng.integers(0, 2, count)
    differs = rng.random((attractors, count)) >= same
    number = np.concatenate([plural[None], plural ^ differs])  # of each noun (1 + attractors, N)
    noun = rng.integers(0, len(NOUNS), number.shape)
    preposition = rng.integers(0, len(PREPOSITIONS), (attractors, count))
    words = np.zeros((2 + 3 * attractors, count), np.int64)  # 0 is "the"
    words[1::3] = 1 + len(PREPOSITIONS) + noun + len(NOUNS) * number
    words[2::3] = 1 + preposition
    return Agreement(words, plural, number[-1])


class Sentiment(NamedTuple):
    """Sentences with the sentiment of each word.

    Attributes:
        words: numbers of words (T, N).
        labels: of each word (T, N): 0 negative, 1 neither, 2 positive.
        modifiers: which words are modifiers (T, N), whose sentiment is that of the next adjective: True or False.
    """

    words: Array
    labels: Array
    modifiers: Array


def sentiment(rng: np.random.Generator, count: int, length: int, longest: int = 2) -> Sentiment:
    """Sentences in which the sentiment of a word is decided further to the right.

    "terribly" alone is neither good nor bad: in "terribly exciting" it is praise, in "terribly boring" it is not.  A
    sentence is a row of groups, each of one filler ("the", "is", ...), then 1 to ``longest`` modifiers, then an
    adjective; what of the last group is beyond ``length`` is replaced by fillers.  So every modifier is followed by its
    adjective, 1 to ``longest`` words later, and the words up to it say nothing about that adjective.

    Args:
        rng: draws everything.
        count: N.
        length: T, at least 3.
        longest: the most modifiers in a row.

    Raises:
        ArgumentError: a count or ``longest`` below 1, or a length below 3.

    Source: CS224N (2019), lecture 7 ("the movie was terribly exciting!").

    >>> found = sentiment(np.random.default_rng(1), 1, 8)
    >>> sentence(found.words[:, 0], SENTIMENT_WORDS)
    'was awfully boring cast awfully insanely witty was'
    >>> found.labels[:, 0].tolist(), found.modifiers[:, 0].astype(int).tolist()
    ([1, 0, 0, 1, 2, 2, 2, 1], [0, 1, 0, 0, 1, 1, 0, 0])
    """
    if count < 1 or longest < 1 or length < 3:
        raise ArgumentError(
            f"sentiment(): count and longest must be at least 1, length 3, got {count}, {longest} and {length}"
        )
    groups = -(-length // 3)  # of three words at least
    sizes = rng.integers(1, longest + 1, (groups, count))
    filler = rng.integers(0, len(FILLERS), (length, count))
    modifier = rng.integers(0, len(MODIFIERS), (length, count))
    adjective = rng.integers(0, len(ADJECTIVES), (groups, count))
    ends = np.cumsum(sizes + 2, 0)  # the places after the adjectives (groups, N)
    group = (np.arange(length)[:, None, None] >= ends[None]).sum(1)  # of each word (T, N)
    rows = np.arange(count)
    end = ends[group, rows]
    whole = end <= length  # else its adjective is cut off
    left = end - 1 - np.arange(length)[:, None]  # words up to the adjective of the group
    own = adjective[group, rows]
    is_adjective = whole & (left == 0)
    modifiers = whole & (left > 0) & (left <= sizes[group, rows])
    words = np.where(modifiers, len(FILLERS) + modifier, filler)
    words = np.where(is_adjective, len(FILLERS) + len(MODIFIERS) + own, words)
    labels = np.where(modifiers | is_adjective, 2 * (own >= len(ADJECTIVES) // 2), 1)
    return Sentiment(words, labels, modifiers)


def sentence(words: Sequence[int] | Array, vocabulary: Sequence[str]) -> str:
    """The text of a row of numbers of words.

    >>> sentence([0, 13, 1, 0, 6], AGREEMENT_WORDS)
    'the writers of the book'
    """
    return " ".join(vocabulary[int(word)] for word in words)
