"""The names of sources in a tree of settings that is not checked yet, and the keys that messages call them by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from streamseg.sources import MAIN, is_source_name, source_key


def source_names(sources: Sequence[object]) -> list[str]:
    """The name of each: its own, else `main` for a single one, or `camera-0`, `camera-1` and so on by their places.

    A name that is no text, such as a number without quotes, is none: where it is a place, that may be another source's.
    """
    return [
        source["name"]
        if isinstance(source, dict) and isinstance(source.get("name"), str)
        else MAIN
        if len(sources) == 1
        else f"camera-{place}"
        for place, source in enumerate(sources)
    ]


def source_keys(sources: Sequence[object]) -> list[str]:
    """The key of each: with its name, or with its place if others have that name, or nothing may be called so."""
    names = source_names(sources)
    counts = Counter(names)
    return [
        source_key(name if counts[name] == 1 and is_source_name(name) else str(place))
        for place, name in enumerate(names)
    ]
