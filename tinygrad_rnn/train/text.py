"""The text of a run: its source, its alphabet, its division into parts and streams.

Legend: ``L`` characters in a stream, ``N`` streams side by side.

    text      = training part (first 90 %) + validation part (last 10 %)
    a part    = N consecutive streams of L characters; a remainder shorter than N is not used
    inputs    (L, N)   character t of stream n
    targets   (L, N)   the character after it
"""

from __future__ import annotations

import codecs
import errno
import functools
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError

__all__ = ["Alphabet", "Corpus", "Indices", "default_text", "laid_out", "read_text", "streams"]

Indices = npt.NDArray[Any]
"""Of the smallest unsigned type for the alphabet: usually one byte per character."""

PIECE = 1 << 20  # characters encoded at a time: bounds the memory of intermediate arrays


class Alphabet:
    """The characters that occur in a text, in the order of their code points, and their indices in it.

    >>> letters = Alphabet("abracadabra")
    >>> letters.characters
    'abcdr'
    >>> letters.encode("cab").tolist(), letters.decode([2, 0, 1])
    ([2, 0, 1], 'cab')
    """

    def __init__(self, characters: str) -> None:
        self.characters = "".join(sorted(set(characters)))

    @functools.cached_property
    def _table(self) -> Indices:
        # All characters of an alphabet are in one piece; an empty one has none.
        codes = next(_code_points(self.characters), np.zeros(0, np.uint32))
        table: Indices = np.zeros(int(codes.max(initial=0)) + 1, np.min_scalar_type(max(len(codes) - 1, 0)))
        table[codes] = np.arange(len(codes))
        return table

    def __len__(self) -> int:
        return len(self.characters)

    def missing(self, text: str) -> str:
        """The characters of ``text`` that are not in the alphabet, each once."""
        return "".join(sorted(set(text) - set(self.characters)))

    def encode(self, text: str) -> Indices:
        """The index of every character; all must be in the alphabet."""
        encoded = np.empty(len(text), self._table.dtype)
        for begin, codes in zip(range(0, len(text), PIECE), _code_points(text), strict=True):
            encoded[begin : begin + PIECE] = self._table[codes]
        return encoded

    def decode(self, indices: Any) -> str:
        """The characters at ``indices``."""
        return "".join(self.characters[index] for index in indices)


