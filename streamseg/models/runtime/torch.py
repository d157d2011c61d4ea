"""Runs networks in PyTorch: on a processor, or on a GPU as one recorded launch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from streamseg.errors import BackendError
from streamseg.models.runtime.base import Graph, Runtime, Value

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchGraph(Graph):
    """A module on a processor or a GPU."""

    def __init__(self, module: nn.Module, runtime: Runtime) -> None:
        if runtime.threads is not None:
            torch.set_num_threads(runtime.threads)
        self._device, self._type = torch.device(runtime.device), _TYPES[runtime.precision]
        try:
            self._module = module.to(self._device, self._type)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise BackendError(f"PyTorch cannot use {runtime.device}: {str(error).splitlines()[0]}") from error

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """See `Graph`; outputs stay on the device."""
        try:
            with torch.no_grad():
                return self._compute([self._upload(given) for given in inputs])
        except RuntimeError as error:
            raise BackendError(f"PyTorch failed on {self._device}: {str(error).splitlines()[0]}") from error

    def to_numpy(self, value: Value) -> NDArray[np.float32]:
        """See `Graph`; waits for the device."""
        tensor: Tensor = value
        array: NDArray[np.float32] = tensor.float().numpy(force=True)
        return array

    def _compute(self, inputs: list[Tensor]) -> list[Value]:
        outputs = self._module(*inputs)
        return [outputs] if isinstance(outputs, Tensor) else list(outputs)

    def _upload(self, given: Value) -> Tensor:
        tensor = given if isinstance(given, Tensor) else torch.from_numpy(given)
        return tensor.to(self._device, self._type)


class CudaGraph(TorchGraph):
    """A module whose work on the GPU is recorded once and then launched as a whole, without Python in between."""

    def __init__(self, module: nn.Module, runtime: Runtime) -> None:
        super().__init__(module, runtime)
        self._recorded: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []

    def _compute(self, inputs: list[Tensor]) -> list[Value]:
        if self._recorded is None:
            self._record(inputs)
        for buffer, given in zip(self._inputs, inputs, strict=True):
            buffer.copy_(given)
        assert self._recorded is not None
        self._recorded.replay()
        # The recording writes its outputs to the same memory every time.
        return [output.clone() for output in self._outputs]

    def _record(self, inputs: list[Tensor]) -> None:
        self._inputs = [given.clone() for given in inputs]
        aside: torch.cuda.Stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(aside):
            # Libraries choose their kernels in the first runs, which must not be recorded.
            for _ in range(3):
                super()._compute(self._inputs)
        torch.cuda.current_stream(self._device).wait_stream(aside)
        self._recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._recorded):
            self._outputs = super()._compute(self._inputs)

    def _upload(self, given: Value) -> Tensor:
        if isinstance(given, Tensor):
            return given
        # From pinned memory the copy runs in parallel with the processor.
        return torch.from_numpy(given).pin_memory(self._device).to(self._device, self._type, non_blocking=True)
