"""Training step by step: batches, optimiser, and the running average of the network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from streamseg.errors import StreamsegError
from streamseg.train.checkpoint import Checkpoint
from streamseg.train.encoder import convolutions

_PRETRAINED_SHARE = 0.25
"""Of the learning rate, for the pretrained features."""
_WARM_UP = 0.1
_WEIGHT_DECAY = 0.02
_LARGEST_GRADIENT = 1.0
_AVERAGED = 0.998
"""Share of the running average that each step keeps."""

Arrays = tuple[NDArray[np.generic], ...]
Batch = tuple[Tensor, ...]
"""Arguments of a loss behind the network."""
Loss = Callable[..., Tensor]
"""From a network and a batch to what training makes small."""


class Batches(Protocol):
    """Random batches, determined by their number; several processes may draw them."""

    def batch(self, number: int) -> Arrays:
        """The batch with that number.

        Raises:
            DataError: A photograph does not match its labels.
            SourceError: A photograph cannot be read.
        """
        ...


def batches(source: Batches, first: int, last: int, workers: int) -> Iterator[Batch]:
    """The batches from number `first` up to `last`, prepared by `workers` other processes.

    Raises:
        DataError: A photograph does not match its labels.
        SourceError: A photograph cannot be read.
    """
    # OpenCV's threads would compete with the network's; forked workers inherit the setting.
    cv2.setNumThreads(1)
    for batch in DataLoader(
        _Remaining(source, first, last), batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None
    ):
        if isinstance(batch, StreamsegError):
            raise batch
        yield batch


class _Remaining(Dataset[Batch | StreamsegError]):
    """The remaining batches. Errors are returned: an error raised in a worker arrives as a traceback."""

    def __init__(self, source: Batches, first: int, last: int) -> None:
        self._source, self._first, self._last = source, first, last

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, place: int) -> Batch | StreamsegError:
        try:
            arrays = self._source.batch(self._first + place)
        except StreamsegError as error:
            return error
        return tuple(map(torch.from_numpy, arrays))


class Trainer:
    """The network, its running average, the optimiser, and its schedule.

    Args:
        network: The network at the start.
        pretrained: Its part that has good features at the start, and learns more slowly.
        loss: What training makes small.
        rate: The highest learning rate.
        steps: Number of batches.
        device: Device of the computation.
    """

    def __init__(
        self, network: nn.Module, pretrained: nn.Module, loss: Loss, rate: float, steps: int, device: torch.device
    ) -> None:
        self.network: Any = network.to(device).to(memory_format=torch.channels_last)
        self._loss = loss
        self.average = copy.deepcopy(network)
        slow = set(pretrained.parameters())
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        groups = [[one for one in trained if one in slow], [one for one in trained if one not in slow]]
        rates = [_PRETRAINED_SHARE * rate, rate]
        self.optimiser = torch.optim.AdamW(
            [{"params": group, "lr": own} for group, own in zip(groups, rates, strict=True)],
            weight_decay=_WEIGHT_DECAY,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, rates, total_steps=steps, pct_start=_WARM_UP
        )
        self._device = device

    def step(self, batch: Batch, number: int) -> None:
        """Train on one batch."""
        self.optimiser.zero_grad()
        torch.autograd.backward(self._loss(self.network, *(part.to(self._device) for part in batch)))
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

    def finished(self) -> Any:
        """A copy of the running average on the CPU, for inference, with folded normalisations."""
        network = copy.deepcopy(self.average).cpu().eval()
        for convolution in convolutions(network):
            convolution.fold()
        return network

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
