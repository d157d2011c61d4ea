"""MobileSAM for live pictures: the original's masks up to rounding, in the fastest runtime of this machine."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from streamseg.errors import BackendError, CheckpointError, DamagedExportError, WeightsError
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models import StepProgress
from streamseg.models.options import MOBILE_SAM, Compute, SegmenterSettings
from streamseg.models.runtime.base import Runtime, Value
from streamseg.models.runtime.loading import load
from streamseg.models.runtime.selection import candidates
from streamseg.models.segmenters.mobile_sam.drawing import MaskDrawing
from streamseg.models.segmenters.mobile_sam.export import BOX_BATCHES, Exports, Part, parts
from streamseg.models.segmenters.mobile_sam.input_grid import CAMERA, InputGrid
from streamseg.models.segmenters.mobile_sam.loaded_grids import LoadedGrids
from streamseg.models.segmenters.resizing import (
    PIXEL_MEAN,
    PIXEL_STD,
    Size,
    resize_image,
    resize_positions,
    resized_size,
)

if TYPE_CHECKING:
    from torch import nn

    from streamseg.models.segmenters.sam import SamNetwork

_DRAWINGS = 8
"""Sizes of pictures whose interpolation is kept: 3 MB for 1080p, and 16 ms to make."""

_log = logging.getLogger(__name__)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FrameEmbedding:
    """An encoded picture.

    Attributes:
        terms: The decoder's inputs, where the runtime keeps them.
        graphs: The networks that made them, and that decode boxes from them.
        original_size: Height and width of the picture.
        resized_size: Height and width of the resized picture.
    """

    terms: tuple[Value, ...]
    graphs: _Graphs
    original_size: Size
    resized_size: Size


class MobileSam:
    """Draws the masks of the objects in boxes; no state passes from one picture to the next.

    A picture of a new shape takes seconds the first time, to export its networks, and later up to two, to load them.

    Attributes:
        name: `mobilesam`.
    """

    name: str = MOBILE_SAM

    def __init__(
        self,
        weights: Path,
        settings: SegmenterSettings,
        compute: Compute,
        *,
        square: bool = False,
        exporting: StepProgress | None = None,
    ) -> None:
        """Select a runtime, and make it ready for pictures of 16:9.

        Args:
            weights: A file in the official format.
            settings: Select the runtime and the side of the network's input.
            compute: The device and the threads.
            square: Whether to encode the whole input, instead of the part that the picture needs.
            exporting: Called as networks are exported, now and whenever a picture has a new shape.

        Raises:
            WeightsError: The file is not a checkpoint of MobileSAM.
            SettingsError: The backend is not installed, or lacks that precision on this machine.
            BackendError: No backend runs the networks.
        """
        self._candidates = candidates(settings, compute)
        self._exports = Exports.of(weights)
        self._exporting = exporting
        self._imgsz, self._square = settings.imgsz, square
        self._grids = LoadedGrids(self._make_ready)
        self._blas = ThreadpoolController().select(user_api="blas")
        self._drawings: OrderedDict[tuple[Size, Size, Size], MaskDrawing] = OrderedDict()
        self._grids.networks(self._grid(resized_size(CAMERA, self._imgsz)))

    def describe(self) -> str:
        """Return the name, and the backend, precision and threads in use."""
        threads = self._candidates[0].threads
        count = "" if threads is None else f", {threads} thread{'' if threads == 1 else 's'}"
        return f"{self.name} ({self.backend}, {self.precision}{count})"

    @property
    def backend(self) -> str:
        """The library in use."""
        return self._candidates[0].backend

    @property
    def precision(self) -> str:
        """The encoder's precision; the decoder computes in float32."""
        return self._candidates[0].precision

    def encode(self, image: Image) -> FrameEmbedding:
        """Encode a frame of shape (height, width, 3), uint8, BGR, to decode any number of boxes from."""
        resized = resize_image(image, self._imgsz)
        size = (resized.shape[0], resized.shape[1])
        graphs = self._grids.networks(self._grid(size))
        return FrameEmbedding(graphs.encode(resized), graphs, (image.shape[0], image.shape[1]), size)

    def decode(self, embedding: FrameEmbedding, detections: Sequence[Detection]) -> list[ObjectMask]:
        """Draw one mask for each detection's box, in the order given, chosen by `select_masks`.

        Args:
            embedding: Of the frame, from `encode`.
            detections: Boxes in pixels of the frame.
        """
        if not detections:
            return []
        boxes = resize_positions([detection.xyxy for detection in detections], embedding.original_size, self._imgsz)
        logits, scores = embedding.graphs.decode(embedding.terms, boxes.astype(np.float32))
        drawing = self._drawing(embedding, (logits.shape[1], logits.shape[2]))
        # The products are too small to gain from threads.
        with self._blas.limit(limits=1):
            return [self._mask(drawing, low, score) for low, score in zip(logits, scores.tolist(), strict=True)]

    def _mask(self, drawing: MaskDrawing, logits: Floats, predicted_iou: float) -> ObjectMask:
        drawn = drawing.draw(logits)
        if drawn is None:
            return ObjectMask(None)
        mask, stability = drawn
        return ObjectMask(mask, predicted_iou, stability)

    def _drawing(self, embedding: FrameEmbedding, low: Size) -> MaskDrawing:
        key = (low, embedding.resized_size, embedding.original_size)
        if key not in self._drawings:
            self._drawings[key] = MaskDrawing.between(*key)
        self._drawings.move_to_end(key)
        while len(self._drawings) > _DRAWINGS:
            self._drawings.popitem(last=False)
        return self._drawings[key]

    def _grid(self, resized: Size) -> InputGrid:
        return InputGrid.whole(self._imgsz) if self._square else InputGrid.around(*resized)

    def _make_ready(self, grid: InputGrid) -> _Graphs:
        """Load the networks of a grid and warm them up; a backend that fails is replaced by the next."""
        exported_again = False
        while True:
            try:
                return _Graphs(self._candidates[0], _Checkpoint(self._exports, self._exporting), grid)
            except CheckpointError:
                raise
            except (BackendError, WeightsError) as error:
                if isinstance(error, DamagedExportError) and not exported_again:
                    exported_again = True
                    _log.warning("%s; exporting it again", error)
                    self._exports.remove(grid)
                else:
                    self._fall_back(error)

    def _fall_back(self, error: BackendError | WeightsError) -> None:
        """Switch to the next backend, or raise if there is none; if the export failed, only PyTorch is left."""
        others = [one for one in self._candidates[1:] if isinstance(error, BackendError) or not one.reads_exports]
        if not others:
            raise error
        self._candidates = others
        # Networks of two backends cannot exchange arrays.
        self._grids.clear()
        _log.warning("%s; using %s in %s instead", error, self.backend, self.precision)


