from __future__ import annotations

import warnings
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from streamseg.models.options import MOBILE_SAM, Backend
from streamseg.models.runtime.base import Runtime
from streamseg.models.runtime.loading import load
from streamseg.models.segmenters.mobile_sam.decoder import BoxDecoder, FrameTerms
from streamseg.models.segmenters.mobile_sam.input_grid import CELL
from streamseg.models.segmenters.sam.mask_decoder import POOR_IOU
from streamseg.models.segmenters.sam.network import SamNetwork
from streamseg.models.segmenters.sam.prompt_encoder import Prompts

pytestmark = pytest.mark.slow

BOXES = torch.tensor(
    [[0.1, 0.1, 0.4, 0.3], [-0.1, 0.2, 0.5, 0.6], [0.31, 0.3, 0.35, 0.38], [0.0, 0.0, 1.0, 0.55], [0.7, 0.4, 1.2, 0.9]]
)
"""As shares of the network's input; the second and the last leave the picture."""
SCORES = torch.tensor(
    [[0.75, 0.8, 0.9, 0.8], [0.5, 0.6, 0.8, 0.7], [0.5, 0.2, 0.4, 0.3], [0.65, 0.9, 0.7, 0.6], [0.3, 0.1, 0.2, 0.9]]
)
"""Predicted IoU of the four masks of each box; `SELECTED` is the index of the selected one."""
SELECTED = [0, 2, 0, 1, 3]


@pytest.fixture(scope="module")
def network() -> Iterator[SamNetwork]:
    """MobileSAM with weights none of which is zero or one, as fresh ones would be, which hides errors."""
    network = SamNetwork(MOBILE_SAM).ready()
    random = torch.Generator().manual_seed(0)
    for weights in (*network.prompt_encoder.state_dict().values(), *network.mask_decoder.state_dict().values()):
        scale = 0.2 if weights.ndim == 1 else 1.0 if weights.shape[0] <= 4 else 0.1
        weights.add_(torch.randn(weights.shape, generator=random) * scale)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield network
    torch.set_num_threads(threads)


def picture(grid: int) -> Tensor:
    return torch.randn(1, 256, grid, grid, generator=torch.Generator().manual_seed(grid))


def cells(features: Tensor) -> Tensor:
    """Shape (1, 256, grid, grid) to (1, cells, 256)."""
    return features.flatten(2).transpose(1, 2)


