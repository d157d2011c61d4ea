"""Makes text from elsewhere safe to print: file names, messages of the network, errors of libraries."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Final

_BREAKS: Final = re.compile("[ \t-\r\x1c-\x1f\x85\u2028\u2029]+")


def printable(text: str) -> str:
    r"""The text on one line; what would control the terminal, or does not show, becomes an escape such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(map(_visible, _BREAKS.sub(" ", text).strip(" ")))


def printable_json(line: bytes) -> bytes:
    r"""The same JSON on one line of UTF-8; what would control the terminal, or does not show, becomes a `\u202e`.

    Args:
        line: JSON without line breaks and tabs between its values: what does not show is part of a text.
    """
    text = line.decode()
    if text.isprintable():
        return line
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text).encode()


def _visible(letter: str) -> str:
    if letter.isprintable() or unicodedata.category(letter) == "Zs":
        return letter
    return letter.encode("unicode_escape").decode("ascii")
