"""The original MobileSAM and SAM as oracles: what it answers to a prompt, from weights that ours load as well."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.messages import Image
from streamseg.models.segmenters.sam.automatic import AutomaticOptions

Floats = NDArray[np.float32]

_SCRIPT = Path(__file__).with_name("oracle_process.py")
_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OraclePrompt:
    """The original predictor's arguments, in pixels of the picture: points (n, 2), labels (n,), mask_input (1, 256, 256)."""

    box: Box | None = None
    points: Floats | None = None
    labels: NDArray[np.int64] | None = None
    mask_input: Floats | None = None
    multimask: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class OraclePrediction:
    """The answer to one prompt: logits (masks, height, width), IoU (masks,), low-resolution logits (masks, 256, 256)."""

    logits: Floats
    iou: Floats
    low_res: Floats

    @property
    def masks(self) -> NDArray[np.bool_]:
        """Shape (masks, height, width)."""
        return self.logits > 0


@dataclass(frozen=True, slots=True, eq=False)
class OracleAnswer:
    """All that the original says of one picture; features have shape (1, 256, 64, 64)."""

    features: Floats
    predictions: list[OraclePrediction]


@dataclass(frozen=True, slots=True, eq=False)
class OracleMasks:
    """What the original's everything mode finds in one picture, n masks.

    Attributes:
        masks: Shape (n, height, width), bool.
        logits: Shape (n, height, width), what the masks were made from, before small regions were removed.
        bbox: Shape (n, 4): left, top, width, height.
        predicted_iou: Shape (n,).
        stability_score: Shape (n,).
        point: Shape (n, 2): x, y.
        crop_box: Shape (n, 4): left, top, width, height.
    """

    masks: NDArray[np.bool_]
    logits: Floats
    bbox: NDArray[np.int64]
    predicted_iou: NDArray[np.float64]
    stability_score: NDArray[np.float64]
    point: NDArray[np.float64]
    crop_box: NDArray[np.int64]


def clouds(height: int, width: int, seed: int) -> Image:
    """A picture to ask about: coloured clouds with fine noise, so that a wrong resize or a swapped channel shows."""
    random = np.random.default_rng(seed)
    smooth = cv2.resize(
        random.uniform(0, 255, (6, 6, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(smooth + random.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)


def oracle_entries(model: str) -> dict[str, list[int]]:
    """The names and shapes of the entries of an original's checkpoint."""
    entries: dict[str, list[int]] = json.loads(_run("entries", model))
    return entries


def seeded_checkpoint(path: Path, seed: int, model: str = "vit_t") -> None:
    """Write a checkpoint of an original with random weights, entries and names those of the official file."""
    _run("checkpoint", model, str(seed), str(path))


def blob_checkpoint(path: Path, seed: int) -> None:
    """Write a checkpoint of MobileSAM with random weights whose masks are a few blobs, other ones for other prompts."""
    _run("blobs", str(seed), str(path))


def rescore(checkpoint: Path, added: tuple[float, float, float, float]) -> None:
    """Change what a checkpoint says of the IoU of its four masks, that of the one for clear prompts first, by so much for every prompt."""
    state = torch.load(checkpoint, weights_only=True)
    state["mask_decoder.iou_prediction_head.layers.2.bias"].add_(torch.tensor(added))
    torch.save(state, checkpoint)


def oracle_predict(
    checkpoint: Path, cases: Sequence[tuple[Image, Sequence[OraclePrompt]]], model: str = "vit_t"
) -> list[OracleAnswer]:
    """Ask an original (`vit_t`, MobileSAM, or `vit_b`, SAM) about BGR pictures, each with its prompts, one prompt at a time."""
    given: dict[str, NDArray[np.generic]] = {}
    for i, (image, prompts) in enumerate(cases):
        given[f"{i}.image"] = image
        for j, prompt in enumerate(prompts):
            given |= {f"{i}.{j}.{name}": value for name, value in _arguments(prompt).items()}
    said = _ask("predict", model, checkpoint, given)
    return [
        OracleAnswer(
            said[f"{i}.features"],
            [
                OraclePrediction(*(said[f"{i}.{j}.{name}"] for name in ("logits", "iou", "low_res")))
                for j in range(len(prompts))
            ],
        )
        for i, (_, prompts) in enumerate(cases)
    ]


def oracle_generate(
    checkpoint: Path, cases: Sequence[tuple[Image, AutomaticOptions]], model: str = "vit_t"
) -> list[OracleMasks]:
    """Let an original find everything in BGR pictures, each with its settings."""
    given: dict[str, NDArray[np.generic]] = {}
    for i, (image, options) in enumerate(cases):
        given[f"{i}.image"] = image
        for name in (field.name for field in fields(options) if field.name not in ("points_per_side", "point_grids")):
            given[f"{i}.option.{name}"] = np.array(getattr(options, name))
        if options.points_per_side is not None:
            given[f"{i}.option.points_per_side"] = np.array(options.points_per_side)
        given |= {f"{i}.point_grids.{layer}": grid for layer, grid in enumerate(options.point_grids or ())}
    said = _ask("generate", model, checkpoint, given)
    return [
        OracleMasks(**{field.name: said[f"{i}.{field.name}"] for field in fields(OracleMasks)})
        for i in range(len(cases))
    ]


def _arguments(prompt: OraclePrompt) -> dict[str, NDArray[np.generic]]:
    arguments: dict[str, NDArray[np.generic]] = {"multimask": np.array(prompt.multimask)}
    if prompt.box is not None:
        arguments["box"] = np.array(prompt.box, dtype=np.float64)
    if prompt.points is not None and prompt.labels is not None:
        arguments |= {"point_coords": prompt.points, "point_labels": prompt.labels}
    if prompt.mask_input is not None:
        arguments["mask_input"] = prompt.mask_input
    return arguments


def _ask(
    command: str, model: str, checkpoint: Path, given: Mapping[str, NDArray[np.generic]]
) -> dict[str, NDArray[Any]]:
    """Give an original's process arrays by name, and have its answers by name."""
    with tempfile.TemporaryDirectory() as directory:
        source, output = Path(directory, "given.npz"), Path(directory, "answers.npz")
        with source.open("wb") as file:
            np.savez(file, allow_pickle=False, **given)
        _run(command, model, str(checkpoint), str(source), str(output))
        with np.load(output) as said:
            return dict(said)


def _run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the original failed: {done.stderr}")
    return done.stdout
