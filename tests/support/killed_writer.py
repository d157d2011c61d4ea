"""Writes the result of a picture and is killed on the way.

python -m support.killed_writer PICTURE FOLDER POINT COUNT: POINT is `save` (of the logits) or `rename` (of the folder),
and the process is killed at that call of it.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from streamseg.images import read_image
from streamseg.masks import Mask
from streamseg.segment.result import CandidateMask, PictureResult, PromptRecord, write_result


def some_answer() -> PictureResult:
    """One mask for one point."""
    mask = Mask(3, 4, np.ones((5, 6), np.bool_))
    return PictureResult(
        "mobilesam",
        [PromptRecord(points=[[5, 5]], labels=[1])],
        [CandidateMask(0, 0, mask, 0.9, 0.9)],
        np.zeros((1, 1, 256, 256), np.float32),
    )


def main(picture: str, folder: str, point: str, count: str) -> None:
    owner: Any = {"save": np, "rename": Path}[point]
    real, calls = getattr(owner, point), itertools.count(1)

    def fatal(*arguments: object) -> object:
        if next(calls) == int(count):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    setattr(owner, point, fatal)
    write_result(Path(folder), "later.png", read_image(Path(picture)), some_answer())


if __name__ == "__main__":
    main(*sys.argv[1:])
