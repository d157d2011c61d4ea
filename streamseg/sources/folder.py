"""Folders and patterns as sources: each file that they name is a source of its own."""

from __future__ import annotations

import glob
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Final

from streamseg.errors import SourceError
from streamseg.paths import local_path
from streamseg.sources import VIDEO_SUFFIXES, SourceSettings
from streamseg.sources.names import source_keys, source_names

_SHORTEST: Final = "file"
_LONGEST: Final = 58
"""Characters of a name without the number that makes it unique."""


def expand_sources(sources: Sequence[object]) -> list[list[object]]:
    """For each source a list of it, or of the files of its folder or pattern: with its settings, named after each file.

    A source without a name gets the one of its place.

    Args:
        sources: Of a tree of settings.

    Raises:
        SourceError: A folder cannot be read or has no videos, or no file matches a pattern.
    """
    found = [_files_of(source, key) for source, key in zip(sources, source_keys(sources), strict=True)]
    own = source_names(sources)
    taken = {name for name, files in zip(own, found, strict=True) if files is None}
    expanded: list[list[object]] = []
    for source, name, files in zip(sources, own, found, strict=True):
        if not isinstance(source, dict) or files is None:
            expanded.append([{**source, "name": name} if isinstance(source, dict) else source])
            continue
        names = [_unique(source_name(stem, source.get("name")), taken) for stem in _stems(files)]
        # Read again as an address, a relative path may be another kind of source: `0`, `push:a.mp4`, `~a.mp4`.
        expanded.append(
            [{**source, "url": str(path.absolute()), "name": name} for path, name in zip(files, names, strict=True)]
        )
    return expanded


def source_name(stem: str, prefix: object = None) -> str:
    """A name for a file's source: what the rules for names allow of the file's own name, after a prefix."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    name = re.sub("[^a-z0-9_]+", "-", plain).strip("-") or _SHORTEST
    return (name if prefix is None else f"{prefix}-{name}")[:_LONGEST]


def _files_of(source: object, key: str) -> list[Path] | None:
    url = source.get("url") if isinstance(source, dict) else None
    return _files(f"{key}.url", url) if isinstance(url, str) else None


def _files(key: str, address: str) -> list[Path] | None:
    """The files that an address names, sorted; None if that is no folder and no pattern."""
    if not address or SourceSettings(url=address).kind != "file" or "://" in address:
        return None
    path = local_path(address, "a folder of video files")
    if os.path.isdir(path):  # noqa: PTH112 - false for what no file can be called
        return _videos(key, path)
    if os.path.lexists(path) or not any(sign in address for sign in "*?["):
        return None
    matches = map(Path, glob.iglob(_pattern(path), recursive=True))  # noqa: PTH207 - of absolute patterns, too
    files = sorted(match for match in matches if _is_file(match))
    if not files:
        raise SourceError(
            f"{key}: no file matches {address}; expected video files: check the folder and the ending, and put the "
            "pattern in quotes"
        )
    return files


def _videos(key: str, folder: Path) -> list[Path]:
    try:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise SourceError(f"{key}: {folder} cannot be read: {error.strerror}; expected a folder of videos") from error
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES and _is_file(path)]
    if not videos:
        held = f"none of its {len(files)} entries is one" if files else "it is empty"
        raise SourceError(
            f"{key}: the folder {folder} has no videos, {held}; expected files such as .mp4 or .mkv: name another "
            "folder, or a pattern for files that end otherwise"
        )
    return videos


def _pattern(path: Path) -> str:
    """The pattern, in which the part that exists stands for itself: a folder may be called `day[1]`."""
    folder = next(parent for parent in path.parents if os.path.isdir(parent))  # noqa: PTH112 - as above
    return os.path.join(glob.escape(str(folder)), path.relative_to(folder))  # noqa: PTH118 - keeps what is escaped


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - `Path.is_file` raises where a folder may be listed but not entered


def _stems(files: Sequence[Path]) -> list[str]:
    """Names of files, with their ending where they are the same without it."""
    stems = [source_name(path.stem) for path in files]
    counts = Counter(stems)
    return [stem + path.suffix if counts[stem] > 1 else stem for path, stem in zip(files, stems, strict=True)]


def _unique(name: str, taken: set[str]) -> str:
    """The name, with a number if it is taken; now it is."""
    numbered = (f"{name}-{number}" for number in count(2))
    unique = next(each for each in chain((name,), numbered) if each not in taken)
    taken.add(unique)
    return unique
