"""Training step by step: batches, loss, optimiser, and the running average of the network."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from streamseg.errors import StreamsegError
from streamseg.train.checkpoint import Checkpoint
from streamseg.train.network import NanoNetwork
from streamseg.train.samples import Samples

_IOU_WEIGHT = 0.1
"""Of the predicted IoU in the loss."""


def loss(logits: Tensor, quality: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy and Dice (Milletari et al., "V-Net", 2016) of the masks, and cross-entropy of the predicted IoU.

    Args:
        logits: Shape (n, side, side).
        quality: Logits of the predicted IoU, shape (n,).
        targets: Shape (n, side, side), 0 to 1.
    """
    probabilities = logits.sigmoid()
    shared = (probabilities * targets).sum((1, 2))
    dice = 1 - (2 * shared + 1) / (probabilities.sum((1, 2)) + targets.sum((1, 2)) + 1)
    iou_loss = functional.binary_cross_entropy_with_logits(quality, ious(logits, targets))
    return functional.binary_cross_entropy_with_logits(logits, targets) + dice.mean() + _IOU_WEIGHT * iou_loss


@torch.no_grad()
def ious(logits: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union of each mask with its target, shape (n,)."""
    drawn, true = logits > 0, targets > 0.5
    either = (drawn | true).sum((1, 2))
    return (drawn & true).sum((1, 2)) / either.clamp(min=1)


BATCH = 32
_ENCODER_SHARE = 0.25
"""Of the learning rate, for the pretrained features."""
_WARM_UP = 0.1
_WEIGHT_DECAY = 0.02
_LARGEST_GRADIENT = 1.0
_AVERAGED = 0.998
"""Share of the running average that each step keeps."""

Batch = tuple[Tensor, Tensor, Tensor]
"""Pictures, hints and targets."""


def batches(samples: Samples, first: int, last: int, workers: int) -> Iterator[Batch]:
    """The batches from number `first` up to `last`, prepared by `workers` other processes.

    Raises:
        DataError: A photograph does not match its outlines.
        SourceError: A photograph cannot be read.
    """
    # OpenCV's threads would compete with the network's; forked workers inherit the setting.
    cv2.setNumThreads(1)
    for batch in DataLoader(
        _Batches(samples, first, last), batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None
    ):
        if isinstance(batch, StreamsegError):
            raise batch
        yield batch


class _Batches(Dataset[Batch | StreamsegError]):
    """The remaining batches. Errors are returned: an error raised in a worker arrives as a traceback."""

    def __init__(self, samples: Samples, first: int, last: int) -> None:
        self._samples, self._first, self._last = samples, first, last

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, place: int) -> Batch | StreamsegError:
        first = (self._first + place) * BATCH
        try:
            samples = [self._samples.draw(number) for number in range(first, first + BATCH)]
        except StreamsegError as error:
            return error
        pictures, hints, targets = (
            np.stack(parts) for parts in zip(*((one.picture, one.hints, one.target) for one in samples), strict=True)
        )
        return torch.from_numpy(pictures), torch.from_numpy(hints), torch.from_numpy(targets)


class Trainer:
    """The network, its running average, the optimiser, and its schedule.

    Args:
        network: The network at the start.
        rate: The highest learning rate.
        steps: Number of batches.
        device: Device of the computation.
    """

    def __init__(self, network: NanoNetwork, rate: float, steps: int, device: torch.device) -> None:
        self.network: Any = network.to(device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(network)
        encoder = [parameter for parameter in network.encoder.stages.parameters() if parameter.requires_grad]
        of_encoder = set(encoder)
        others = [
            parameter for parameter in network.parameters() if parameter.requires_grad and parameter not in of_encoder
        ]
        rates = [_ENCODER_SHARE * rate, rate]
        self.optimiser = torch.optim.AdamW(
            [{"params": group, "lr": own} for group, own in zip((encoder, others), rates, strict=True)],
            weight_decay=_WEIGHT_DECAY,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, rates, total_steps=steps, pct_start=_WARM_UP
        )
        self._device = device

    def step(self, batch: Batch, number: int) -> None:
        """Train on one batch."""
        pictures, hints, targets = (part.to(self._device) for part in batch)
        logits, quality = self.network(pictures.contiguous(memory_format=torch.channels_last), hints)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss(logits, quality, targets))
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
        self.optimiser.step()
        self.schedule.step()
        self._update_average(min(_AVERAGED, (1 + number) / (10 + number)))

    @torch.no_grad()
    def _update_average(self, kept: float) -> None:
        for mean, value in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - kept)
            else:
                mean.copy_(value)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Load the state of a checkpoint."""
        self.network.load_state_dict(checkpoint.network)
        self.average.load_state_dict(checkpoint.average)
        self.optimiser.load_state_dict(checkpoint.optimiser)
        self.schedule.load_state_dict(checkpoint.schedule)

    def checkpoint(self, settings: str, step: int) -> Checkpoint:
        """The current state."""
        return Checkpoint(
            settings,
            step,
            self.network.state_dict(),
            self.average.state_dict(),
            self.optimiser.state_dict(),
            self.schedule.state_dict(),
        )