def reference(network: SamNetwork, features: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The network's four masks for features of any side: logits (n, 4, 4 * grid, 4 * grid) and predicted IoU (n, 4)."""
    grid = features.shape[-1]
    scale = 64 / grid
    # Scaled so that the corner half a pixel on comes to lie where it does in the smaller input.
    tokens, prompt_map = network.prompt_encoder(Prompts(boxes=boxes * scale + (scale - 1) / 2))
    centres = (torch.arange(grid) + 0.5) / grid
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    positions = network.prompt_encoder.pe_layer(torch.stack((x, y), dim=-1)).permute(2, 0, 1).unsqueeze(0)
    parts = [
        network.mask_decoder(features, positions, tokens, prompt_map, multimask=multimask)
        for multimask in (False, True)
    ]
    logits, iou = zip(*parts, strict=True)
    return torch.cat(logits, dim=1), torch.cat(iou, dim=1)


def choices(iou: Tensor) -> list[int]:
    """Which mask should answer each box: the first, or where that is poor the best."""
    return [scores.index(max(scores)) if scores[0] < POOR_IOU else 0 for scores in iou.tolist()]


def chosen(logits: Tensor, iou: Tensor) -> tuple[Tensor, Tensor]:
    """Of what `reference` gives, what the decoder should: logits (n, 4 * grid, 4 * grid) and predicted IoU (n,)."""
    answering = torch.arange(len(iou)), torch.tensor(choices(iou))
    return logits[answering], iou[answering]


def scored(network: SamNetwork, features: Tensor, boxes: Tensor) -> SamNetwork:
    """A copy that predicts `SCORES` for these boxes."""
    copied = deepcopy(network)
    last = copied.mask_decoder.iou_prediction_head.layers[-1]
    assert isinstance(last, nn.Linear)
    seen: list[Tensor] = []
    with last.register_forward_pre_hook(lambda _layer, given: seen.append(given[0].double())):
        reference(copied, features, boxes)
    last.weight.copy_((torch.linalg.pinv(seen[0]) @ SCORES.double()).T)
    last.bias.zero_()
    return copied


@pytest.mark.parametrize(("rows", "columns"), [(37, 64), (64, 23), (64, 64)], ids=["landscape", "portrait", "square"])
def test_it_equals_the_reference_decoder(network: SamNetwork, rows: int, columns: int) -> None:
    features, boxes = picture(64), BOXES * 1024
    parts = [network.predict(features, Prompts(boxes=boxes), multimask=multimask) for multimask in (False, True)]
    expected_logits, expected_iou = chosen(
        torch.cat([part.logits for part in parts], dim=1), torch.cat([part.predicted_iou for part in parts], dim=1)
    )
    logits, iou = BoxDecoder(network, 64, rows, columns)(boxes, *FrameTerms(network, 64)(cells(features)))
    shown = expected_logits[:, : 4 * rows, : 4 * columns]
    torch.testing.assert_close(logits, shown, rtol=0, atol=1e-4 * float(expected_logits.std()))
    torch.testing.assert_close(iou, expected_iou, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("grid", [32, 48])
def test_a_smaller_input_has_positions_of_its_own(network: SamNetwork, grid: int) -> None:
    features, boxes, rows = picture(grid), BOXES * grid * CELL, grid // 2
    expected_logits, expected_iou = chosen(*reference(network, features, boxes))
    logits, iou = BoxDecoder(network, grid, rows, grid)(boxes, *FrameTerms(network, grid)(cells(features)))
    torch.testing.assert_close(logits, expected_logits[:, : 4 * rows], rtol=0, atol=1e-4 * float(expected_logits.std()))
    torch.testing.assert_close(iou, expected_iou, rtol=1e-4, atol=1e-4)


def test_a_poor_mask_is_replaced_by_the_best_scored_one(network: SamNetwork) -> None:
    features, boxes = picture(32), BOXES * 512
    copied = scored(network, features, boxes)
    expected_logits, expected_iou = reference(copied, features, boxes)
    torch.testing.assert_close(expected_iou, SCORES, rtol=0, atol=1e-4)
    logits, iou = BoxDecoder(copied, 32, 32, 32)(boxes, *FrameTerms(copied, 32)(cells(features)))
    wanted = expected_logits[range(5), SELECTED]
    torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-4 * float(wanted.std()))
    torch.testing.assert_close(iou, SCORES[range(5), SELECTED], rtol=0, atol=1e-4)


@dataclass(frozen=True)
class Exported:
    """A decoder for a runtime that reads exports."""

    path: Path

    def module(self) -> nn.Module:
        raise AssertionError("it is read from its export")

    def exported(self) -> Path:
        return self.path


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_export_selects_the_same_masks(network: SamNetwork, backend: Backend, tmp_path: Path) -> None:
    features, boxes = picture(32), BOXES * 512
    copied = scored(network, features, boxes)
    decoder, given = BoxDecoder(copied, 32, 18, 32).eval(), (boxes, *FrameTerms(copied, 32)(cells(features)))
    expected_logits, _ = decoder(*given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(decoder, given, tmp_path / "decoder.onnx", dynamo=False, opset_version=20)
    runtime = Runtime(backend, "fp32", threads=1)
    logits, iou = map(
        torch.from_numpy, load(Exported(tmp_path / "decoder.onnx"), runtime).run([tensor.numpy() for tensor in given])
    )
    # OpenVINO's GELU is a polynomial here.
    torch.testing.assert_close(logits, expected_logits, rtol=0, atol=1e-3 * float(expected_logits.std()))
    torch.testing.assert_close(iou, SCORES[range(5), SELECTED], rtol=0, atol=1e-3)


def test_a_box_is_decoded_alike_alone_and_in_a_batch(network: SamNetwork) -> None:
    decoder, terms, boxes = BoxDecoder(network, 32, 18, 32), FrameTerms(network, 32)(cells(picture(32))), BOXES * 512
    together, together_iou = decoder(boxes, *terms)
    assert float((together - together[:1]).abs()[1:].amax(dim=(1, 2)).min()) > 0.01, (
        "boxes must matter for this test to say anything"
    )
    for index, box in enumerate(boxes):
        alone, alone_iou = decoder(box[None], *terms)
        torch.testing.assert_close(alone[0], together[index], rtol=0, atol=1e-4)
        torch.testing.assert_close(alone_iou[0], together_iou[index], rtol=1e-4, atol=1e-4)


def test_it_leaves_the_network_unchanged() -> None:
    network = SamNetwork(MOBILE_SAM).ready()
    before = {name: weights.clone() for name, weights in network.state_dict().items()}
    BoxDecoder(network, 32, 18, 32)(BOXES * 512, *FrameTerms(network, 32)(cells(picture(32))))
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], weights) for name, weights in before.items())
