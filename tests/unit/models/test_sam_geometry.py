"""Positions go from the picture into the network's input and masks come back to the same place, within half a pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, composite

from streamseg.masks import Mask
from streamseg.models.segmenters.resizing import resize_image, resize_positions, resized_size
from streamseg.models.segmenters.sam.embedding import ImageEmbedding
from streamseg.models.segmenters.sam.image_encoder import INPUT_SIZE

LOW = 256
sides = st.integers(16, 2000)


@composite
def picture_and_box(draw: DrawFn) -> tuple[int, int, tuple[float, float, float, float]]:
    """A picture's height and width, and a box in it of at least four pixels each way."""
    height, width = draw(sides), draw(sides)
    left, top = draw(st.floats(0, width - 5)), draw(st.floats(0, height - 5))
    return height, width, (left, top, draw(st.floats(left + 4, width)), draw(st.floats(top + 4, height)))


def remember(height: int, width: int) -> ImageEmbedding:
    return ImageEmbedding(torch.zeros(1), (height, width), resized_size((height, width)))


@given(sides, sides)
def test_the_longer_side_becomes_1024_and_the_shape_is_kept(height: int, width: int) -> None:
    resized = resized_size((height, width))
    assert max(resized) == INPUT_SIZE
    scale = INPUT_SIZE / max(height, width)
    assert abs(resized[0] - height * scale) <= 0.5
    assert abs(resized[1] - width * scale) <= 0.5


def test_no_side_vanishes() -> None:
    assert resized_size((1, 3000)) == (1, INPUT_SIZE)
    assert resize_image(np.zeros((1, 3000, 3), np.uint8)).shape == (1, INPUT_SIZE, 3)


@given(picture_and_box())
def test_a_box_stays_the_same_share_of_the_picture(case: tuple[int, int, tuple[float, float, float, float]]) -> None:
    height, width, box = case
    resized = resized_size((height, width))
    prompts = remember(height, width).prompts(boxes=[box])
    assert prompts.boxes is not None
    back = prompts.boxes.numpy()[0] * np.array([width / resized[1], height / resized[0]] * 2)
    assert np.abs(back - box).max() < 0.01
    assert np.array_equal(
        resize_positions(np.reshape(box, (2, 2)), (height, width)).ravel(), resize_positions(box, (height, width))
    )


@settings(max_examples=25)
@given(st.integers(40, 700), st.integers(40, 700), st.data())
def test_what_is_painted_in_a_box_is_found_there_after_resizing(height: int, width: int, data: st.DataObject) -> None:
    left, top = data.draw(st.integers(0, width - 20)), data.draw(st.integers(0, height - 20))
    right, bottom = data.draw(st.integers(left + 12, width)), data.draw(st.integers(top + 12, height))
    image = np.zeros((height, width, 3), np.uint8)
    image[top:bottom, left:right] = 255
    resized = resize_image(image)[..., 0]
    found = Mask.crop(resized >= 128)
    assert found is not None
    # Half a pixel of the coarser of the two grids.
    pixel = max(1.0, max(resized.shape) / max(height, width))
    assert (
        np.abs(np.array(found.xyxy) - resize_positions((left, top, right, bottom), (height, width))).max()
        <= 0.5 * pixel + 0.01
    )


@settings(max_examples=40)
@given(picture_and_box())
def test_a_box_that_goes_through_both_ways_returns_within_half_a_pixel(
    case: tuple[int, int, tuple[float, float, float, float]],
) -> None:
    height, width, box = case
    embedding = remember(height, width)
    prompts = embedding.prompts(boxes=[box])
    assert prompts.boxes is not None
    # Logits that hold their own position in the input: restored, they give each pixel's position in the input.
    middles = ((torch.arange(LOW) + 0.5) * INPUT_SIZE / LOW).expand(LOW, LOW)
    across = embedding.restore(middles[None, None])[0, 0, 0].numpy()
    down = embedding.restore(middles.T[None, None])[0, 0, :, 0].numpy()
    # Next to the edges, interpolation has nothing beyond them to lean on.
    margin = 2 * INPUT_SIZE / LOW
    for positions, size, edges, asked in (
        (across, width, box[::2], prompts.boxes[0, ::2]),
        (down, height, box[1::2], prompts.boxes[0, 1::2]),
    ):
        assert positions.shape == (size,)
        assert np.all(np.diff(positions) >= -1e-3)
        end = size / max(height, width) * INPUT_SIZE
        for edge, position in zip(edges, asked.tolist(), strict=True):
            if margin <= position <= end - margin:
                assert abs(float(np.interp(position, positions, np.arange(size) + 0.5)) - edge) <= 0.5


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 500), st.integers(0, 500))
def test_a_crop_goes_back_to_its_place(height: int, width: int, x: int, y: int) -> None:
    crop = np.zeros((height + 9, width + 7), np.bool_)
    crop[4 : 4 + height, 3 : 3 + width] = True
    mask = Mask.crop(crop, x, y)
    assert mask is not None
    assert [int(edge) for edge in mask.xyxy] == [x + 3, y + 4, x + 3 + width, y + 4 + height]
    full = mask.paste(y + height + 20, x + width + 20)
    assert cv2.boundingRect(full.astype(np.uint8)) == (x + 3, y + 4, width, height)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="one batch size"):
        remember(40, 40).prompts(boxes=[(0, 0, 9, 9), (1, 1, 5, 5)], points=[[(3, 3)]], labels=[[1]])
    with pytest.raises(ValueError, match="given together"):
        remember(40, 40).prompts(points=[[(3, 3)]])
