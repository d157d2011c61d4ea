"""Suggests what a mistyped name may mean."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_SIMILARITY: Final = 0.6


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the known one that is spelled most alike, or nothing."""
    by_spelling = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), by_spelling, n=1, cutoff=_SIMILARITY)
    return f"; did you mean {by_spelling[close[0]]}?" if close else ""
