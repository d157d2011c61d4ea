"""The SAM family on frames: pictures, prompts and masks are in pixels of the frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamseg.errors import UsageError
from streamseg.masks import Mask
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models.segmenters.resizing import resize_image, resized_size
from streamseg.models.segmenters.sam.checkpoint import load_network
from streamseg.models.segmenters.sam.embedding import ImageEmbedding, normalise
from streamseg.models.segmenters.sam.mask_decoder import POOR_IOU, select_masks
from streamseg.models.segmenters.sam.network import Prediction, SamNetwork
from streamseg.models.segmenters.sam.prompt_encoder import Prompts

STABILITY_OFFSET = 1.0
"""Stability compares the masks at this distance above and below the threshold, in logits."""
_PROMPTS_AT_ONCE = 8


class Sam:
    """Draws the masks of prompted objects, exactly as the original does from the same weights. Calls share no state.

    Only `decode` differs: it selects among the masks that the original returns.
    """

    def __init__(self, network: SamNetwork) -> None:
        """Wrap a network, on the device where it is."""
        self.network = network
        self.name = network.architecture

    @classmethod
    def load(
        cls, path: Path, *, architecture: str | None = None, device: str = "cpu", threads: int | None = None
    ) -> Self:
        """Load a checkpoint in the official format.

        Args:
            path: An official file such as `mobile_sam.pt`, or one with the same entries.
            architecture: Expected architecture; None accepts any.
            device: As in `to`.
            threads: Threads of PyTorch in this process from now on; None leaves them as they are.

        Raises:
            CheckpointError: The file is not a checkpoint of that architecture.
            UsageError: PyTorch cannot use the device.
        """
        network = load_network(path, architecture)
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(network).to(device)

    def to(self, device: str) -> Self:
        """Move the network.

        Args:
            device: PyTorch's name of the device, such as `cpu` or `cuda:0`; `auto` takes a GPU if there is one.

        Raises:
            UsageError: PyTorch cannot use the device.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self.network.to(device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise UsageError(
                f"PyTorch cannot use the device {device!r}; choose one that this machine has, such as 'cpu'"
            ) from error
        return self

    @property
    def device(self) -> torch.device:
        """The network's device."""
        return next(self.network.parameters()).device

    def encode(self, image: Image) -> ImageEmbedding:
        """Encode a frame of shape (height, width, 3), uint8, BGR, to decode any number of prompts from."""
        size = (image.shape[0], image.shape[1])
        pixels = torch.from_numpy(np.ascontiguousarray(resize_image(image)[..., ::-1])).permute(2, 0, 1)
        with torch.no_grad():
            features = self.network.encode(normalise(pixels.to(self.device)).unsqueeze(0))
        return ImageEmbedding(features, size, resized_size(size))

    def predict(self, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool) -> Prediction:
        """Decode prompts, as `ImageEmbedding.prompts` makes them: one mask each, or three with `multimask`.

        Returns:
            Logits over the padded input, shape (prompts, 1 or 3, 256, 256), and predicted IoU, (prompts, 1 or 3).
        """
        with torch.no_grad():
            parts = [
                self.network.predict(embedding.features, part, multimask=multimask)
                for part in prompts.split(_PROMPTS_AT_ONCE)
            ]
        return Prediction(torch.cat([part.logits for part in parts]), torch.cat([part.predicted_iou for part in parts]))

    def masks(self, embedding: ImageEmbedding, prediction: Prediction) -> list[list[ObjectMask]]:
        """Convert a prediction to masks of the frame: for each prompt its one or three candidates.

        Each has its predicted IoU and its stability: the IoU of the masks at logits 1 and -1.
        """
        scores = prediction.predicted_iou.tolist()
        return [
            # Logits of the whole frame are large: one mask at a time.
            [
                self._mask(embedding.restore(low[None, None])[0, 0], score)
                for low, score in zip(candidates, row, strict=True)
            ]
            for candidates, row in zip(prediction.logits, scores, strict=True)
        ]

    def decode(self, embedding: ImageEmbedding, detections: Sequence[Detection]) -> list[ObjectMask]:
        """Draw one mask for each detection's box, in the order given, chosen by `select_masks`.

        Args:
            embedding: Of the frame, from `encode`.
            detections: Boxes in pixels of the frame.
        """
        if not detections:
            return []
        boxes = np.array([detection.xyxy for detection in detections])
        return [mask for (mask,) in self.masks(embedding, self._predict_boxes(embedding, boxes))]

    def describe(self) -> str:
        """Return the name."""
        return self.name

    def _predict_boxes(self, embedding: ImageEmbedding, boxes: NDArray[np.float64]) -> Prediction:
        """Predict one mask for each box, shape (n, 4); decode the three for ambiguous prompts if the first is poor."""
        one = self.predict(embedding, embedding.prompts(boxes=boxes), multimask=False)
        poor = (one.predicted_iou[:, 0] < POOR_IOU).nonzero()[:, 0]
        if not len(poor):
            return one
        three = self.predict(embedding, embedding.prompts(boxes=boxes[poor.numpy(force=True)]), multimask=True)
        logits = torch.cat((one.logits[poor], three.logits), dim=1)
        predicted_iou = torch.cat((one.predicted_iou[poor], three.predicted_iou), dim=1)
        selected = torch.arange(len(poor), device=poor.device), select_masks(predicted_iou)
        one.logits[poor, 0], one.predicted_iou[poor, 0] = logits[selected], predicted_iou[selected]
        return one

    def _mask(self, logits: Tensor, predicted_iou: float) -> ObjectMask:
        mask = Mask.crop((logits > 0).numpy(force=True))
        if mask is None:
            return ObjectMask(None)
        return ObjectMask(mask, predicted_iou, float(stability(logits)))


def stability(logits: Tensor, offset: float = STABILITY_OFFSET) -> Tensor:
    """Stability of masks against the threshold: the IoU of the masks at logits `offset` and -`offset`.

    Args:
        logits: Shape (..., height, width).
        offset: In logits.

    Returns:
        Shape (...), 0 to 1; NaN if no logit is above -`offset`.
    """
    return (logits > offset).sum(dim=(-2, -1)) / (logits > -offset).sum(dim=(-2, -1))
