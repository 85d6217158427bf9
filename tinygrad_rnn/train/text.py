"""The text of a run: where it comes from, its alphabet, and how it is cut.

Legend: ``L`` characters in a stream, ``N`` streams side by side.

    text      = training part (first 90 %) + validation part (last 10 %)
    a part    = N consecutive streams of L characters; a remainder shorter than N is not used
    inputs    (L, N)   character t of stream n
    targets   (L, N)   the character after it
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError

__all__ = ["Alphabet", "Corpus", "default_text", "read_text", "streams"]

Indices = npt.NDArray[np.int64]


class Alphabet:
    """The characters that occur in a text, in the order of their code points, and their indices in it.

    >>> letters = Alphabet("abracadabra")
    >>> letters.characters
    'abcdr'
    >>> letters.encode("cab"), letters.decode([2, 0, 1])
    (array([2, 0, 1]), 'cab')
    """

    def __init__(self, characters: str) -> None:
        self.characters = "".join(sorted(set(characters)))
        self._index = {character: index for index, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def missing(self, text: str) -> str:
        """The characters of ``text`` that are not in the alphabet, each once."""
        return "".join(sorted(set(text) - set(self.characters)))

    def encode(self, text: str) -> Indices:
        """The index of every character; all must be in the alphabet."""
        return np.array([self._index[character] for character in text], np.int64)

    def decode(self, indices: Any) -> str:
        """The characters at ``indices``."""
        return "".join(self.characters[index] for index in indices)


@dataclass(frozen=True)
class Corpus:
    """A text made ready: alphabet, the two parts as indices, and a digest that tells whether it is the same text."""

    alphabet: Alphabet
    train: Indices
    validation: Indices
    digest: str

    @classmethod
    def of(cls, text: str) -> Corpus:
        """``text`` cut at 90 %."""
        alphabet = Alphabet(text)
        indices = alphabet.encode(text)
        cut = len(indices) * 9 // 10
        return cls(
            alphabet, indices[:cut], indices[cut:], hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        )

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
    """The Python language reference that CPython carries for ``help()``: real text, with no download.

    Raises:
        UsageError: this Python was built without it.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise UsageError("this Python carries no language reference (pydoc_data.topics); give --text FILE") from error
    return "\n".join(topics[name] for name in sorted(topics))


def read_text(path: str | None) -> str:
    """The text of a UTF-8 file, or the default text for None.

    Raises:
        UsageError: there is no such file, it cannot be read, is empty, or is not UTF-8.
    """
    if path is None:
        return default_text()
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read the text {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the text {path} is not UTF-8: byte {error.object[error.start]:#04x} at position {error.start}. "
            f"Convert it first: iconv -f latin1 -t utf-8 FILE > NEW"
        ) from error
    if not text:
        raise UsageError(f"the text {path} is empty")
    return text


def streams(indices: Indices, count: int) -> tuple[Indices, Indices]:
    """Inputs and targets of ``count`` consecutive streams side by side: two arrays (L, N).

    >>> inputs, targets = streams(np.arange(8), 2)
    >>> inputs.T.tolist(), targets.T.tolist()
    ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    length = (len(indices) - 1) // count

    def columns(part: Indices) -> Indices:
        return np.ascontiguousarray(part.reshape(count, length).T)

    return columns(indices[: count * length]), columns(indices[1 : count * length + 1])
