"""Options of synthetic scenes. Needs no library that draws."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Self, cast, get_args
from urllib.parse import parse_qsl

from streamseg.errors import SourceError

SceneName = Literal["bands", "crossing", "crowd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """Options of a scene: `synthetic:?size=640x480&fps=30&frames=120&seed=1&objects=2`.

    Attributes:
        scene: `bands` has small objects that seldom meet, `crossing` has large ones that hide each other, `crowd` has
            many of 12x12 to 200x200 pixels.
        frames: Length of the scene; 0 makes it endless and live: it keeps its frame rate.
    """

    scene: SceneName = "bands"
    width: int = 640
    height: int = 480
    fps: float = 30.0
    frames: int = 0
    seed: int = 1
    objects: int = 2

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a `synthetic:` URL.

        Raises:
            SourceError: A key is unknown, or a value is no number or out of range.
        """
        path, _, query = url.partition("?")
        if path.rstrip("/").lower() != "synthetic:":
            raise SourceError(
                f"{url!r} cannot be read; expected synthetic:?size=640x480&fps=30&frames=120&seed=1&objects=2"
            )
        scene = cls()
        for key, text in parse_qsl(query, keep_blank_values=True):
            match key:
                case "scene":
                    scene = replace(scene, scene=_scene_name(text))
                case "size":
                    width, _, height = text.partition("x")
                    scene = replace(scene, width=_whole(key, width, 64, 8192), height=_whole(key, height, 64, 8192))
                case "fps":
                    scene = replace(scene, fps=_number(key, text, 0.1, 1000.0))
                case "frames":
                    scene = replace(scene, frames=_whole(key, text, 0, 10**9))
                case "seed":
                    scene = replace(scene, seed=_whole(key, text, 0, 2**32))
                case "objects":
                    scene = replace(scene, objects=_whole(key, text, 0, 1024))
                case _:
                    raise SourceError(
                        f"synthetic: has no key {key!r}; expected scene, size, fps, frames, seed and objects"
                    )
        return scene


def _scene_name(text: str) -> SceneName:
    for name in get_args(SceneName):
        if name == text:
            return cast(SceneName, name)
    raise SourceError(f"synthetic: scene={text!r} is not valid; expected {' or '.join(get_args(SceneName))}")


def _number(key: str, text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise SourceError(f"synthetic: {key}={text!r} is not valid; expected a number from {least:g} to {most:g}")
    return number


def _whole(key: str, text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        expected = "WIDTHxHEIGHT with sides" if key == "size" else "a whole number"
        raise SourceError(f"synthetic: {key}={text!r} is not valid; expected {expected} from {least} to {most}")
    return int(text)
