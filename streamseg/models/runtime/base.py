"""PyTorch, ONNX Runtime and OpenVINO behind one call: a network in, something that runs arrays through it out.

None of the three is imported before it is used.
"""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from streamseg.errors import BackendError, DamagedExportError, SettingsError, UsageError
from streamseg.models.options import DEFAULT_PROVIDERS, SegmenterOptions

if TYPE_CHECKING:
    from torch import nn

Backend = Literal["torch", "onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16", "fp16"]


Value = Any
"""An array where the runtime keeps it: NumPy's, or a tensor on a GPU. Only the graphs of one runtime understand it."""


class Network(Protocol):
    """A network of fixed shapes that can be run."""

    def module(self) -> nn.Module:
        """As PyTorch runs it, on the CPU in float32."""
        ...

    def exported(self) -> Path:
        """As an ONNX file, which is there."""
        ...


class Graph(ABC):
    """A network, ready to run."""

    @abstractmethod
    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """Give inputs, arrays or earlier outputs, and get outputs, which stay valid.

        Raises:
            BackendError: The runtime failed.
        """

    def to_numpy(self, value: Value) -> NDArray[np.float32]:
        """An output as an array of float32."""
        array: NDArray[np.float32] = value
        return array


@dataclass(frozen=True, slots=True)
class Runtime(ABC):
    """What runs networks here, and how.

    Attributes:
        backend: Which library.
        reads_exports: Whether it takes a network as an export, in place of PyTorch's module.
        precision: What it computes in.
        threads: How many it uses; None leaves that to it.
    """

    backend: ClassVar[Backend]
    reads_exports: ClassVar[bool] = True
    precision: Precision
    threads: int | None

    @abstractmethod
    def load(self, network: Network) -> Graph:
        """Make a network ready.

        Raises:
            BackendError: The runtime cannot run it.
            DamagedExportError: Its export cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Choice:
    """What a user asks for.

    Attributes:
        backend: Of `BACKENDS`, or `auto` for the fastest that is here.
        precision: Of `PRECISIONS`, or `auto` for the fastest that the backend has here.
        device: `cpu`, `cuda` (or `cuda:0` ...), or `auto` for a GPU where there is one.
        threads: How many threads are used; None leaves that to the runtime.
        providers: ONNX Runtime's execution providers, in its own names, the best first.
    """

    backend: str = "auto"
    precision: str = "auto"
    device: str = "auto"
    threads: int | None = None
    providers: tuple[str, ...] = DEFAULT_PROVIDERS

    @classmethod
    def of(cls, options: SegmenterOptions) -> Self:
        """The choice that a segmenter's options make."""
        return cls(options.backend, options.precision, options.device, options.threads, options.providers)


def candidates(choice: Choice) -> list[Runtime]:
    """The runtimes that meet a choice, the fastest first; those behind the first are for when it fails.

    Raises:
        SettingsError: The backend is not installed, or has no such precision or execution provider here.
        UsageError: There is no such GPU.
    """
    _check_providers(choice.providers)
    offered = _offered(choice)
    wanted = [
        one
        for one in offered
        if choice.backend in ("auto", one.backend) and choice.precision in ("auto", one.precision)
    ]
    if not wanted:
        raise SettingsError(_refusal(choice, offered))
    # Another precision of a library that failed is not worth a try.
    others: dict[str, Runtime] = {}
    for one in offered:
        others.setdefault(one.backend, one)
    return [wanted[0], *(one for one in others.values() if one.backend != wanted[0].backend)]


def _offered(choice: Choice) -> list[Runtime]:
    """All that could run here, the fastest first."""
    threads, gpu = choice.threads, _gpu(choice.device)
    by_onnxruntime = OnnxRuntime("fp32", threads, choice.providers)
    on_gpu = [] if gpu is None else [TorchRuntime(precision, threads, gpu) for precision in ("fp16", "fp32")]
    if choice.device.startswith("cuda"):
        # Where ONNX Runtime computes, its providers say.
        return [*on_gpu, by_onnxruntime]
    precisions: tuple[Precision, ...] = ("bf16", "fp32") if has_fast_bf16() else ("fp32",)
    by_openvino = [OpenVinoRuntime(precision, threads) for precision in precisions if _installed("openvino")]
    by_torch = [TorchRuntime(precision, threads, "cpu") for precision in precisions]
    if is_x86() and choice.providers == DEFAULT_PROVIDERS:
        return [*on_gpu, *by_openvino, by_onnxruntime, *by_torch]
    return [*on_gpu, by_onnxruntime, *by_openvino, *by_torch]


