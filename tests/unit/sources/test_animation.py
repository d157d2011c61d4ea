"""An animated WebP picture is played as a video is."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from streamseg.errors import SourceError
from streamseg.messages import Frame
from streamseg.sources import SourceSettings
from streamseg.sources.animation import AnimatedWebpSource, is_animated_webp
from streamseg.sources.opening import open_file
from streamseg.sources.picture import PictureSource

DURATIONS = [100, 300, 50]
LEVELS = [10, 90, 200]


def write(path: Path, levels: list[int]) -> Path:
    """An animation of plain pictures, 12 pixels wide and 8 high, whose left column is black."""
    pictures = []
    for level in levels:
        pixels = np.full((8, 12, 3), (level, 0, level // 2), np.uint8)
        pixels[:, 0] = 0
        pictures.append(PilImage.fromarray(pixels))
    pictures[0].save(
        path, save_all=len(levels) > 1, append_images=pictures[1:], duration=DURATIONS[: len(levels)], lossless=True
    )
    return path


def play(settings: SourceSettings, start: int = 0) -> list[Frame]:
    source = open_file(settings)
    assert isinstance(source, AnimatedWebpSource)
    return list(source.frames(start, threading.Event()))


def test_every_picture_is_read_once_at_its_time(tmp_path: Path) -> None:
    path = write(tmp_path / "moving.webp", LEVELS)
    assert open_file(SourceSettings(url=str(path))).info.frame_count == 3
    frames = play(SourceSettings(url=str(path)))
    assert [frame.pts_ns for frame in frames] == [0, 100_000_000, 400_000_000]
    assert [frame.image[0, 5].tolist() for frame in frames] == [[level // 2, 0, level] for level in LEVELS]
    assert [frame.pts_ns for frame in play(SourceSettings(url=str(path)), 1)] == [100_000_000, 400_000_000]


def test_it_is_turned_as_the_settings_say(tmp_path: Path) -> None:
    path = write(tmp_path / "moving.webp", LEVELS)
    (first, *_) = play(SourceSettings(url=str(path), rotate=90))
    assert first.image.shape == (12, 8, 3)
    assert first.image[0].max() == 0 and first.image[1].any()


def test_a_still_one_is_an_ordinary_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "still.webp", LEVELS[:1])
    assert not is_animated_webp(path)
    assert not is_animated_webp(tmp_path / "absent.webp")
    assert isinstance(open_file(SourceSettings(url=str(path))), PictureSource)


def test_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "moving.webp", LEVELS)
    content = path.read_bytes()
    path.write_bytes(content[:60])
    with pytest.raises(SourceError, match=r"moving\.webp cannot be"):
        play(SourceSettings(url=str(path)))
