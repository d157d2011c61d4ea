"""The original MobileSAM and SAM as oracles: their predictions, from weights that our networks load too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.messages import Image

if TYPE_CHECKING:
    # This import loads torch.
    from streamseg.models.segmenters.sam.automatic import AutomaticOptions

Floats = NDArray[np.float32]

Scores = tuple[float, float, float, float]
NOTHING: Scores = (0, 0, 0, 0)

_TESTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OraclePrompt:
    """Arguments of the original predictor, in pixels: points (n, 2), labels (n,), mask_input (1, 256, 256)."""

    box: Box | None = None
    points: Floats | None = None
    labels: NDArray[np.int64] | None = None
    mask_input: Floats | None = None
    multimask: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class OraclePrediction:
    """Logits (masks, height, width), IoU (masks,) and low-resolution logits (masks, 256, 256) for one prompt."""

    logits: Floats
    iou: Floats
    low_res: Floats

    @property
    def masks(self) -> NDArray[np.bool_]:
        """Shape (masks, height, width)."""
        return self.logits > 0


@dataclass(frozen=True, slots=True, eq=False)
class OracleAnswer:
    """The original's features and predictions of one picture; features have shape (1, 256, 64, 64)."""

    features: Floats
    predictions: list[OraclePrediction]


@dataclass(frozen=True, slots=True, eq=False)
class OracleMasks:
    """What the original's automatic mask generator finds in one picture, n masks.

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
    """A picture of coloured clouds with fine noise, so that a wrong resize or a swapped channel shows."""
    random = np.random.default_rng(seed)
    smooth = cv2.resize(
        random.uniform(0, 255, (6, 6, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(smooth + random.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)


class Oracle:
    """The process that runs the originals: it starts with the first request and serves all that follow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def entries(self, model: str) -> dict[str, list[int]]:
        """The names and shapes of the entries of an original's checkpoint."""
        entries: dict[str, list[int]] = self._request("entries", model)
        return entries

    def write_checkpoint(self, path: Path, seed: int, model: str = "vit_t", added: Scores = NOTHING) -> None:
        """Write a checkpoint with random weights; its entries and their names are those of the official file.

        `added` shifts the predicted IoU of the four masks of every prompt; the mask for clear prompts comes first.
        """
        self._request("checkpoint", model, seed, str(path), added)

    def write_blob_checkpoint(self, path: Path, seed: int, added: Scores = NOTHING) -> None:
        """Write a checkpoint of MobileSAM with random weights whose masks are a few blobs that depend on the prompt."""
        self._request("blobs", seed, str(path), added)

    def predict(
        self, checkpoint: Path, cases: Sequence[tuple[Image, Sequence[OraclePrompt]]], model: str = "vit_t"
    ) -> list[OracleAnswer]:
        """Run `vit_t` (MobileSAM) or `vit_b` (SAM) on BGR pictures, each with its prompts, one prompt at a time."""
        given: dict[str, NDArray[np.generic]] = {}
        for i, (image, prompts) in enumerate(cases):
            given[f"{i}.image"] = image
            for j, prompt in enumerate(prompts):
                given |= {f"{i}.{j}.{name}": value for name, value in _arguments(prompt).items()}
        answers = self._arrays("predict", model, str(checkpoint), given=given)
        return [
            OracleAnswer(
                answers[f"{i}.features"],
                [
                    OraclePrediction(*(answers[f"{i}.{j}.{name}"] for name in ("logits", "iou", "low_res")))
                    for j in range(len(prompts))
                ],
            )
            for i, (_, prompts) in enumerate(cases)
        ]

    def generate(
        self, checkpoint: Path, cases: Sequence[tuple[Image, AutomaticOptions]], model: str = "vit_t"
    ) -> list[OracleMasks]:
        """Run the automatic mask generator on BGR pictures, each with its settings, and `quick_features`."""
        given: dict[str, NDArray[np.generic]] = {}
        for i, (image, options) in enumerate(cases):
            given[f"{i}.image"] = image
            for name in (
                field.name for field in fields(options) if field.name not in ("points_per_side", "point_grids")
            ):
                given[f"{i}.option.{name}"] = np.array(getattr(options, name))
            if options.points_per_side is not None:
                given[f"{i}.option.points_per_side"] = np.array(options.points_per_side)
            given |= {f"{i}.point_grids.{layer}": grid for layer, grid in enumerate(options.point_grids or ())}
        answers = self._arrays("generate", model, str(checkpoint), given=given)
        return [
            OracleMasks(**{field.name: answers[f"{i}.{field.name}"] for field in fields(OracleMasks)})
            for i in range(len(cases))
        ]

    def run_script(self, script: Path, checkpoint: Path, image: Image) -> dict[str, NDArray[Any]]:
        """Call `run(checkpoint, image)` of a script that uses the original."""
        return self._arrays("script", str(script), str(checkpoint), given={"image": image})

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def _arrays(self, *command: str, given: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[Any]]:
        """Pass arrays by name and return the arrays of the answer by name."""
        source, output = self._folder / "given.npz", self._folder / "answers.npz"
        with source.open("wb") as file:
            np.savez(file, allow_pickle=False, **given)
        self._request(*command, str(source), str(output))
        with np.load(output) as answers:
            found = dict(answers)
        source.unlink()
        output.unlink()
        return found

    def _request(self, *command: object) -> Any:
        log = self._folder / "oracle.log"
        if self._process is None or self._process.poll() is not None:
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "support.oracle_process"],
                    cwd=_TESTS,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    text=True,
                )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the original failed: {log.read_text(errors='replace')}")
        return json.loads(answer)


def _arguments(prompt: OraclePrompt) -> dict[str, NDArray[np.generic]]:
    arguments: dict[str, NDArray[np.generic]] = {"multimask": np.array(prompt.multimask)}
    if prompt.box is not None:
        arguments["box"] = np.array(prompt.box, dtype=np.float64)
    if prompt.points is not None and prompt.labels is not None:
        arguments |= {"point_coords": prompt.points, "point_labels": prompt.labels}
    if prompt.mask_input is not None:
        arguments["mask_input"] = prompt.mask_input
    return arguments
