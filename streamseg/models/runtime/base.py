"""What the runtimes share: the description of a runtime, a network before loading, a graph after it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamseg.errors import BackendError, DamagedExportError
from streamseg.models.options import DEFAULT_PROVIDERS, Backend, Precision

Value = Any
"""An array where the runtime keeps it: NumPy's, or a tensor on a GPU. Graphs of one runtime exchange these."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A library, and how it runs networks.

    Attributes:
        backend: The library.
        precision: The precision that it computes in.
        threads: Number of threads; None leaves it to the library.
        device: PyTorch's name of the device; only PyTorch computes on others than the CPU by this name.
        providers: ONNX Runtime's execution providers, in its own names, the best first.
    """

    backend: Backend
    precision: Precision
    threads: int | None = None
    device: str = "cpu"
    providers: tuple[str, ...] = DEFAULT_PROVIDERS

    @property
    def reads_exports(self) -> bool:
        """Whether it reads networks from ONNX exports; PyTorch takes modules."""
        return self.backend != "torch"


class Network(Protocol):
    """A network of fixed shapes."""

    def module(self) -> Any:
        """Return it as PyTorch's `nn.Module`, on the CPU in float32. (Its type would import PyTorch here.)"""
        ...

    def exported(self) -> Path:
        """Return the path of its ONNX export, which exists."""
        ...


class Graph(ABC):
    """A network that is ready to run."""

    @abstractmethod
    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """Run on arrays or earlier outputs; the outputs stay valid.

        Raises:
            BackendError: The runtime failed.
        """

    def to_numpy(self, value: Value) -> NDArray[np.float32]:
        """Return an output as an array of float32."""
        array: NDArray[np.float32] = value
        return array


def failure(runtime: Runtime, error: Exception) -> BackendError:
    """Translate a library's error."""
    return BackendError(f"{runtime.backend} in {runtime.precision} failed: {_last_line(error)}")


def damage(path: Path, error: Exception) -> DamagedExportError:
    """Translate a library's error about an export that it cannot read."""
    return DamagedExportError(f"{path} is damaged: {_last_line(error)}")


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
