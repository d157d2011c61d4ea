"""MobileSAM on frames: pictures and boxes in pixels of the frame in, masks in pixels of the frame out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor
from torch.nn import functional

from streamseg.errors import UsageError
from streamseg.masks import Mask
from streamseg.messages import NONE, Box, Detection, Image, ObjectMask
from streamseg.models.mobile_sam.checkpoint import load_network
from streamseg.models.mobile_sam.image_encoder import INPUT_SIZE
from streamseg.models.mobile_sam.network import MobileSamNetwork, Prediction
from streamseg.models.mobile_sam.prompt_encoder import Prompts

Size = tuple[int, int]
"""Height and width in pixels."""

_PIXEL_MEAN = (123.675, 116.28, 103.53)
_PIXEL_STD = (58.395, 57.12, 57.375)
_BOXES_AT_ONCE = 8
_STABILITY_OFFSET = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """What MobileSAM remembers of one frame.

    Attributes:
        features: Shape (1, 256, 64, 64), on the model's device.
        original_size: The frame's.
        resized_size: The frame's as the model saw it: longer side 1024, at the top left of the padded input.
    """

    features: Tensor
    original_size: Size
    resized_size: Size


class MobileSam:
    """Draws the mask of the object in each box, exactly as the original MobileSAM does from the same weights."""

    name = "mobilesam"

    def __init__(self, network: MobileSamNetwork) -> None:
        """Use a network as it is, on the device where it is."""
        self.network = network

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", threads: int | None = None) -> Self:
        """Read a checkpoint in the official format.

        Args:
            path: The official `mobile_sam.pt`, or one with the same entries.
            device: PyTorch's name of the device, such as `cpu` or `cuda:0`.
            threads: How many threads PyTorch uses in this process from now on; None leaves that as it is.

        Raises:
            CheckpointError: The file is not a checkpoint of MobileSAM.
            UsageError: PyTorch cannot use the device.
        """
        network = load_network(path)
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            return cls(network.to(device))
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise UsageError(f"PyTorch cannot use the device {device!r}; give one that it has here, such as 'cpu'") from error

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def encode(self, image: Image) -> ImageEmbedding:
        """Read a frame of shape (height, width, 3), uint8, BGR, once."""
        original_size = (image.shape[0], image.shape[1])
        resized_size = _resized_size(original_size)
        features = self.network.encode(_input_pixels(image, resized_size).to(self.device))
        return ImageEmbedding(features, original_size, resized_size)

    def decode(self, embedding: ImageEmbedding, detections: Sequence[Detection]) -> list[ObjectMask]:
        """Draw one mask for each detection's box, in the order given.

        Args:
            embedding: What `encode` gave for the frame.
            detections: Boxes in pixels of the frame.

        Returns:
            For each box the mask, its predicted IoU, and its stability: the IoU of the masks at logits 1 and -1.
        """
        answers = []
        for start in range(0, len(detections), _BOXES_AT_ONCE):
            boxes = resize_boxes([detection.xyxy for detection in detections[start : start + _BOXES_AT_ONCE]], embedding)
            prediction = self.predict(embedding, Prompts(boxes=boxes.to(self.device)), multimask=False)
            # Masks of the whole frame are large: one exists at a time.
            answers += [
                self._answer(restore(logits, embedding), float(iou))
                for logits, iou in zip(prediction.logits[:, 0], prediction.predicted_iou[:, 0].tolist(), strict=True)
            ]
        return answers

    def predict(self, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool) -> Prediction:
        """Answer prompts given as tensors in pixels of the resized frame; see `MobileSamNetwork.predict`."""
        return self.network.predict(embedding.features, prompts, multimask=multimask)

    def _answer(self, logits: Tensor, predicted_iou: float) -> ObjectMask:
        mask = Mask.crop((logits > 0).numpy(force=True))
        if mask is None:
            return ObjectMask(mask=None, method=NONE)
        stability = int((logits > _STABILITY_OFFSET).sum()) / int((logits > -_STABILITY_OFFSET).sum())
        return ObjectMask(mask=mask, method=self.name, predicted_iou=predicted_iou, stability=stability)


def resize_boxes(boxes: Sequence[Box], embedding: ImageEmbedding) -> Tensor:
    """Boxes in pixels of the frame to pixels of the resized frame: float32, shape (boxes, 4)."""
    (height, width), (resized_height, resized_width) = embedding.original_size, embedding.resized_size
    # Rounding gives each axis a ratio of its own.
    across, down = resized_width / width, resized_height / height
    return torch.from_numpy((np.array(boxes, dtype=np.float64) * (across, down, across, down)).astype(np.float32))


def restore(logits: Tensor, embedding: ImageEmbedding) -> Tensor:
    """Logits over the padded input, shape (256, 256), to logits over the frame, shape (height, width), in SAM's two steps."""
    height, width = embedding.resized_size
    padded = _interpolate(logits, (INPUT_SIZE, INPUT_SIZE))
    return _interpolate(padded[:height, :width], embedding.original_size)


def _interpolate(logits: Tensor, size: Size) -> Tensor:
    return functional.interpolate(logits[None, None], size, mode="bilinear", align_corners=False)[0, 0]


def _resized_size(size: Size) -> Size:
    scale = INPUT_SIZE / max(size)
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def _input_pixels(image: Image, resized_size: Size) -> Tensor:
    """A BGR frame as the encoder's input, shape (1, 3, 1024, 1024): resized, RGB, normalised, then padded with zeros."""
    height, width = resized_size
    # SAM resizes with Pillow, whose antialiasing OpenCV's resize does not have; the order of the channels does not matter to it.
    resized = PilImage.fromarray(image).resize((width, height), PilImage.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(resized)).flip(-1).permute(2, 0, 1)
    normalised = (pixels - torch.tensor(_PIXEL_MEAN).view(3, 1, 1)) / torch.tensor(_PIXEL_STD).view(3, 1, 1)
    return functional.pad(normalised, (0, INPUT_SIZE - width, 0, INPUT_SIZE - height)).unsqueeze(0)