def _check_providers(providers: Sequence[str]) -> None:
    if tuple(providers) == DEFAULT_PROVIDERS:
        return
    from streamseg.models.runtime.onnx_session import available_providers

    here = available_providers()
    unknown = [provider for provider in providers if provider not in here]
    if unknown:
        raise SettingsError(
            f"segmenter.providers: this ONNX Runtime has no {unknown[0]}; expected some of {', '.join(here)}"
        )


def _refusal(choice: Choice, offered: Sequence[Runtime]) -> str:
    if choice.backend == "openvino" and not _installed("openvino"):
        return "segmenter.backend: OpenVINO is not installed; pip install 'streamseg[openvino]', or choose auto"
    key = "precision" if any(choice.backend in ("auto", one.backend) for one in offered) else "backend"
    here = ", ".join(f"{one.backend} in {one.precision}" for one in offered)
    return (
        f"segmenter.{key}: {choice.backend} in {choice.precision} cannot be had here; expected auto, or one of {here}"
    )


def _gpu(device: str) -> str | None:
    """PyTorch's name of the GPU to use; None for none."""
    count = 0 if device == "cpu" else cuda_devices()
    if device == "auto":
        return "cuda" if count else None
    if not device.startswith("cuda"):
        return None
    index = device.removeprefix("cuda").removeprefix(":") or "0"
    if not index.isdecimal() or int(index) >= count:
        raise UsageError(f"PyTorch cannot use the device {device!r}; give one that it has here, such as 'cpu'")
    return device


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def cuda_devices() -> int:
    """How many GPUs CUDA's driver sees; asked without loading PyTorch, which takes seconds."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    succeeded = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if succeeded else 0


def is_x86() -> bool:
    """Whether the processor is of the kind that OpenVINO was measured to be the faster one on."""
    return platform.machine().lower() in ("x86_64", "amd64")


def has_fast_bf16() -> bool:
    """Whether the processor multiplies bfloat16 faster than float32, as Linux tells; False where it does not tell."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


class OpenVinoRuntime(Runtime):
    """Intel's library, which uses what other makers' processors have as well."""

    backend = "openvino"

    def load(self, network: Network) -> Graph:
        """Compile the export."""
        from streamseg.models.runtime.openvino import OpenVinoGraph

        return OpenVinoGraph(self, network.exported())


@dataclass(frozen=True, slots=True)
class OnnxRuntime(Runtime):
    """ONNX Runtime, which runs on every processor.

    Attributes:
        providers: Its execution providers, in its own names, the best first.
    """

    backend = "onnxruntime"
    providers: tuple[str, ...]

    def load(self, network: Network) -> Graph:
        """Open a session on the export."""
        from streamseg.models.runtime.onnx import OnnxGraph

        return OnnxGraph(self, network.exported(), self.providers)


@dataclass(frozen=True, slots=True)
class TorchRuntime(Runtime):
    """PyTorch, which needs no export.

    Attributes:
        device: PyTorch's name of it.
    """

    backend = "torch"
    reads_exports = False
    device: str

    def load(self, network: Network) -> Graph:
        """Move the network to the device."""
        from streamseg.models.runtime.torch import CudaGraph, TorchGraph

        kind = CudaGraph if self.device.startswith("cuda") else TorchGraph
        return kind(network.module(), self.precision, self.device, self.threads)


def failure(runtime: Runtime, error: Exception) -> BackendError:
    """What a library's own error is here."""
    return BackendError(f"{runtime.backend} in {runtime.precision} failed: {_last_line(error)}")


def damage(path: Path, error: Exception) -> DamagedExportError:
    """What a library's error over an export that it cannot read is here."""
    return DamagedExportError(f"{path} is damaged: {_last_line(error)}")


def _last_line(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return said[-1] if said else type(error).__name__
