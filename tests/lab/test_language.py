"""Sentences: what is made for all at once is what is made word by word, and says what it is meant to say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.lab.tasks import language as tasks


def agreement_word_by_word(
    rng: np.random.Generator, count: int, attractors: int, same: float
) -> tuple[list[list[str]], list[int], list[int]]:
    """The same draws in the same order, put together one sentence and one word at a time."""
    subject = rng.integers(0, 2, count)
    chance = rng.random((attractors, count))
    noun = rng.integers(0, len(tasks.NOUNS), (1 + attractors, count))
    preposition = rng.integers(0, len(tasks.PREPOSITIONS), (attractors, count))
    sentences, plurals, lasts = [], [], []
    for n in range(count):
        plural = int(subject[n])
        last = plural
        words = ["the", tasks.NOUNS[noun[0, n]] + "s" * plural]
        for k in range(attractors):
            last = plural if chance[k, n] < same else 1 - plural
            words += [tasks.PREPOSITIONS[preposition[k, n]], "the", tasks.NOUNS[noun[k + 1, n]] + "s" * last]
        sentences.append(words)
        plurals.append(plural)
        lasts.append(last)
    return sentences, plurals, lasts


@pytest.mark.parametrize("attractors", [0, 1, 4])
@pytest.mark.parametrize("same", [0.0, 0.5, 0.8, 1.0])
def test_agreement_is_what_is_written_word_by_word(attractors: int, same: float) -> None:
    for seed in range(5):
        found = tasks.agreement(np.random.default_rng(seed), 40, attractors, same)
        text, plural, last = agreement_word_by_word(np.random.default_rng(seed), 40, attractors, same)
        assert found.words.shape == (2 + 3 * attractors, 40) and found.words.dtype == np.int64
        assert [tasks.sentence(w, tasks.AGREEMENT_WORDS) for w in found.words.T] == [" ".join(w) for w in text]
        assert found.plural.tolist() == plural and found.last.tolist() == last


def test_attractors_have_the_number_of_the_subject_as_often_as_asked() -> None:
    for same in (0.0, 0.3, 0.5, 1.0):
        found = tasks.agreement(np.random.default_rng(0), 20_000, 3, same)
        np.testing.assert_allclose(np.mean(found.last == found.plural), same, atol=5 * 0.5 / np.sqrt(20_000))
        np.testing.assert_allclose(found.plural.mean(), 0.5, atol=5 * 0.5 / np.sqrt(20_000))
        numbers = (found.words[1::3] - 1 - len(tasks.PREPOSITIONS)) // len(tasks.NOUNS)
        np.testing.assert_array_equal(numbers[0], found.plural)
        np.testing.assert_array_equal(numbers[-1], found.last)


def sentiment_word_by_word(
    rng: np.random.Generator, count: int, length: int, longest: int
) -> tuple[list[list[str]], list[list[int]], list[list[bool]]]:
    """The same draws in the same order; groups are added until there are enough words, and the last is cut off."""
    groups = (length + 2) // 3
    sizes = rng.integers(1, longest + 1, (groups, count))
    filler = rng.integers(0, len(tasks.FILLERS), (length, count))
    modifier = rng.integers(0, len(tasks.MODIFIERS), (length, count))
    adjective = rng.integers(0, len(tasks.ADJECTIVES), (groups, count))
    sentences, labels, marks = [], [], []
    for n in range(count):
        words: list[str] = []
        label: list[int] = []
        mark: list[bool] = []
        for g in range(groups):
            if len(words) + sizes[g, n] + 2 > length:
                break
            word = tasks.ADJECTIVES[adjective[g, n]]
            polarity = 2 if word in ("exciting", "good", "witty", "strong") else 0
            words.append(tasks.FILLERS[filler[len(words), n]])
            label.append(1)
            mark.append(False)
            for _ in range(sizes[g, n]):
                words.append(tasks.MODIFIERS[modifier[len(words), n]])
                label.append(polarity)
                mark.append(True)
            words.append(word)
            label.append(polarity)
            mark.append(False)
        while len(words) < length:
            words.append(tasks.FILLERS[filler[len(words), n]])
            label.append(1)
            mark.append(False)
        sentences.append(words)
        labels.append(label)
        marks.append(mark)
    return sentences, labels, marks


@pytest.mark.parametrize("length", [3, 4, 5, 8, 13])
@pytest.mark.parametrize("longest", [1, 2, 5])
def test_sentiment_is_what_is_written_word_by_word(length: int, longest: int) -> None:
    for seed in range(5):
        found = tasks.sentiment(np.random.default_rng(seed), 40, length, longest)
        text, labels, marks = sentiment_word_by_word(np.random.default_rng(seed), 40, length, longest)
        assert [tasks.sentence(w, tasks.SENTIMENT_WORDS) for w in found.words.T] == [" ".join(w) for w in text]
        np.testing.assert_array_equal(found.labels.T, labels)
        np.testing.assert_array_equal(found.modifiers.T, marks)


def test_what_stands_before_an_adjective_does_not_tell_it() -> None:
    found = tasks.sentiment(np.random.default_rng(0), 20_000, 6, 1)
    first = found.modifiers[1]
    assert first.all()
    for word in range(len(tasks.FILLERS), len(tasks.FILLERS) + len(tasks.MODIFIERS)):
        good = found.labels[1][found.words[1] == word] == 2
        assert len(good) > 4000
        np.testing.assert_allclose(good.mean(), 0.5, atol=5 * 0.5 / np.sqrt(len(good)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda rng: tasks.agreement(rng, 0, 1),
        lambda rng: tasks.agreement(rng, 1, -1),
        lambda rng: tasks.agreement(rng, 1, 1, same=1.5),
        lambda rng: tasks.sentiment(rng, 0, 5),
        lambda rng: tasks.sentiment(rng, 1, 2),
        lambda rng: tasks.sentiment(rng, 1, 5, longest=0),
    ],
)
def test_impossible_sentences_are_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="must be"):
        wrong(np.random.default_rng(0))
