"""The text: nothing lost, nothing invented, and a clear line for every file that is no text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.errors import UsageError
from tinygrad_rnn.train.text import Alphabet, Corpus, default_text, read_text, streams


def test_the_default_text_is_the_language_reference_sorted_and_joined() -> None:
    from pydoc_data.topics import topics

    text = default_text()
    assert text == "\n".join(topics[key] for key in sorted(topics))
    assert 400_000 < len(text) < 700_000  # it grows with every Python


@given(st.text(min_size=1))
def test_decoding_inverts_encoding(text: str) -> None:
    alphabet = Alphabet(text)
    assert alphabet.decode(alphabet.encode(text)) == text
    assert alphabet.missing(text) == ""


def test_missing_characters_are_named_once() -> None:
    assert Alphabet("abc").missing("cabby, xy") == " ,xy"


@given(st.text(min_size=20))
def test_training_and_validation_are_the_text_in_order(text: str) -> None:
    corpus = Corpus.of(text)
    assert corpus.alphabet.decode(np.concatenate([corpus.train, corpus.validation])) == text
    assert len(corpus.train) == len(text) * 9 // 10


@given(st.integers(2, 200), st.integers(1, 20))
def test_streams_are_consecutive_pieces_and_targets_are_one_later(length: int, count: int) -> None:
    indices = np.arange(length)
    inputs, targets = streams(indices, count)
    steps = (length - 1) // count
    assert inputs.shape == targets.shape == (steps, count)
    assert (inputs.T.reshape(-1) == np.arange(steps * count)).all()
    assert (targets == inputs + 1).all()
    assert length - 1 - steps * count < count  # no more is left out than does not make one more step


@given(st.integers(1, 12), st.integers(1, 12))
def test_the_shortest_allowed_text_gives_every_stream_one_chunk(batch: int, bptt: int) -> None:
    def parts(length: int) -> Corpus:
        return Corpus.of("x" * length)

    length = 1
    while True:
        corpus = parts(length)
        if len(corpus.train) and len(corpus.validation) >= 2 and (len(corpus.train) - 1) // batch >= bptt:
            break
        length += 1
    corpus.require(batch, bptt, "text")
    with pytest.raises(UsageError, match=f"text has {length - 1:,} characters, too few .*: {length:,} are needed"):
        parts(length - 1).require(batch, bptt, "text")


def test_a_byte_order_mark_is_no_character(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfabc")
    assert read_text(str(tmp_path / "t")) == "abc"


def test_undecodable_bytes_are_located(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(UsageError, match="not UTF-8: byte 0xe9 at position 3"):
        read_text(str(tmp_path / "t"))
