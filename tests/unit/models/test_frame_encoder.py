from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from support.oracle import clouds
from torch import Tensor

from streamseg.models.segmenters.mobile_sam.encoder import FrameEncoder, HaloConvolution, WindowAttention
from streamseg.models.segmenters.mobile_sam.input_grid import InputGrid
from streamseg.models.segmenters.resizing import PIXEL_MEAN, PIXEL_STD
from streamseg.models.segmenters.sam import SamNetwork, load_network

SIDE = 512


@pytest.fixture(scope="module")
def network(mobile_sam: Path) -> SamNetwork:
    return load_network(mobile_sam)


def pixels(height: int, width: int) -> Tensor:
    """A normalised picture at the top left of an input of 512x512: shape (1, 3, 512, 512)."""
    picture = cv2.GaussianBlur(clouds(height, width, seed=1), (3, 3), 0)
    padded = np.zeros((SIDE, SIDE, 3), np.float32)
    padded[:height, :width] = (picture - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD)
    return torch.from_numpy(padded).permute(2, 0, 1)[None]


@torch.no_grad()
def reference(network: SamNetwork, given: Tensor) -> Tensor:
    """The features as tokens, shape (32, 32, 256)."""
    return network.encode(given)[0].permute(1, 2, 0)


@torch.no_grad()
def features(encoder: FrameEncoder, given: Tensor) -> Tensor:
    found: Tensor = encoder(given[:, :, : encoder.grid.height, : encoder.grid.width])
    return found.reshape(SIDE // 16, SIDE // 16, 256)


def test_on_the_whole_input_it_equals_the_reference(network: SamNetwork) -> None:
    given = pixels(300, SIDE)
    expected = reference(network, given)
    found = features(FrameEncoder(network, InputGrid.whole(SIDE)), given)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.5


@pytest.mark.parametrize("size", [(128, SIDE), (SIDE, 128)])
def test_a_part_gives_nearly_the_same_features_of_the_picture(network: SamNetwork, size: tuple[int, int]) -> None:
    given = pixels(*size)
    grid = InputGrid.around(*size)
    assert min(grid.rows, grid.columns) == 24
    encoder = FrameEncoder(network, grid)
    expected = reference(network, given)
    rows, columns = -(-size[0] // 16), -(-size[1] // 16)

    def error() -> float:
        difference = (features(encoder, given) - expected)[:rows, :columns]
        return float(difference.square().mean().sqrt() / expected.std())

    small = error()
    assert small < 0.001
    # With zeros beyond the border, which convolutions and windows have by default, the error is many times larger.
    for module in encoder.modules():
        if isinstance(module, HaloConvolution):
            assert module.halo is not None
            module.halo = torch.zeros_like(module.halo)
        if isinstance(module, WindowAttention):
            module.below, module.right = torch.zeros_like(module.below), torch.zeros_like(module.right)
    assert error() > 10 * small


def test_what_is_not_computed_has_the_features_of_padding(network: SamNetwork) -> None:
    encoder = FrameEncoder(network, InputGrid.around(128, SIDE))
    blank = reference(network, torch.zeros(1, 3, SIDE, SIDE))
    found = features(encoder, pixels(128, SIDE))
    torch.testing.assert_close(found[24:], blank[24:], rtol=0, atol=1e-4)


def test_the_network_stays_unchanged(network: SamNetwork) -> None:
    given = pixels(200, SIDE)
    before = reference(network, given)
    FrameEncoder(network, InputGrid.around(200, SIDE))
    torch.testing.assert_close(reference(network, given), before, rtol=0, atol=0)