class _Graphs:
    """The networks of one grid, ready to run."""

    def __init__(self, runtime: Runtime, checkpoint: _Checkpoint, grid: InputGrid) -> None:
        # After the encoder there is little to save, and bfloat16 would move the masks' borders.
        precise = replace(runtime, precision="fp32")
        self._pixels = np.zeros((1, 3, grid.height, grid.width), np.float32)
        encoder, *others = (_Network(checkpoint, part) for part in parts(grid))
        loads = [partial(load, encoder, runtime), *(partial(load, other, precise) for other in others)]
        if runtime.reads_exports:
            checkpoint.exports.ensure([grid], checkpoint.exporting)
            # The encoder takes as long to compile as all the others.
            with ThreadPoolExecutor(2) as pool:
                graphs = [loading.result() for loading in [pool.submit(one) for one in loads]]
        else:
            # PyTorch's number of threads applies only to the thread that sets it.
            graphs = [one() for one in loads]
        self._encoder, self._terms, *decoders = graphs
        self._decoders = dict(zip(BOX_BATCHES, decoders, strict=True))
        # Warm up: the first run is slow, and fails if any run does.
        terms = self._terms.run(self._encoder.run([self._pixels]))
        for boxes, decoder in self._decoders.items():
            decoder.to_numpy(decoder.run([np.zeros((boxes, 4), np.float32), *terms])[0])

    def encode(self, resized: Image) -> tuple[Value, ...]:
        """Encode resized pixels, shape (height, width, 3), uint8, BGR, to the decoder's inputs."""
        height, width = resized.shape[:2]
        self._pixels[:, :, height:] = 0
        self._pixels[:, :, :, width:] = 0
        for channel, (mean, deviation) in enumerate(zip(PIXEL_MEAN, PIXEL_STD, strict=True)):
            np.subtract(resized[..., 2 - channel], np.float32(mean), out=self._pixels[0, channel, :height, :width])
            self._pixels[0, channel, :height, :width] /= np.float32(deviation)
        return tuple(self._terms.run(self._encoder.run([self._pixels])))

    def decode(self, terms: tuple[Value, ...], boxes: Floats) -> tuple[Floats, Floats]:
        """Decode boxes, shape (n, 4), in pixels of the input: logits (n, height, width) and predicted IoU (n,)."""
        outputs: list[tuple[Floats, Floats]] = []
        for batch in _batches(boxes):
            decoder = self._decoders[len(batch)]
            logits, scores = decoder.run([batch, *terms])
            outputs.append((decoder.to_numpy(logits), decoder.to_numpy(scores)))
        logits, scores = map(np.concatenate, zip(*outputs, strict=True))
        return logits, scores


def _batches(boxes: Floats) -> list[Floats]:
    """Split boxes into batches of sizes that have a decoder."""
    found, largest = [], max(BOX_BATCHES)
    for start in range(0, len(boxes), largest):
        rest = boxes[start : start + largest]
        found += [rest] if len(rest) in BOX_BATCHES else list(rest[:, None])
    return found


class _Checkpoint:
    """The weights, loaded once for all of PyTorch's networks, and not at all for other runtimes."""

    def __init__(self, exports: Exports, exporting: StepProgress | None) -> None:
        self.exports = exports
        self.exporting = exporting

    @cached_property
    def network(self) -> SamNetwork:
        from streamseg.models.segmenters.mobile_sam.networks import load_weights

        return load_weights(self.exports.weights)


@dataclass(frozen=True, slots=True)
class _Network:
    """One of MobileSAM's networks, before loading."""

    checkpoint: _Checkpoint
    part: Part

    def module(self) -> nn.Module:
        from streamseg.models.segmenters.mobile_sam.networks import build

        return build(self.checkpoint.network, self.part)

    def exported(self) -> Path:
        return self.checkpoint.exports.path(self.part)
