"""The text: nothing lost, nothing invented, and a clear line for every file that is no text."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.errors import UsageError
from tinygrad_rnn.train.cli import main
from tinygrad_rnn.train.config import Config
from tinygrad_rnn.train.text import Alphabet, Corpus, default_text, read_text, streams
from tinygrad_rnn.train.trainer import Trainer


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
    with pytest.raises(UsageError, match="not UTF-8: byte 0xe9 at position 3; which encoding is it\\? Give --encoding"):
        read_text(str(tmp_path / "t"))
    assert read_text(str(tmp_path / "t"), "latin-1") == "café au lait"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("order", ["little", "big"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str, order: str) -> None:
    text = "ein Text, नमस्ते 😀\r\n"
    path = tmp_path / "t"
    if encoding == "utf-8-sig":
        path.write_bytes(text.encode(encoding))
    else:
        path.write_bytes(("\ufeff" + text).encode(f"{encoding}-{'le' if order == 'little' else 'be'}"))
    assert read_text(str(path)) == text
    assert read_text(str(path), encoding) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_without_one_it_must_be_said(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "t").write_bytes("plain words".encode(encoding))
    with pytest.raises(UsageError, match="has zero bytes, as UTF-16 has. Which encoding is it\\? Give --encoding NAME"):
        read_text(str(tmp_path / "t"))
    assert read_text(str(tmp_path / "t"), encoding) == "plain words"


@pytest.mark.parametrize("encoding", ["gb18030", "koi8-r", "shift_jis", "cp1252"])
def test_an_encoding_can_be_said_and_none_is_guessed(tmp_path: Path, encoding: str) -> None:
    text = {"gb18030": "天地玄黄", "koi8-r": "привет", "shift_jis": "いろは", "cp1252": "“déjà”"}[encoding] * 9
    (tmp_path / "t").write_bytes(text.encode(encoding))
    with pytest.raises(UsageError, match="not UTF-8: .* which encoding is it"):
        read_text(str(tmp_path / "t"))
    assert read_text(str(tmp_path / "t"), encoding) == text
    with pytest.raises(UsageError, match="is not ascii: byte 0x.. at position 0; which encoding is it"):
        read_text(str(tmp_path / "t"), "ascii")


@pytest.mark.parametrize("encoding", ["klingon", "hex", "rot13", "", "a\0b", "undefined"])
def test_an_encoding_that_is_none(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "t").write_bytes(b"words")
    with pytest.raises(UsageError, match="--encoding"):
        read_text(str(tmp_path / "t"), encoding)


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        (gzip.compress, "is compressed by gzip, not a text: gunzip -k makes one of it"),
        (bz2.compress, "is compressed by bzip2, not a text: bunzip2 -k"),
        (lzma.compress, "is compressed by xz, not a text: unxz -k"),
        (lambda text: b"PK\3\4" + text, "is a zip archive"),
        (lambda text: b"%PDF-1.4" + text, "is a PDF, not a text"),
    ],
)
def test_a_file_that_is_packed_is_called_so(tmp_path: Path, pack: Callable[[bytes], bytes], said: str) -> None:
    (tmp_path / "t").write_bytes(pack(b"words, words, words"))
    with pytest.raises(UsageError, match=said):
        read_text(str(tmp_path / "t"))


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and devices")
@pytest.mark.parametrize("kind", ["pipe", "device", "link to a device", "socket"])
def test_only_a_regular_file_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "t"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="is not a regular file|cannot read the text"):
        read_text("/dev/zero" if kind == "device" else str(path))


def test_several_texts_are_learned_in_order_and_measured_on_all(tmp_path: Path) -> None:
    corpus = Corpus.of("a" * 100, "b" * 10)
    assert corpus.alphabet.decode(corpus.train) == "a" * 90 + "b" * 9
    assert corpus.alphabet.decode(corpus.validation) == "a" * 10 + "b"
    digests = {Corpus.of(*texts).digest for texts in (["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"])}
    assert len(digests) == 4  # another cut is another text


def test_a_run_on_several_texts_goes_on_and_knows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").write_text("all cats " * 200)
    Path("b").write_bytes("größe 5 ".encode("latin-1") * 200)
    Path("b8").write_text("größe 5 " * 200)
    options = ["--text", "a", "--text", "b", "--encoding", "latin-1", *small]
    assert main(["train", "--out", "whole", *options]) == 0
    assert main(["train", "--out", "run", *options, "--updates", "12"]) == 0
    assert main(["train", "--resume", "run", "--updates", "30", "--quiet"]) == 0
    assert Path("run/checkpoint.safetensors").read_bytes() == Path("whole/checkpoint.safetensors").read_bytes()
    assert json.loads(Path("run/config.json").read_text())["text"] == [os.path.abspath("a"), os.path.abspath("b")]
    assert main(["sample", "run", "--prompt", "größe 5 all cats"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "run", "--text", "b", "--text", "a"]) == 2
    assert "trained on another text than" in capsys.readouterr().err
    assert main(["train", "--resume", "run", "--text", "a", "--updates", "31"]) == 2
    os.rename("b", "c")  # its place may change
    assert main(["train", "--resume", "run", "--updates", "31"]) == 2
    assert "cannot read the text" in capsys.readouterr().err
    assert main(["train", "--resume", "run", "--text", "a", "--text", "c", "--updates", "31", "--quiet"]) == 0


def test_an_encoding_without_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--encoding", "latin-1"]) == 2
    assert "--encoding is that of a --text, which was not given" in capsys.readouterr().err


@pytest.mark.parametrize("letters", ["abcdefgh \n", "абвгде ж", "天地玄黄宇宙洪荒", "ab😀"])
def test_a_text_takes_few_bytes_for_a_character(tmp_path: Path, letters: str) -> None:
    """What Python holds in between: the file, its characters (1, 2 or 4 bytes), its indices, and these laid out."""
    count = 2_000_000
    (tmp_path / "t").write_text(letters * (count // len(letters)), encoding="utf-8")
    wide = max(1, 2 * (max(letters) > "\xff"), 4 * (max(letters) > "\uffff"))
    tracemalloc.start()
    try:
        corpus = Corpus.of(read_text(str(tmp_path / "t")))
        _, reading = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        trainer = Trainer(Config(hidden=4, embedding=2, batch=4, bptt=8), corpus)
        _, training = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    constant = 12 * 2**20  # of the pieces of a million characters that are encoded one by one
    assert reading <= (max(wide, len(letters.encode()) / len(letters)) + wide + 1) * count + constant
    assert held <= count + 2**18 and training <= 2.1 * count + 2**20
    assert trainer.inputs.dtype == np.uint8
    kept = trainer.inputs.numpy()
    assert corpus.alphabet.decode(kept[:8, 0]) == (letters * 8)[:8] and np.shares_memory(kept, trainer.targets.numpy())


@pytest.mark.parametrize("size", [1, 2, 256, 257, 65_536, 65_537])
def test_alphabets_of_every_size_have_indices_that_fit(size: int) -> None:
    text = "".join(map(chr, [code for code in range(size + 2048) if not 0xD800 <= code < 0xE000][:size]))
    alphabet = Alphabet(text)
    indices = alphabet.encode(text)
    assert len(alphabet) == size and (indices == np.arange(size)).all()
    assert indices.itemsize == (1 if size <= 256 else 2 if size <= 65_536 else 4)