@dataclass(frozen=True)
class Corpus:
    """Encoded texts: alphabet, training and validation part as indices, and a digest that identifies the texts."""

    alphabet: Alphabet
    train: Indices
    validation: Indices
    digest: str

    @classmethod
    def of(cls, *texts: str) -> Corpus:
        """Each of ``texts`` cut at 90 %: the first parts, joined in order, are for training, the others for validation.

        >>> corpus = Corpus.of("a" * 10, "b" * 20)
        >>> corpus.alphabet.decode(corpus.train), corpus.alphabet.decode(corpus.validation)
        ('aaaaaaaaabbbbbbbbbbbbbbbbbb', 'abb')
        """
        # From the sets of characters: joining the texts would copy them.
        alphabet = Alphabet("".join({character for text in texts for character in set(text)}))
        encoded = [alphabet.encode(text) for text in texts]
        cuts = [len(indices) * 9 // 10 for indices in encoded]
        train = [indices[:cut] for indices, cut in zip(encoded, cuts, strict=True)]
        validation = [indices[cut:] for indices, cut in zip(encoded, cuts, strict=True)]
        digests = [_digest(text) for text in texts]
        several = hashlib.sha256("".join(digests).encode()).hexdigest()
        return cls(alphabet, _joined(train), _joined(validation), digests[0] if len(texts) == 1 else several)

    def require(self, batch: int, bptt: int, name: str) -> None:
        """Check that every one of ``batch`` streams has ``bptt`` characters and one more to predict.

        Raises:
            UsageError: the text, called ``name``, is too short.
        """
        length = len(self.train) + len(self.validation)
        needed = max(-(-(batch * bptt + 1) * 10 // 9), 11)  # 11: two characters to validate on
        if length < needed:
            raise UsageError(
                f"{name} has {length:,} characters, too few for --batch {batch} and --bptt {bptt}: "
                f"{needed:,} are needed. Use a longer text or smaller values"
            )


def default_text() -> str:
    """The Python language reference that CPython includes for ``help()``: real text, without a download.

    Raises:
        UsageError: this Python was built without it.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise UsageError("this Python carries no language reference (pydoc_data.topics); give --text FILE") from error
    return "\n".join(topics[name] for name in sorted(topics))


KINDS = {
    b"\x1f\x8b": ("compressed by gzip", "gunzip -k"),
    **{b"BZh%d1AY&SY" % level: ("compressed by bzip2", "bunzip2 -k") for level in range(1, 10)},
    b"\xfd7zXZ\x00": ("compressed by xz", "unxz -k"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unzstd"),
    b"PK\x03\x04": ("a zip archive (or a document of an office program)", "unzip"),
    b"%PDF-": ("a PDF", "pdftotext"),
}
"""First bytes of files that are not text: what such a file is, and the program that converts it."""

MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: str | None, encoding: str | None = None) -> str:
    """The text of a file, or the default text for None.

    Args:
        path: a regular file, because a resumed run reads it again.
        encoding: its encoding; None: that of its byte order mark, or UTF-8.

    Raises:
        UsageError: there is no such file, it cannot be read, is empty, is no text, or in another encoding.
    """
    if path is None:
        return default_text()
    content = _content(path)
    if encoding is None:
        # Where an encoding was named, the user has said that these bytes are text.
        for start, (kind, remedy) in KINDS.items():
            if content.startswith(start):
                raise UsageError(f"the text {path} is {kind}, not a text: {remedy} makes one of it")
        encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
        if encoding is None and b"\0" in content[:1000]:  # valid UTF-8, but no text has them
            raise UsageError(f"the text {path} has zero bytes, as UTF-16 has. {WHICH}, such as utf-16-le")
    text = _decoded(content, "utf-8" if encoding is None else encoding, path)
    text = text.removeprefix("\ufeff")  # the byte order mark, which is not part of the text
    if not text:
        raise UsageError(f"the text {path} is empty")
    return text


WHICH = "Which encoding is it? Give --encoding NAME"


def _content(path: str) -> bytes:
    try:
        # Do not block on a pipe without a writer, and do not read from a device, which may never end.
        with open(path, "rb", opener=lambda path, flags: os.open(path, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            if stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"the text {path} is not a regular file: a run reads it again when it is resumed")
            return file.read()
    except MemoryError:
        raise UsageError(f"the text {path} has {os.path.getsize(path):,} bytes, too many for the memory") from None
    except (OSError, ValueError) as error:
        # UsageError is itself a ValueError, and its message is complete.
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"cannot read the text {path}: {getattr(error, 'strerror', None) or error}") from error


def _decoded(content: bytes, encoding: str, path: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.upper() if encoding.startswith("utf") else encoding
        where = f"byte {error.object[error.start]:#04x} at position {error.start}"
        which = f"{WHICH[0].lower()}{WHICH[1:]}"
        raise UsageError(f"the text {path} is not {name}: {where}; {which}, such as latin-1 or gb18030") from error
    except (LookupError, ValueError) as error:  # UnicodeError too, from codecs that check more
        raise UsageError(f"--encoding {encoding}: {error}") from error


def _code_points(text: str) -> Iterator[npt.NDArray[np.uint32]]:
    for begin in range(0, len(text), PIECE):
        yield np.frombuffer(text[begin : begin + PIECE].encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def _digest(text: str) -> str:
    digest = hashlib.sha256()
    for begin in range(0, len(text), PIECE):
        digest.update(text[begin : begin + PIECE].encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _joined(parts: list[Indices]) -> Indices:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def streams(indices: Indices, count: int) -> tuple[Indices, Indices]:
    """Inputs and targets of ``count`` consecutive streams side by side: two arrays (L, N), which share memory.

    >>> inputs, targets = streams(np.arange(8), 2)
    >>> inputs.T.tolist(), targets.T.tolist()
    ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    both = laid_out(indices, count)
    return both[:-1], both[1:]


def laid_out(indices: Indices, count: int) -> Indices:
    """``count`` consecutive streams side by side, each with the first character of the next one: (L + 1, N)."""
    length = (len(indices) - 1) // count
    if not length:
        return np.zeros((1, count), indices.dtype)
    columns = np.lib.stride_tricks.sliding_window_view(indices, length + 1)[: count * length : length]
    return np.ascontiguousarray(columns.T)
