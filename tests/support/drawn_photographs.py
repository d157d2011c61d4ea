"""Draws pictures with exactly known masks, and writes them as training and benchmark data."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from streamseg.masks import Bits, Mask
from streamseg.messages import Image

HEIGHT, WIDTH = 120, 160


def mask_of(bits: NDArray[np.generic]) -> Mask:
    mask = Mask.crop(bits)
    assert mask is not None
    return mask


def texture(height: int, width: int, rng: np.random.Generator, colour: tuple[int, int, int] = (60, 75, 55)) -> Image:
    """Spots of about eight pixels around a colour."""
    coarse = rng.normal(colour, 14, (height // 8 + 1, width // 8 + 1, 3)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), 0, 255).astype(np.uint8)


def ellipse_bits(height: int, width: int, centre: tuple[float, float], axes: tuple[float, float]) -> Bits:
    """The pixels whose centres lie in an ellipse; `axes` are halves of its sides."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.asarray(((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 < 1)


def rectangle_bits(height: int, width: int, left: int, top: int, right: int, bottom: int) -> Bits:
    bits: Bits = np.zeros((height, width), np.bool_)
    bits[top:bottom, left:right] = True
    return bits


def paint(image: Image, bits: Bits, rng: np.random.Generator, colour: tuple[int, int, int] = (70, 190, 235)) -> None:
    """Give an object its colour, with some noise."""
    image[bits] = np.clip(rng.normal(colour, 6, (int(bits.sum()), 3)), 0, 255).astype(np.uint8)


def photograph(number: int) -> tuple[Image, tuple[Mask, ...]]:
    """A bright ellipse on the left and a bright rectangle on the right; the number seeds their sizes."""
    rng = np.random.default_rng(number)
    image = texture(HEIGHT, WIDTH, rng)
    left = ellipse_bits(
        HEIGHT, WIDTH, (rng.uniform(35, 45), rng.uniform(50, 70)), (rng.uniform(14, 26), rng.uniform(18, 36))
    )
    x, y = (int(value) for value in rng.integers((92, 20), (104, 40)))
    right = rectangle_bits(HEIGHT, WIDTH, x, y, x + int(rng.integers(26, 46)), y + int(rng.integers(30, 60)))
    for bits in (left, right):
        paint(image, bits, rng)
    return image, (mask_of(left), mask_of(right))


def write_photographs(folder: Path, count: int, first: int = 0) -> Path:
    """Write `instances.json` and `images` with photographs from number `first` on into a folder; return the file."""
    (folder / "images").mkdir(parents=True)
    pictures: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(first, first + count):
        image, masks = photograph(number)
        name = f"{number}.png"
        assert cv2.imwrite(str(folder / "images" / name), image)
        pictures.append({"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH})
        for mask in masks:
            outline = {"counts": mask.runs(HEIGHT, WIDTH).tolist(), "size": [HEIGHT, WIDTH]}
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": 1, "iscrowd": 0, "segmentation": outline}
            )
    file = folder / "instances.json"
    file.write_bytes(
        msgspec.json.encode(
            {"images": pictures, "annotations": annotations, "categories": [{"id": 1, "name": "shape"}]}
        )
    )
    return file


def write_sequence(folder: Path, frames: int) -> None:
    """Write `frames` and `masks` of an ellipse that moves to the right over a still background."""
    background = texture(HEIGHT, WIDTH, np.random.default_rng(7))
    for name in ("frames", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(frames):
        image = background.copy()
        bits = ellipse_bits(HEIGHT, WIDTH, (45 + 2.5 * number, 60), (24, 30))
        paint(image, bits, np.random.default_rng(number))
        assert cv2.imwrite(str(folder / "frames" / f"{number:05}.png"), image)
        assert cv2.imwrite(str(folder / "masks" / f"{number:05}.png"), bits.astype(np.uint8) * 255)
